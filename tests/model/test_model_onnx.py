"""A whole model exported to ONNX with default settings: ONNX Runtime computes the same frames as torch."""

import io

import pytest
import torch

from internet.model import INTERnet, INTERnetConfig
from tests.support.compare import tensors_of

pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

SMALL = {
    "anchors": 3,
    "anchor_width": 4,
    "motion_width": 4,
    "widest": 8,
    "depth": 2,
    "channels": (8, 4),
    "blocks": (1, 1),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_model_of_any_batch() -> None:
    model = INTERnet(INTERnetConfig.preset("tiny", size=32, **SMALL)).eval()
    frames = tuple(torch.rand(2, 2, 3, 32, 32))
    file = io.BytesIO()
    batch = torch.export.Dim("batch")
    torch.onnx.export(model, frames, file, dynamic_shapes=({0: batch}, {0: batch}), verbose=False)
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    for count in (1, 3):
        frames = tuple(torch.rand(2, count, 3, 32, 32))
        feed = {value.name: frame.numpy() for value, frame in zip(session.get_inputs(), frames, strict=True)}
        with torch.no_grad():
            expected = tensors_of(model(*frames))
        for got, result in zip(session.run(None, feed), expected, strict=True):
            torch.testing.assert_close(torch.from_numpy(got), result, atol=1e-5, rtol=1e-5)
