"""`torch.compile(fullgraph=True)`: no graph break, forward and backward, static and dynamic shapes."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
import torch._dynamo.testing
from torch import Tensor

import internet
from tests.support import samples
from tests.support.compare import assert_all_close, assert_identical, cotangents, tensors_of
from tests.support.samples import DIFFERENTIABLE, OPERATORS, Sample

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # from within torch

# As for users: each operator by its default backend.

# Two sizes of each. Sizes that happen to be equal would be treated as the same symbol in all shapes, and a size that
# equals a constant of the operator, such as the 2 of (x, y), as that constant: so here none are equal.
PARAMETERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "affine_mixture": ({"batch": 5, "anchors": 3, "size": (6, 7)}, {"batch": 3, "anchors": 4, "size": (9, 8)}),
    "upsample_motion": ({"batch": 3, "size": (4, 5)}, {"batch": 4, "size": (5, 9)}),
    "confidence_warp": (
        {"batch": 3, "channels": 7, "size": (4, 5), "ratio": 2},
        {"batch": 4, "channels": 3, "size": (3, 7), "ratio": 2},
    ),
    "pyramid_warp": (
        {"batch": 3, "levels": ((7, 1), (9, 2)), "size": (4, 5)},
        {"batch": 5, "levels": ((4, 1), (3, 2)), "size": (6, 7)},
    ),
    "volume_warp": (
        {"batch": 4, "channels": 5, "size": (6, 7, 9), "out": (8, 10, 11)},
        {"batch": 5, "channels": 7, "size": (4, 9, 8), "out": (6, 12, 13)},
    ),
    "masked_backwarp_loss": (
        {"batch": 3, "channels": 5, "size": (8, 12)},
        {"batch": 5, "channels": 3, "size": (6, 14)},
    ),
    "flow_confidence": ({"batch": 3, "size": (5, 7)}, {"batch": 4, "size": (6, 9)}),
    "soft_argmax": ({"batch": 3, "anchors": 5, "size": (6, 7)}, {"batch": 5, "anchors": 6, "size": (7, 9)}),
    "anchor_features": (
        {"batch": 3, "anchors": 4, "channels": 6, "size": (5, 7)},
        {"batch": 4, "anchors": 3, "channels": 5, "size": (7, 8)},
    ),
}


@pytest.fixture(autouse=True)
def _fresh_compiler() -> None:
    torch._dynamo.reset()


def compiled(operator: str, **options: Any) -> Callable[..., Any]:
    function = getattr(internet.ops, operator)
    return torch.compile(lambda args, kwargs: function(*args, **kwargs), fullgraph=True, **options)


def check(call: Callable[..., Any], sample: Sample) -> None:
    """Results and gradients of the compiled call equal those of the eager one."""
    found: list[list[Tensor]] = []
    for function in (call, lambda args, kwargs: getattr(internet.ops, sample.operator)(*args, **kwargs)):
        leaves = [tensor.detach().clone().requires_grad_() for tensor in sample.tensors()]
        changed = sample.with_tensors(leaves)
        results = tensors_of(function(changed.args, changed.kwargs))
        found.append([result.detach() for result in results])
        if sample.operator in DIFFERENTIABLE:
            torch.autograd.backward(results, cotangents(results))
            found[-1] += [leaf.grad for leaf in leaves if leaf.grad is not None]
            assert len(found[-1]) == len(results) + len(leaves)
    assert_all_close(*found, [torch.float32] * len(found[0]), str(sample))


@pytest.mark.parametrize("operator", OPERATORS)
def test_static_shapes(operator: str) -> None:
    check(compiled(operator, backend="aot_eager"), samples.build(operator, torch.float32))


@pytest.mark.parametrize(
    ("operator", "parameters"),
    [
        ("affine_mixture", {"jacobians": False}),
        ("upsample_motion", {"confidence": False}),
        ("confidence_warp", {"confidence": False}),
        ("pyramid_warp", {"confidence": False}),
        ("confidence_warp", {"blend": True, "upsampling": "interpolate", "features_size": (4, 7)}),
        ("pyramid_warp", {"confidence_sizes": [None, (6, 10)], "blend": [False, True]}),
        ("volume_warp", {"confidence": False}),
        ("masked_backwarp_loss", {"ratio": None}),
        ("soft_argmax", {"jacobian_maps": 0}),
        ("soft_argmax", {"jacobian_maps": 0, "covariance": True, "size": (3, 4, 5)}),
        ("anchor_features", {"jacobians": False}),
        ("anchor_features", {"size": (2, 3, 4), "background": True, "covariances": True}),
    ],
)
def test_other_optional_arguments(operator: str, parameters: dict[str, Any]) -> None:
    """Fewer and more levels. Dynamo materialises the gradient of every output, even of an empty placeholder."""
    check(compiled(operator, backend="aot_eager"), samples.build(operator, torch.float32, **parameters))


@pytest.mark.parametrize("operator", OPERATORS)
def test_inference(operator: str) -> None:
    """Without gradients, Dynamo traces a torch.autograd.Function differently."""
    sample = samples.build(operator, torch.float32)
    with torch.no_grad():
        results = tensors_of(compiled(operator, backend="eager")(sample.args, sample.kwargs))
    assert_identical(results, tensors_of(sample()), str(sample))


@pytest.mark.parametrize("operator", OPERATORS)
def test_dynamic_shapes(operator: str) -> None:
    """One compilation serves other batch sizes, numbers of anchors and channels, and sizes."""
    first, second = (samples.build(operator, torch.float32, **parameters) for parameters in PARAMETERS[operator])
    call = compiled(operator, backend="aot_eager", dynamic=True)
    check(call, first)
    with torch.compiler.set_stance("fail_on_recompile"):
        check(call, second)


@pytest.mark.slow
def test_inductor() -> None:
    """The motion of a frame, warped features and the temporal loss in one graph, with torch's default compiler."""
    field = samples.build("affine_mixture", torch.float32, size=(4, 5))
    features = torch.randn(2, 3, 8, 10)
    flow = samples.build("masked_backwarp_loss", torch.float32, size=(8, 10), ratio=1).args[2]

    def loss(logits: Tensor, *anchors: Tensor) -> Tensor:
        motion = internet.ops.affine_mixture(logits, *anchors)
        confidence = logits[:, :1].sigmoid()
        warped = internet.ops.confidence_warp(features, motion, confidence)
        return internet.ops.masked_backwarp_loss(warped.tanh(), features, flow, confidence)

    found = []
    for function in (torch.compile(loss, fullgraph=True), loss):
        leaves = [tensor.clone().requires_grad_() for tensor in field.tensors()]
        result = function(*leaves)
        found.append([result.detach(), *torch.autograd.grad(result, leaves)])
    assert_all_close(*found, [torch.float32] * len(found[0]))


def test_another_backend_is_another_graph() -> None:
    """The backend requested at the call of a compiled function counts, separately in every thread."""
    sample = samples.build("confidence_warp", torch.float32)
    counter = torch._dynamo.testing.CompileCounter()
    call = compiled("confidence_warp", backend=counter)
    for name in ("cpu", "reference", "cpu"):
        with internet.ops.backend(name), torch.no_grad():
            assert_all_close(tensors_of(call(sample.args, sample.kwargs)), tensors_of(sample()), [torch.float32])
    assert counter.frame_count == 2
    with internet.ops.backend("reference"), ThreadPoolExecutor(1) as threads:
        threads.submit(call, sample.args, sample.kwargs).result()
    assert counter.frame_count == 3  # nothing was requested in that thread


def test_a_backend_within_a_graph() -> None:
    sample = samples.build("upsample_motion", torch.float32)

    def twice(field: Tensor, confidence: Tensor) -> list[Tensor]:
        fine = tensors_of(internet.ops.upsample_motion(field, confidence))
        with internet.ops.backend("reference"):
            return [*fine, *tensors_of(internet.ops.upsample_motion(*fine))]

    graphs = []

    def keep(graph: torch.fx.GraphModule, _: list[Tensor]) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    results = torch.compile(twice, fullgraph=True, backend=keep)(*sample.tensors())
    assert_all_close(results, twice(*sample.tensors()), [torch.float32] * 4)
    compiled_operator = torch.ops.internet.upsample_motion.default
    assert [node.target for node in graphs[0].graph.nodes].count(compiled_operator) == 1
