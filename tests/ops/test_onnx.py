"""ONNX export goes through the reference: every operator, in standard operators of ONNX."""

import pytest
import torch

import internet
from tests.ops.test_export import Call
from tests.support import samples
from tests.support.compare import assert_all_close, tensors_of
from tests.support.samples import OPERATORS

pytest.importorskip("onnxscript")
onnx = pytest.importorskip("onnx")
onnx_reference = pytest.importorskip("onnx.reference")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("operator", OPERATORS)
def test_onnx(operator: str) -> None:
    sample = samples.build(operator, torch.float32)
    with internet.ops.backend("reference"):
        program = torch.onnx.export(Call(sample).eval(), sample.args, dynamo=True, verbose=False)
        expected = tensors_of(sample())
    assert program is not None
    model = program.model_proto
    onnx.checker.check_model(model)
    assert {node.domain for node in model.graph.node} == {""}, "operators that are not ONNX's own"
    names = [value.name for value in model.graph.input]
    tensors = sample.tensors()
    assert len(names) == len(tensors)
    feed = {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)}
    got = [torch.from_numpy(result) for result in onnx_reference.ReferenceEvaluator(model).run(None, feed)]
    assert_all_close(got, [result.double() for result in expected], [torch.float32] * len(got), str(sample))
