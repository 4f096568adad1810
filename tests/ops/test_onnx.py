"""`torch.onnx.export` with default settings: every operator, in ONNX's own operators, run by ONNX Runtime."""

import io
from typing import Any

import pytest
import torch
from torch import Tensor

import internet
from tests.support import samples
from tests.support.compare import tensors_of
from tests.support.samples import OPERATORS, Sample

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:Constant folding:UserWarning"),
]

#: Both of torch's exporters, with the oldest operator sets they support: before 20, GridSample only supports images,
#: and volumes must use that.
EXPORTERS: dict[str, dict[str, Any]] = {
    "torch.export": {"dynamo": True, "opset_version": 18, "verbose": False},
    "TorchScript": {"dynamo": False, "opset_version": 16},
}

VOLUME: dict[str, Any] = {"size": (2, 3, 5), "background": True}
SIZES: dict[str, Any] = {"features_size": (7, 8), "confidence_size": (2, 9), "blend": True}
WIDE: list[tuple[str, dict[str, Any]]] = [
    ("affine_mixture", VOLUME),
    ("anchor_features", VOLUME | {"covariances": True}),
    ("soft_argmax", {"size": (2, 3, 5), "covariance": True}),
    ("volume_warp", {"padding_mode": "border", "align_corners": True}),
    ("confidence_warp", SIZES | {"upsampling": "interpolate"}),
    ("confidence_warp", {"ratio": 4, "blend": True, "padding_mode": "border"}),
]
CASES = [*((operator, {}) for operator in OPERATORS), *WIDE]


class OfTensors(torch.nn.Module):
    """A sample as a module of its tensors."""

    def __init__(self, sample: Sample) -> None:
        super().__init__()
        self.sample = sample

    def forward(self, *tensors: Tensor) -> list[Tensor]:
        return tensors_of(self.sample.with_tensors(tensors)())


def exported(module: torch.nn.Module, tensors: list[Tensor], **options: Any) -> Any:
    file = io.BytesIO()
    torch.onnx.export(module.eval(), tuple(tensors), file, **options)
    return onnx.load_from_string(file.getvalue())


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize(("operator", "parameters"), CASES, ids=str)
def test_every_operator(operator: str, parameters: dict[str, Any], exporter: str) -> None:
    sample = samples.build(operator, torch.float32, **parameters)
    tensors = sample.tensors()
    model = exported(OfTensors(sample), tensors, **EXPORTERS[exporter])
    onnx.checker.check_model(model)
    assert {node.domain for node in model.graph.node} <= {"", "pkg.onnxscript.torch_lib"}, (
        "operators that are not ONNX's"
    )
    assert [opset.version for opset in model.opset_import if not opset.domain] == [EXPORTERS[exporter]["opset_version"]]
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feed = {value.name: tensor.numpy() for value, tensor in zip(session.get_inputs(), tensors, strict=True)}
    expected = tensors_of(sample())
    for got, result in zip(session.run(None, feed), expected, strict=True):
        torch.testing.assert_close(torch.from_numpy(got), result, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.skipif(not internet.ops.backends()["cpu"].ready, reason="needs the CPU library")
def test_whatever_backend_is_asked_for(exporter: str) -> None:
    sample = samples.build("upsample_motion", torch.float32)
    with internet.ops.backend("cpu"):
        model = exported(OfTensors(sample), sample.tensors(), **EXPORTERS[exporter])
    assert {node.domain for node in model.graph.node} == {""}


def test_nothing_is_left_behind() -> None:
    """The choice only affects the export: a program exported later has the compiled operator again."""
    sample = samples.build("upsample_motion", torch.float32)
    exported(OfTensors(sample), sample.tensors(), **EXPORTERS["torch.export"])
    program = torch.export.export(OfTensors(sample), tuple(sample.tensors()))
    called = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert ("internet.upsample_motion.default" in called) == internet.ops.backends()["cpu"].ready
