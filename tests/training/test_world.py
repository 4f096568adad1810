"""The processes that train together: found through torchrun's environment, or an error that says what is wrong."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from internet.cli import main
from internet.training import PeerError, World
from tests.support.training import ROOT, SETTINGS

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


def taken_port() -> socket.socket:
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen()
    return server


def train(monkeypatch: pytest.MonkeyPatch, folder: Path, **environment: str) -> int:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", **environment}.items():
        monkeypatch.setenv(name, value)
    return main(["train", *SETTINGS, f"out={folder}", "run.device=cpu", "run.steps=1"])


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"RANK": "first"}, "the environment variable RANK is 'first', expected a number"),
        ({"RANK": ""}, "the environment variable RANK is '', expected a number"),
        ({"RANK": "1"}, "the environment variable RANK is 1, expected 0 to WORLD_SIZE - 1, 0"),
        ({"RANK": "-1"}, "the environment variable RANK is -1, expected 0 to"),
        ({"WORLD_SIZE": "all"}, "the environment variable WORLD_SIZE is 'all', expected a number"),
        ({"WORLD_SIZE": "0"}, "the environment variable RANK is 0, expected 0 to"),
        ({}, r"the processes cannot meet at None:None .*MASTER_ADDR"),
        ({"MASTER_ADDR": "127.0.0.1"}, r"the processes cannot meet at 127.0.0.1:None .*MASTER_PORT"),
        ({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "http"}, "the processes cannot meet at 127.0.0.1:http"),
        ({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "99999"}, "the processes cannot meet at 127.0.0.1:99999"),
        ({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "-5"}, "the processes cannot meet at 127.0.0.1:-5"),
    ],
)
def test_an_environment_that_is_not_torchrun_s(
    environment: dict[str, str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert train(monkeypatch, tmp_path / "run", **environment) == 2
    said = capsys.readouterr().err
    assert re.search(f"^internet train: {message}", said), said
    assert "Traceback" not in said
    assert not (tmp_path / "run").exists()


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with taken_port() as server:
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(server.getsockname()[1])}
        done = subprocess.run(
            [sys.executable, "-m", "internet", "train", *SETTINGS, f"out={tmp_path / 'run'}", "run.device=cpu"],
            cwd=ROOT,
            env={**os.environ, "RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", **address},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert f"the processes cannot meet at 127.0.0.1:{address['MASTER_PORT']}" in done.stderr


def test_cuda_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ValueError, match=r"run\.device is cuda, and torch finds no CUDA device"):
        World.join("cuda")


@pytest.mark.parametrize("local", ["2", "-1", "", "x"])
def test_a_local_rank_without_a_device(local: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    for name, value in {"RANK": "0", "WORLD_SIZE": "4", "LOCAL_RANK": local}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="the environment variable LOCAL_RANK is"):
        World.join("auto")


# Agreement between processes


class Pair(World):
    """One of two processes, where the other one may set its flag."""

    other_failed = False

    def any(self, *flags: bool) -> list[bool]:
        return [flag or self.other_failed for flag in flags]


def test_a_failure_elsewhere_ends_this_process_too() -> None:
    world, done = Pair(size=2), []
    with world.together():
        done.append("without failure")
    Pair.other_failed = True
    try:
        with pytest.raises(PeerError), world.together():
            done.append("with one")
        with pytest.raises(ZeroDivisionError), world.together():  # its own error takes precedence
            done.append(1 / 0)
    finally:
        Pair.other_failed = False
    assert done == ["without failure", "with one"]


def test_what_collectives_say_of_a_process_that_is_gone() -> None:
    gone = "[../gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:38293"
    with pytest.raises(PeerError), World(size=2).noticing_lost_peers():
        raise RuntimeError(gone)
    for world, words in ((World(), gone), (World(size=2), "shapes do not match")):
        with pytest.raises(RuntimeError) as caught, world.noticing_lost_peers():
            raise RuntimeError(words)
        assert not isinstance(caught.value, PeerError)
