"""The Triton kernels in Triton's interpreter, on CPU tensors. test_triton.py runs this file, in a process that has
TRITON_INTERPRET=1 from its start."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import internet
from internet.ops import _dispatch
from internet.ops.results import motion_dtype
from tests.support import samples
from tests.support.calls import Calls
from tests.support.compare import (
    INTERPRETED,
    assert_all_close,
    assert_identical,
    cotangents,
    differentiate,
    evaluate,
    tensors_of,
)
from tests.support.interpreter import hurry
from tests.support.samples import DIFFERENTIABLE, OPERATORS, Sample

STATUS = internet.ops.backends()["triton"]
pytestmark = [
    pytest.mark.skipif(not INTERPRETED, reason="test_triton.py runs this file, in a process with TRITON_INTERPRET=1"),
    pytest.mark.skipif(INTERPRETED and not STATUS.ready, reason=f"backend triton: {STATUS.reason}"),
    pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning"),  # NumPy's, of NaN and infinity
]
if INTERPRETED and STATUS.ready:
    hurry()

# Kernels only see the strides of a layout: these samples add nothing. Others only take long.
LEFT_OUT = (
    "transposed", "expanded", "offset", "sliced", "cropped", "mixed", "any order", "three levels", "ratio 8",
    "mask ratio 8", "l1, sum", "l2, sum", "l2, none", "charbonnier, sum", "charbonnier, mean", "l1, none",
    "no mask, none", "padding", "one row", "many channels", "hundreds of channels", "mostly out of the frame",
    "odd sizes, full mask", "wide", "border, align_corners",
)  # fmt: skip
WILD_LEFT_OUT = (
    "huge coordinates", "beyond integers", "no motion", "at the frame's edge", "infinite coordinates, v", "infinite in",
)  # fmt: skip


def is_left_out(note: str) -> bool:
    return note.removeprefix("volumes, ").removeprefix("volume, ").startswith(LEFT_OUT)


LOW_PRECISION = ("odd sizes", "charbonnier, mean", "channels_last tensors", "ratio 4, align_corners, channels_last")


def compare(sample: Sample, dtype: torch.dtype, gradients: bool) -> None:
    """Values, and gradients, are those of the float64 reference."""
    # The interpreter truncates bfloat16 where a GPU rounds it: up to twice the error.
    slack = 2.0 if dtype == torch.bfloat16 else 1.0
    got, expected = evaluate(sample, "triton"), evaluate(sample.upcast(), "reference")
    assert_all_close(got, expected, [g.dtype for g in got], str(sample), slack)
    if gradients:
        incoming = cotangents(evaluate(sample, "reference"))
        got = differentiate(sample, "triton", incoming=incoming)
        expected = differentiate(sample.upcast(), "reference", incoming=[i.double() for i in incoming])
        assert [g.dtype for g in got] == [t.dtype for t in sample.tensors()]
        assert_all_close(got, expected, [g.dtype for g in got], f"{sample}: gradient", slack)


@pytest.mark.parametrize("operator", OPERATORS)
def test_values_and_gradients(operator: str) -> None:
    for sample in samples.samples(operator, torch.float64):
        if not is_left_out(sample.note):
            compare(sample, torch.float64, operator in DIFFERENTIABLE)


@pytest.mark.parametrize("operator", OPERATORS)
def test_values_of_wild_inputs(operator: str) -> None:
    for sample in samples.samples(operator, torch.float64, wild=True):
        if not sample.note.startswith(WILD_LEFT_OUT) and operator != "pyramid_warp":  # by confidence_warp's kernels
            compare(sample, torch.float64, gradients=False)


@pytest.mark.parametrize("operator", DIFFERENTIABLE)
def test_an_incoming_gradient_of_nan(operator: str) -> None:
    """It reaches everything that depends on it, and nothing else: not samples out of the frame."""
    sample = next(iter(samples.samples(operator, torch.float64)))
    incoming = cotangents(evaluate(sample, "reference"))
    for gradient in incoming:
        gradient[(-1,) * gradient.dim()] = torch.nan
    got, expected = (differentiate(sample, name, incoming=incoming) for name in ("triton", "reference"))
    assert_all_close(got, expected, [g.dtype for g in got], f"{sample}: gradient")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("operator", OPERATORS)
def test_low_precision(operator: str, dtype: torch.dtype) -> None:
    for sample in samples.samples(operator, dtype):
        if sample.note in LOW_PRECISION and operator != "pyramid_warp":
            compare(sample, dtype, operator in DIFFERENTIABLE)
            results = evaluate(sample, "triton")
            assert {r.dtype for r in results} <= {dtype, motion_dtype(dtype)}


def small(operator: str) -> Sample:
    """A sample for which every launch is a single program."""
    parameters: dict[str, Any] = {"confidence_warp": {"ratio": 2}, "pyramid_warp": {"levels": ((3, 1),)}}
    return samples.build(operator, torch.float32, batch=1, **parameters.get(operator, {}))


def results_and_gradients(function: Callable[..., Any], sample: Sample) -> list[Tensor]:
    leaves = [tensor.detach().clone().requires_grad_() for tensor in sample.tensors()]
    changed = sample.with_tensors(leaves)
    results = tensors_of(function(changed.args, changed.kwargs))
    found = [result.detach() for result in results]
    if sample.operator in DIFFERENTIABLE:
        found += torch.autograd.grad(results, leaves, cotangents(results))
    return found


@pytest.mark.parametrize("operator", OPERATORS)
def test_one_graph(operator: str) -> None:
    """torch.compile finds nothing to break a graph at, and computes the same."""
    torch._dynamo.reset()
    function = getattr(internet.ops, operator)

    def call(args: Any, kwargs: Any) -> Any:
        return function(*args, **kwargs)

    with internet.ops.backend("triton"):
        compiled = results_and_gradients(torch.compile(call, fullgraph=True, backend="aot_eager"), small(operator))
        assert_identical(compiled, results_and_gradients(call, small(operator)), operator)


@pytest.mark.parametrize("operator", OPERATORS)
def test_opcheck(operator: str) -> None:
    with internet.ops.backend("triton"), Calls() as calls:
        results_and_gradients(lambda args, kwargs: getattr(internet.ops, operator)(*args, **kwargs), small(operator))
    assert [call[0]._schema.name.split("::")[1] for call in calls.made] == [
        name for name in (operator, f"{operator}_backward") if name != "flow_confidence_backward"
    ]
    for function, arguments in calls.made:
        torch.library.opcheck(function, arguments, test_utils=("test_schema", "test_faketensor"))


def overloads() -> Iterator[str]:
    for name in OPERATORS:
        yield name
        if name in DIFFERENTIABLE:
            yield f"{name}_backward"


@pytest.mark.parametrize("name", list(overloads()))
def test_schemas_are_those_of_the_compiled_operators(name: str) -> None:
    compiled, triton = (getattr(getattr(torch.ops, n), name).default._schema for n in ("internet", "internet_triton"))
    assert [(a.name, str(a.type)) for a in triton.arguments] == [(a.name, str(a.type)) for a in compiled.arguments]
    assert [str(r.type) for r in triton.returns] == [str(r.type) for r in compiled.returns]


def test_the_backward_uses_the_backend_of_the_forward() -> None:
    sample = small("upsample_motion")
    leaves = [tensor.requires_grad_() for tensor in sample.tensors()]
    with internet.ops.backend("triton"):
        results = tensors_of(sample.with_tensors(leaves)())
    with Calls() as calls:
        torch.autograd.grad(results, leaves, cotangents(results))
    assert [call[0] for call in calls.made] == [torch.ops.internet_triton.upsample_motion_backward.default]


def test_nobody_gets_triton_on_the_cpu_unasked() -> None:
    assert _dispatch.namespace_for("affine_mixture", torch.device("cpu")) == "internet"


@pytest.mark.parametrize(
    "operator", ["confidence_warp", "volume_warp", "masked_backwarp_loss", "anchor_features", "pyramid_warp"]
)
def test_deterministic_algorithms(operator: str) -> None:
    """The gradient of the sampled tensor raises or warns; the others are bitwise repeatable."""
    sample = small(operator)
    motion = [place for place in range(len(sample.tensors())) if place]
    torch.use_deterministic_algorithms(True)
    try:
        with pytest.raises(RuntimeError, match=f"internet.ops.{operator}: .* in no fixed order"):
            differentiate(sample, "triton")
        once, again = (differentiate(sample, "triton", motion) for _ in range(2))
        assert_identical(once, again, operator)
        torch.use_deterministic_algorithms(True, warn_only=True)
        with pytest.warns(UserWarning, match="in no fixed order"):
            differentiate(sample, "triton")
    finally:
        torch.use_deterministic_algorithms(False)


def test_soft_argmax_of_more_blocks_than_are_added_up_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from internet.kernels import soft_argmax

    monkeypatch.setattr(soft_argmax, "SUMMED", 16)
    monkeypatch.setattr(soft_argmax, "COMBINED", 4)
    compare(samples.build("soft_argmax", torch.float64, size=(9, 20), jacobian_maps=1), torch.float64, gradients=True)


def test_the_gradient_of_a_map_of_no_anchors() -> None:
    """Zero, not what was in its memory."""
    maps = torch.ones(2, 1, 4, 3, 5, requires_grad=True)
    with internet.ops.backend("triton"):
        _, jacobians = internet.ops.soft_argmax(torch.zeros(2, 0, 3, 5), maps)
    assert jacobians is not None
    (gradient,) = torch.autograd.grad(jacobians.sum(), maps)
    assert (gradient == 0).all()


class Recorder:
    """In place of a kernel, what it is launched with."""

    def __init__(self) -> None:
        self.launched: list[dict[str, Any]] = []

    def __getitem__(self, _: Any) -> Callable[..., None]:
        return lambda *_, **constants: self.launched.append(constants)


def test_offsets_of_large_logits_have_64_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plane of (1, 4, 27000, 27000) begins past 2^31 elements, in the backward pass too."""
    import triton.language as tl

    from internet.kernels import soft_argmax

    recorder = Recorder()
    for name in ("_sum_block", "_combine", "_backward"):
        monkeypatch.setattr(soft_argmax, name, recorder)
    for size, expected in ((27_000, tl.int64), (20_000, tl.int32)):
        recorder.launched.clear()
        logits = torch.empty(1, 4, size, size, dtype=torch.bfloat16, device="meta")
        kp, jac, covariance, statistics = soft_argmax.soft_argmax(logits, None, 0.1, False, False)
        incoming = (torch.empty_like(kp), None, None)
        known = (logits, None, kp, jac, covariance, statistics)
        soft_argmax.soft_argmax_backward(*incoming, *known, 0.1, False, True, False)
        assert [launch["INDEX"] for launch in recorder.launched if "INDEX" in launch] == [expected] * 2
        (combined,) = (launch for launch in recorder.launched if "CHUNK" in launch)
        assert combined["CHUNK"] <= soft_argmax.COMBINED  # what is unrolled does not grow with the image


def test_offsets_in_the_gradient_of_a_resized_field_have_64_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the features' size it has two components a pixel: more than 2^31 where features of one channel have fewer."""
    import triton.language as tl

    from internet.kernels import confidence_warp

    recorder = Recorder()
    monkeypatch.setattr(confidence_warp, "_backward", recorder)
    monkeypatch.setattr(confidence_warp, "gather_field", lambda *_: None)
    for size, expected in ((33_000, tl.int64), (32_000, tl.int32)):
        features = torch.empty(1, 1, size, size, device="meta")
        field = torch.empty(1, size // 2, size // 2, 2, device="meta")
        options = confidence_warp.Options("progressive", False, "zeros", False)
        confidence_warp.warp_backward(
            "confidence_warp", features, features, field, None, None, options, False, True, False, False
        )
        assert recorder.launched[-1]["INDEX"] == expected
