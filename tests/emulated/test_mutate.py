"""The parts of `python -m tests.emulated.mutate`: breaks, the switch between them, and trials."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.emulated.breaks import BREAKS, HEADER, MOST, Switch, breaks, chosen, guilty, sources, write
from tests.emulated.build import compiler
from tests.emulated.equivalent import EQUIVALENT
from tests.emulated.trials import NOTHING, UNREACHED
from tests.support.evaluate import ROOT, environment_of


def test_every_kind_of_break_is_somewhere_in_the_sources() -> None:
    texts = sources()
    found = list(breaks(texts))
    assert {one.what for one in found} == {what for what, *_ in BREAKS}
    assert len({one.number for one in found}) == len(found)
    assert all(0 < one.number < MOST for one in found)
    for one in found:
        assert "BROKEN" in one.text, f"{one} cannot be chosen"
        assert one.text != texts[one.path][one.start : one.end], f"{one} changes nothing"


@pytest.mark.parametrize(("file", "start"), EQUIVALENT)
def test_what_has_no_effect_is_in_the_sources_once(file: str, start: str, monkeypatch: pytest.MonkeyPatch) -> None:
    texts, without = sources(), set(breaks(sources()))
    monkeypatch.delitem(EQUIVALENT, (file, start))
    (one,) = set(breaks(texts)) - without
    assert str(one.path).endswith(file)


def test_what_is_chosen_of_a_file_does_not_overlap() -> None:
    some = chosen(list(breaks(sources())), 20, seed=0)
    assert max(sum(one.path == other.path for other in some) for one in some) == 20
    for before, after in itertools.pairwise(some):
        assert before.path != after.path or before.end <= after.start


def test_what_does_not_compile_is_found_in_its_line_or_above() -> None:
    path = Path("csrc/cuda/upsample_motion/kernels.cu")
    some = [one for one in breaks(sources()) if one.path == path]
    some.sort(key=lambda one: one.start)
    lines = sorted({one.line for one in some})
    assert guilty(f"build/{path}:{lines[1]}:5: error: no", some) == {one for one in some if one.line == lines[1]}
    assert guilty(f"build/{path}:{lines[-1] + 1}:5: error: no", some) == {one for one in some if one.line == lines[-1]}
    assert guilty(f"build/{path}:{lines[0] - 1}:5: error: no", some) == set()


def test_what_is_written_are_the_sources_and_no_others(tmp_path: Path) -> None:
    texts = sources()
    stale = tmp_path / "csrc/cuda/stale.cu"
    stale.parent.mkdir(parents=True)
    stale.write_text("")
    path = Path("csrc/cuda/upsample_motion/kernels.cu")
    some = chosen([one for one in breaks(texts) if one.path == path], 3, seed=0)
    write(texts, some, tmp_path)
    written = sources(tmp_path)
    assert set(written) == {*texts, Path("csrc/cuda/broken.h")}
    assert written.pop(Path("csrc/cuda/broken.h")) == HEADER
    assert [name for name, text in written.items() if text != texts[name]] == [path]
    assert all(f"emulated::broken({one.number})" in written[path] for one in some)


@pytest.mark.skipif(compiler() is None, reason="no g++")
def test_one_break_of_a_library_is_active_at_a_time(tmp_path: Path) -> None:
    import ctypes

    source, library = tmp_path / "some.cpp", tmp_path / "some.so"
    body = 'extern "C" __attribute__((visibility("default"))) int some(int n) { return emulated::broken(n); }'
    source.write_text(HEADER + body)
    command = [*str(compiler()).split(), "-std=c++20", "-shared", "-fPIC", "-fvisibility=hidden"]
    subprocess.run([*command, source, "-o", library], check=True)
    switch, some = Switch(library), ctypes.CDLL(str(library)).some
    assert [some(7), some(8)] == [0, 0]
    assert switch.reached() == {7, 8}
    switch.activate(8)
    assert [some(7), some(8)] == [0, 1]
    switch.activate(-1)
    assert some(8) == 0
    assert switch.reached() == {7, 8}
    assert switch.reached() == set()


TESTS = """
import os
from broken import broken

def test_adds():
    assert 1 + broken(1) == 1

def test_ends():
    while broken(2):
        pass

def test_lives():
    if broken(3):
        os.abort()

def test_reaches():
    broken(4)
"""

BROKEN = """
import sys, json, pytest
from pathlib import Path
from tests.emulated.trials import Trials

active, seen = -1, set()

def broken(number):
    seen.add(number)
    return number == active

class Switch:
    def activate(self, number):
        global active
        active = number

    def reached(self):
        found = set(seen)
        seen.clear()
        return found

if __name__ == "__main__":
    sys.modules["broken"] = sys.modules["__main__"]
    told = {}
    trials = Trials(Switch, range(1, 6), told.__setitem__, Path("log"))
    pytest.main(["-qq", "-rN", "-s", "-p", "no:cacheprovider", "test_some.py"], plugins=[trials])
    print(json.dumps(told))
"""


def trials(folder: Path, tests: str) -> dict[str, str]:
    """What a process tells of the breaks 1 to 5."""
    (folder / "test_some.py").write_text(tests)
    (folder / "broken.py").write_text(BROKEN)
    environment = environment_of({"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"})
    command = [sys.executable, "broken.py"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True, timeout=300)
    told: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return told


def test_a_break_is_tried_by_the_tests_that_reach_it(tmp_path: Path) -> None:
    assert trials(tmp_path, TESTS) == {
        "1": "test_some.py::test_adds",
        "2": "test_some.py::test_ends",
        "3": "test_some.py::test_lives",
        "4": NOTHING,
        "5": UNREACHED,
    }


def test_nothing_is_tried_where_a_test_fails_without_a_break(tmp_path: Path) -> None:
    assert trials(tmp_path, TESTS + "    assert False\n") == {"-1": "test_some.py::test_reaches"}
