"""A command stopped by a signal prints one line, exits with the usual status, and leaves no incomplete file."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from internet import cli
from internet.data.synthetic import WalkingClip
from internet.model import INTERnet, INTERnetConfig, save_model
from tests.support.clips import write_video
from tests.support.evaluate import ROOT

STATUS = {signal.SIGINT: (130, "interrupted"), signal.SIGTERM: (143, "terminated")}


def stopped(folder: Path, sent: signal.Signals, *command: str) -> tuple[int, str]:
    """Run a command and send it a signal while it writes a video in `folder`; returns its status and messages."""
    process = subprocess.Popen(
        [sys.executable, "-m", "internet", *command],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(sent, signal.SIG_DFL),  # the process that runs the tests may ignore it
    )
    with process:
        deadline = time.monotonic() + 120
        while not any(path.stat().st_size for path in folder.glob("**/.*.mp4")):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(sent)
        said = process.communicate(timeout=120)[1]
    return process.returncode, said


@pytest.mark.parametrize("sent", STATUS)
def test_synth_keeps_whole_videos_only(sent: signal.Signals, tmp_path: Path) -> None:
    status, how = STATUS[sent]
    code, said = stopped(
        tmp_path, sent, "synth", "--out", str(tmp_path / "drawn"), "--size", "64", "--frames", "100000"
    )
    assert code == status, said
    assert said.endswith(f"internet synth: {how}\n")
    assert "Traceback" not in said
    assert list((tmp_path / "drawn").iterdir()) == []


def test_animate_leaves_nothing(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_model(tmp_path / "model.pt", INTERnet(INTERnetConfig.preset("tiny")))
    write_video(tmp_path / "driving.mp4", list(WalkingClip(1, (64, 64), frames=20)) * 50)
    before = sorted(tmp_path.iterdir())
    files = {"source": "driving.mp4", "driving": "driving.mp4", "checkpoint": "model.pt", "out": "out.mp4"}
    given = [f"--{name}={tmp_path / file}" for name, file in files.items()]
    code, said = stopped(tmp_path, signal.SIGTERM, "animate", "--device", "cpu", *given)
    assert code == 143, said
    assert said.endswith("internet animate: terminated\n")
    assert "Traceback" not in said
    assert sorted(tmp_path.iterdir()) == before


@pytest.fixture
def default_handler() -> Iterator[None]:
    """SIGTERM as in a fresh process, whatever ran in this one before."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("default_handler")
def test_the_signals_are_left_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr("internet.cli._run", lambda _: seen.append(signal.getsignal(signal.SIGTERM)) or 0)
    assert cli.main(["info"]) == 0
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert callable(seen[0])
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as set by other code
    assert cli.main(["info"]) == 0
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    thread = threading.Thread(target=cli.main, args=(["info"],))  # where Python cannot set handlers
    thread.start()
    thread.join()
    monkeypatch.setenv("RANK", "0")  # one of torchrun's processes
    assert cli.main(["info"]) == 0
    assert seen[1:] == [signal.SIG_IGN, signal.SIG_DFL, signal.SIG_DFL]


#: Stops where torch would be imported, and prints a line.
SLOW_IMPORT = """
import sys, time

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print("importing", flush=True)
            for _ in range(1200):  # a signal just before a sleep is handled after it
                time.sleep(0.05)

sys.meta_path.insert(0, Slow())
from internet.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize("sent", STATUS)
@pytest.mark.parametrize("command", ["info", "train", "animate", "demo", "--help"])
def test_a_command_can_be_stopped_while_torch_is_imported(command: str, sent: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_IMPORT, command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(sent, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "importing\n"
    process.send_signal(sent)
    said = process.communicate(timeout=60)[1]
    status, how = STATUS[sent]
    assert process.returncode == status, said
    assert said == f"internet {command}: {how}\n".replace(" --help", "")


def test_the_entry_point_is_there_before_torch() -> None:
    program = "import sys, internet, internet.cli; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    """Like `internet train --help | head -1`."""
    command = f"{sys.executable} -m internet train --help | head -1"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.startswith("usage: internet train")
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize(("where", "status", "said"), [(">&-", 0, ""), ("> /dev/full", 2, "No space left on device")])
def test_an_output_that_is_closed_or_full(where: str, status: int, said: str) -> None:
    command = f"exec {sys.executable} -m internet info {where}"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == status
    assert done.stderr == (f"internet info: {said}\n" if said else "")
