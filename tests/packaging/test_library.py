"""The loading of the compiled libraries, and the command line that reports it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import internet
from internet import cli
from internet.utils import library


def python(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **environment},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("version", ["2.10.0", "2.10.0a0+git1234", "2.13.0+cpu", "2.100.1", "3.0.0"])
def test_a_recent_torch_is_accepted(version: str) -> None:
    library.check_torch(version)


@pytest.mark.parametrize("version", ["1.13.1", "2.2.0", "2.9.1+cu128"])
def test_an_old_torch_is_refused(version: str) -> None:
    with pytest.raises(ImportError, match=r"torch >= 2\.10, but torch " + version.replace("+", r"\+")):
        library.check_torch(version)


def test_each_library_is_loaded_or_has_a_reason() -> None:
    assert library.loaded | set(library.reasons) == {"_C", "_C_cuda"}
    assert not library.loaded & set(library.reasons)
    assert all(library.reasons.values())


def test_the_tests_run_with_the_cpu_kernels() -> None:
    assert "_C" in library.loaded, library.reasons["_C"]
    assert set(library.build_info()) == {
        "schema",
        "compiler",
        "torch headers",
        "instruction sets",
        "CUDA",
        "CUDA arch list",
    }
    assert library.cpu_isa() in library.build_info()["instruction sets"].split()


def test_a_library_of_other_operators_is_not_used(tmp_path: Path) -> None:
    """As after a pull without a build: everything works, with the reference, and `internet info` says what to do."""
    package = Path(internet.__file__).parent
    shutil.copytree(package, tmp_path / "internet", ignore=shutil.ignore_patterns("*cuda*", "__pycache__"))
    compiled = tmp_path / "internet" / "_C.abi3.so"
    compiled.write_bytes(compiled.read_bytes().replace(b"jacobian_map", b"jacobian_mop"))
    code = (
        "import torch, internet\n"
        "field, _ = internet.ops.upsample_motion(torch.zeros(1, 2, 2, 2, requires_grad=True))\n"
        "print(internet.__file__, field.grad_fn.name(), internet.ops.backends()['cpu'])"
    )
    done = python("-c", code, cwd=tmp_path)
    assert done.stdout.startswith(str(tmp_path)), done.stderr
    assert "_UpsampleMotion" not in done.stdout
    assert re.search(r"not available: internet\._C was built from other sources .* rebuild it", done.stdout)
    info = python("-m", "internet", "info", cwd=tmp_path)
    assert info.returncode == 0, info.stderr
    assert "rebuild it: `python setup.py build_ext --inplace`" in " ".join(info.stdout.split())


def test_the_cuda_library_waits_for_a_torch_with_cuda() -> None:
    if torch.version.cuda is None:
        assert library.reasons["_C_cuda"] == f"torch {torch.__version__} was built without CUDA"
    else:
        assert "_C_cuda" in library.loaded or "not built" in library.reasons["_C_cuda"]


def test_the_instruction_set_can_be_lowered() -> None:
    done = python("-c", "from internet.utils import library; print(library.cpu_isa())", INTERNET_CPU_ISA="baseline")
    assert done.stdout.strip() == "baseline", done.stderr


def test_an_unknown_instruction_set_is_reported() -> None:
    done = python("-m", "internet", "info", INTERNET_CPU_ISA="sse9")
    assert done.returncode == 0, done.stderr
    assert "INTERNET_CPU_ISA=sse9: expected baseline, avx2 or avx512" in done.stdout


def test_info_says_what_works(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info"]) == 0
    text = capsys.readouterr().out
    assert internet.__version__ in text
    assert torch.__version__ in text
    for name, status in internet.ops.backends().items():
        assert f"{name:<20}{status}" in text


def test_info_as_json_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info", "--json"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert set(info) == {"versions", "backends", "cpu", "gpu", "build"}
    assert info["versions"]["torch"] == torch.__version__
    assert info["backends"]["reference"] == "ready"
    assert info["cpu"]["instruction set"] == library.cpu_isa()
    assert len(info["gpu"]) == torch.cuda.device_count()


EACH_HELP = """\
import os, sys
import torch  # once: the commands' own modules are imported by each process alone
from internet import cli
for name in cli.COMMANDS:
    if os.fork() == 0:
        sys.exit(cli.main([name, "--help"]))
    if os.wait()[1]:
        sys.exit(name)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_every_command_explains_itself() -> None:
    text = python("-m", "internet", "--help").stdout
    assert all(name in text for name in cli.COMMANDS)
    done = python("-c", EACH_HELP)
    assert done.returncode == 0, done.stderr
    assert all(f"usage: internet {name} " in done.stdout for name in cli.COMMANDS)


def test_version_and_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        cli.main(["--version"])
    assert capsys.readouterr().out.strip() == internet.__version__
    with pytest.raises(SystemExit, match=r"^2$"):
        cli.main(["dance"])
    assert "invalid choice: 'dance'" in capsys.readouterr().err
