"""Selecting a backend: the context manager, the environment variable, and errors."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

import internet
from internet.ops import _dispatch, _requested, _status
from tests.support import samples
from tests.support.compare import DEVICES
from tests.support.evaluate import ROOT

NAMES = ("reference", "cpu", "cuda", "triton")


Pretend = Callable[..., None]


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Pretend:
    """Makes backends ready, or not, for the duration of a test: pretend(cuda=Status(True))."""

    def pretend(**statuses: internet.ops.Status) -> None:
        for name, status in statuses.items():
            monkeypatch.setitem(_status._known, name, status)

    return pretend


def chosen() -> str | None:
    return _requested.asked_for()


@pytest.mark.parametrize("name", NAMES)
def test_every_backend_is_ready_or_says_why_not(name: str) -> None:
    status = internet.ops.backends()[name]
    assert status.ready == (not status.reason)
    assert set(status.fallbacks) <= set(samples.OPERATORS)
    if not status.ready:
        assert str(status) == f"not available: {status.reason}"
        pytest.skip(f"the tests do not reach {name}: {status.reason}")
    if status.fallbacks:
        pytest.skip(f"{name}: {status}")


def test_the_names_are_these() -> None:
    assert tuple(internet.ops.backends()) == NAMES == tuple(DEVICES)
    assert internet.ops.backends()["reference"].ready
    assert internet.ops.OPERATORS == samples.OPERATORS


def test_the_list_is_a_copy() -> None:
    internet.ops.backends().clear()  # type: ignore[attr-defined]
    assert tuple(internet.ops.backends()) == NAMES


def test_nesting(pretend: Pretend) -> None:
    pretend(cpu=internet.ops.Status(True))
    outside = chosen()
    with internet.ops.backend("reference"):
        assert chosen() == "reference"
        with internet.ops.backend("cpu"):
            assert chosen() == "cpu"
            with internet.ops.backend("cpu"):
                assert chosen() == "cpu"
        assert chosen() == "reference"
    assert chosen() == outside


def test_an_exception_restores_the_choice() -> None:
    outside = chosen()
    with pytest.raises(KeyError), internet.ops.backend("reference"):
        raise KeyError
    assert chosen() == outside


def test_one_object_can_be_used_again(pretend: Pretend) -> None:
    outside = chosen()
    reference = internet.ops.backend("reference")
    for _ in range(2):
        with reference:
            assert chosen() == "reference"
        assert chosen() == outside


def test_one_object_can_be_entered_while_it_is(pretend: Pretend) -> None:
    outside = chosen()
    reference = internet.ops.backend("reference")
    with reference:
        with reference, internet.ops.backend("cpu"), reference:
            assert chosen() == "reference"
        assert chosen() == "reference"
    assert chosen() == outside


def test_a_function_can_be_decorated() -> None:
    @internet.ops.backend("reference")
    def called() -> str | None:
        return chosen()

    assert (called(), chosen(), called()) == ("reference", None, "reference")


def test_threads_choose_for_themselves() -> None:
    """Overlapping contexts in two threads, even of the same object, leave nothing behind in either."""
    outside, shared = chosen(), internet.ops.backend("reference")
    entered, left = threading.Event(), threading.Event()

    def other() -> tuple[str | None, str | None, str | None]:
        before = chosen()
        with shared:
            inside = chosen()
            entered.set()
            assert left.wait(60)
        return before, inside, chosen()

    with ThreadPoolExecutor(1) as threads:
        with shared:
            found = threads.submit(other)
            assert entered.wait(60)
        assert chosen() == outside
        left.set()
        default = _requested._FOR_A_RUN[-1] if _requested._FOR_A_RUN else None
        assert found.result() == (default, "reference", default)


def test_tasks_choose_for_themselves() -> None:
    async def task(name: str) -> list[str | None]:
        with internet.ops.backend(name):
            found = [chosen()]
            await asyncio.sleep(0)
            found.append(chosen())
        await asyncio.sleep(0)
        return [*found, chosen()]

    async def both() -> list[list[str | None]]:
        return await asyncio.gather(task("reference"), task("cpu"))

    outside = chosen()
    assert asyncio.run(both()) == [["reference", "reference", outside], ["cpu", "cpu", outside]]
    assert chosen() == outside


def test_making_one_chooses_nothing() -> None:
    outside = chosen()
    internet.ops.backend("reference")
    assert chosen() == outside


@pytest.mark.parametrize("name", ["CPU", "", "fastest", "metal"])
def test_unknown_names(name: str) -> None:
    with pytest.raises(ValueError, match=f"backend: got {name!r}, expected one of reference, cpu, cuda, triton"):
        internet.ops.backend(name)


def test_missing_backends_raise_with_the_reason(pretend: Pretend) -> None:
    pretend(cuda=internet.ops.Status(False, "no such luck"))
    with pytest.raises(RuntimeError, match="backend: 'cuda' is not available: no such luck"):
        internet.ops.backend("cuda")


def test_a_backend_of_another_device(pretend: Pretend) -> None:
    pretend(cuda=internet.ops.Status(True))
    for operator in samples.OPERATORS:
        sample = samples.build(operator, torch.float32)
        message = f"{operator}: backend 'cuda' was asked for, but the tensors are on cpu"
        with internet.ops.backend("cuda"), pytest.raises(RuntimeError, match=message):
            sample()


def test_the_backward_uses_the_backend_of_the_forward() -> None:
    logits, *points = samples.build("affine_mixture", torch.float64).tensors()
    logits.requires_grad_()
    with internet.ops.backend("reference"):
        field = internet.ops.affine_mixture(logits, *points)
    (gradient,) = torch.autograd.grad(field.square().sum(), logits, create_graph=True)
    torch.autograd.grad(gradient.square().sum(), logits)  # a compiled backward would raise


def test_status_reads_well() -> None:
    assert str(internet.ops.Status(True)) == "ready"
    assert str(internet.ops.Status(True, fallbacks=("a", "b"))) == "ready; a, b served by reference"
    assert str(internet.ops.Status(False, "why")) == "not available: why"


def fresh_process(code: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


CODE = "from internet.ops import _requested; print(_requested.asked_for())"


@pytest.mark.parametrize(("value", "expected"), [("reference", "reference"), ("", "None")])
def test_environment_variable(value: str, expected: str) -> None:
    done = fresh_process(CODE, INTERNET_BACKEND=value)
    assert done.stdout.strip() == expected, done.stderr


def test_environment_variable_with_an_unknown_name() -> None:
    done = fresh_process(CODE, INTERNET_BACKEND="fastest")
    assert done.returncode == 1
    assert "ValueError: INTERNET_BACKEND: got 'fastest', expected one of reference, cpu" in done.stderr


def test_each_call_takes_what_serves_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(_dispatch, "asked_for", lambda: None)
    monkeypatch.setattr(_dispatch, "compiled", {"cpu": frozenset(["soft_argmax"]), "cuda": frozenset()})
    for operator in ("soft_argmax", "affine_mixture"):
        for device in ("cpu", "meta", "cuda", "mps"):
            calls.append((operator, device, _dispatch.namespace_for(operator, torch.device(device))))
    assert [call[:2] for call in calls if call[2] == "internet"] == [("soft_argmax", "cpu"), ("soft_argmax", "meta")]


@pytest.mark.parametrize("preferred", [False, True])
@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("compiled", [False, True])
def test_cuda_or_triton(monkeypatch: pytest.MonkeyPatch, compiled: bool, deterministic: bool, preferred: bool) -> None:
    """Triton serves operators without a CUDA kernel, and those where it is faster, unless bits must repeat."""
    name, gpu = "confidence_warp", torch.device("cuda")
    monkeypatch.setitem(_dispatch.compiled, "cuda", frozenset({name} if compiled else ()))
    monkeypatch.setattr(_dispatch, "_triton_on_gpus", frozenset({name} if preferred or not compiled else ()))
    monkeypatch.setattr(_dispatch, "why_not_on", lambda _: "")
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: deterministic)
    by_triton = not compiled or (preferred and not deterministic)
    assert _dispatch.namespace_for(name, gpu) == ("internet_triton" if by_triton else "internet")


@pytest.mark.parametrize("triton", [False, True])
def test_a_gpu_that_the_kernels_do_not_run_on(monkeypatch: pytest.MonkeyPatch, triton: bool) -> None:
    """An old GPU next to a new one: Triton or the reference serves the old one; the new one keeps its kernels."""
    monkeypatch.setitem(_dispatch.compiled, "cuda", frozenset({"soft_argmax"}))
    monkeypatch.setattr(_dispatch, "why_not_on", lambda gpu: "no kernels" if gpu == 1 else "")
    monkeypatch.setattr(_dispatch, "triton_kernels", lambda: object() if triton else "not installed")
    assert _dispatch.namespace_for("soft_argmax", torch.device("cuda", 0)) == "internet"
    assert _dispatch.namespace_for("soft_argmax", torch.device("cuda", 1)) == ("internet_triton" if triton else None)
