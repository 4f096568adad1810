"""First-order-motion's stage I: its checkpoints load, and give what its formulas give.

The formulas are written out here in plain torch, from a checkpoint's tensors alone.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from internet import cli
from internet.model import INTERnet, INTERnetConfig
from internet.model.first_order import GaussianDown, stage_one
from internet.model.weights import read_weights
from tests.support.compare import assert_close

K = 10


def convolution(name: str, outputs: int, inputs: int, size: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs, size, size), f"{name}.bias": (outputs,)}


def block(name: str, outputs: int, inputs: int) -> dict[str, tuple[int, ...]]:
    norm = {f"{name}.norm.{part}": (outputs,) for part in ("weight", "bias", "running_mean", "running_var")}
    return convolution(f"{name}.conv", outputs, inputs, 3) | norm | {f"{name}.norm.num_batches_tracked": ()}


def hourglass(name: str, down: list[tuple[int, int]], up: list[tuple[int, int]]) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for index, (outputs, inputs) in enumerate(down):
        shapes |= block(f"{name}.encoder.down_blocks.{index}", outputs, inputs)
    for index, (outputs, inputs) in enumerate(up):
        shapes |= block(f"{name}.decoder.up_blocks.{index}", outputs, inputs)
    return shapes


#: vox-256: every name and shape of stage I, (outputs, inputs) of each block written out.
DETECTOR = {
    **hourglass(
        "predictor",
        [(64, 3), (128, 64), (256, 128), (512, 256), (1024, 512)],
        [(512, 1024), (256, 1024), (128, 512), (64, 256), (32, 128)],
    ),
    **convolution("kp", K, 35, 7),
    **convolution("jacobian", 4 * K, 35, 7),
    "down.weight": (3, 1, 13, 13),
}
DENSE_MOTION = {
    **hourglass(
        "hourglass",
        [(128, 44), (256, 128), (512, 256), (1024, 512), (1024, 1024)],
        [(1024, 1024), (512, 2048), (256, 1024), (128, 512), (64, 256)],
    ),
    **convolution("mask", K + 1, 108, 7),
    **convolution("occlusion", 1, 108, 7),
    "down.weight": (3, 1, 13, 13),
}


def gaussian() -> Tensor:
    line = torch.tensor([math.exp(-(x**2) / (2 * 1.5**2)) for x in range(-6, 7)])
    kernel = line[:, None] * line
    return (kernel / kernel.sum()).expand(3, 1, 13, 13).clone()


def random_weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Weights of a size that keeps activations alive through ten layers, variances above zero."""
    weights = {}
    for name, shape in shapes.items():
        if name == "down.weight":
            weights[name] = gaussian()
        elif name.endswith("num_batches_tracked"):
            weights[name] = torch.tensor(100)
        elif name.endswith(("running_var", "norm.weight")):
            weights[name] = 0.5 + torch.rand(shape)
        elif len(shape) == 4:
            weights[name] = torch.randn(shape) * (2 / math.prod(shape[1:])) ** 0.5
        else:
            weights[name] = 0.1 * torch.randn(shape)
    if "jacobian.bias" in weights:
        weights["jacobian.bias"] += torch.eye(2).flatten().repeat(K)  # Jacobians that can be inverted
    return weights


@pytest.fixture(scope="module")
def checkpoint() -> dict[str, dict[str, Tensor]]:
    torch.manual_seed(0)
    dense = {f"dense_motion_network.{name}": value for name, value in random_weights(DENSE_MOTION).items()}
    return {
        "kp_detector": random_weights(DETECTOR),
        "generator": dense | {"first.conv.weight": torch.zeros(64, 3, 7, 7), "final.bias": torch.zeros(3)},
        "epoch": 100,  # type: ignore[dict-item]
    }


# The formulas of first-order-motion


def their_block(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    x = F.conv2d(x, w[f"{name}.conv.weight"], w[f"{name}.conv.bias"], padding=1)
    mean, variance = w[f"{name}.norm.running_mean"], w[f"{name}.norm.running_var"]
    return F.relu(F.batch_norm(x, mean, variance, w[f"{name}.norm.weight"], w[f"{name}.norm.bias"]))


def their_hourglass(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    levels = [x]
    for index in range(5):
        levels.append(F.avg_pool2d(their_block(w, f"{name}.encoder.down_blocks.{index}", levels[-1]), 2))
    x = levels.pop()
    for index in range(5):
        x = their_block(w, f"{name}.decoder.up_blocks.{index}", F.interpolate(x, scale_factor=2))
        x = torch.cat([x, levels.pop()], dim=1)
    return x


def their_down(w: dict[str, Tensor], x: Tensor) -> Tensor:
    return F.conv2d(F.pad(x, (6, 6, 6, 6)), w["down.weight"], groups=3)[:, :, ::4, ::4]


def their_grid(height: int, width: int) -> Tensor:
    x, y = 2 * torch.arange(width) / (width - 1) - 1, 2 * torch.arange(height) / (height - 1) - 1
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=-1)


def their_anchors(w: dict[str, Tensor], frame: Tensor) -> tuple[Tensor, Tensor]:
    features = their_hourglass(w, "predictor", their_down(w, frame))
    heat = F.conv2d(features, w["kp.weight"], w["kp.bias"])
    heat = F.softmax(heat.flatten(2) / 0.1, dim=2).view_as(heat)[..., None]
    kp = (heat * their_grid(*heat.shape[2:4])).sum((2, 3))
    maps = F.conv2d(features, w["jacobian.weight"], w["jacobian.bias"]).unflatten(1, (K, 4))
    jacobian = (heat[..., 0][:, :, None] * maps).sum((3, 4)).unflatten(2, (2, 2))
    return kp, jacobian


def their_motion(w: dict[str, Tensor], source: Tensor, kp: list[Tensor], jac: list[Tensor]) -> tuple[Tensor, Tensor]:
    small = their_down(w, source)
    height, width = small.shape[2:]
    grid = their_grid(height, width)
    gaussians = [torch.exp(-0.5 * ((grid - p[:, :, None, None]) ** 2).sum(-1) / 0.01) for p in kp]
    heat = torch.cat([torch.zeros(len(source), 1, height, width), gaussians[1] - gaussians[0]], dim=1)
    offset = grid[None, None] - kp[1][:, :, None, None]
    turn = (jac[0] @ torch.inverse(jac[1]))[:, :, None, None]
    motions = (turn @ offset[..., None])[..., 0] + kp[0][:, :, None, None]
    motions = torch.cat([grid.expand(len(source), 1, height, width, 2), motions], dim=1)
    moved = [F.grid_sample(small, motions[:, k], align_corners=False) for k in range(K + 1)]
    features = torch.cat([heat[:, :, None], torch.stack(moved, 1)], dim=2).flatten(1, 2)
    features = their_hourglass(w, "hourglass", features)
    mask = F.conv2d(features, w["mask.weight"], w["mask.bias"], padding=3).softmax(dim=1)
    occlusion = F.conv2d(features, w["occlusion.weight"], w["occlusion.bias"], padding=3).sigmoid()
    return (motions * mask[..., None]).sum(1), occlusion


# Tests


def test_a_checkpoint_gives_what_its_formulas_give(checkpoint):
    model = INTERnet(INTERnetConfig.preset("internet-256", stage_one="first-order"))
    generator = {name: value.clone() for name, value in model.generator.state_dict().items()}
    model.load_stage_one(stage_one(checkpoint))
    assert all(torch.equal(generator[name], value) for name, value in model.generator.state_dict().items())
    model.eval()
    detector = checkpoint["kp_detector"]
    prefix = "dense_motion_network."
    dense = {k[len(prefix) :]: v for k, v in checkpoint["generator"].items() if k.startswith(prefix)}
    frames = [F.interpolate(torch.rand(1, 3, 16, 16), size=(128, 256), mode="bilinear") for _ in range(2)]
    with torch.no_grad():
        ours = [model.kp_detector(frame) for frame in frames]
        theirs = [their_anchors(detector, frame) for frame in frames]
        for anchors, (kp, jac) in zip(ours, theirs, strict=True):
            torch.testing.assert_close(anchors.kp, kp, atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(anchors.jac, jac, atol=1e-4, rtol=1e-4)
        assert (theirs[0][0] - theirs[1][0]).abs().max() > 0.01  # the frames have different anchors
        motion = model.dense_motion_network(frames[0], *ours)
        field, occlusion = their_motion(dense, frames[0], [kp for kp, _ in theirs], [jac for _, jac in theirs])
    torch.testing.assert_close(motion.field, field, atol=2e-4, rtol=1e-4)
    torch.testing.assert_close(motion.confidence, occlusion, atol=1e-4, rtol=1e-4)
    assert field.std() > 0.1
    assert occlusion.std() > 0.01


def test_the_blur_is_the_checkpoint_s(checkpoint):
    assert_close(GaussianDown().weight, checkpoint["kp_detector"]["down.weight"], torch.float32)


def test_the_command_writes_what_a_model_loads(checkpoint, tmp_path, capsys):
    torch.save(checkpoint, tmp_path / "vox.pth.tar")
    out = tmp_path / "stage_one.pth"
    assert cli.main(["import-fomm", str(tmp_path / "vox.pth.tar"), "--out", str(out)]) == 0
    assert f"{len(DETECTOR) + len(DENSE_MOTION)} tensors" in capsys.readouterr().out
    assert cli.main(["import-fomm", str(tmp_path / "vox.pth.tar"), "--out", str(out)]) == 2
    assert "--out: " in (said := capsys.readouterr().err)
    assert "exists; choose another name or pass --overwrite" in said
    state = torch.load(out, weights_only=True)
    assert set(state) == {f"kp_detector.{name}" for name in DETECTOR} | {
        f"dense_motion_network.{name}" for name in DENSE_MOTION
    }


def test_what_does_not_fit_is_named(checkpoint):
    broken = {entry: dict(value) for entry, value in checkpoint.items() if entry != "epoch"}
    del broken["kp_detector"]["jacobian.bias"]
    broken["kp_detector"]["edges.weight"] = torch.zeros(1)
    broken["generator"]["dense_motion_network.mask.bias"] = torch.zeros(7)
    with pytest.raises(ValueError, match=r"do not fit") as caught:
        stage_one(broken)
    said = str(caught.value)
    assert "missing: kp_detector.jacobian.bias" in said
    assert "unknown: kp_detector.edges.weight" in said
    assert "dense_motion_network.mask.bias is (7,), expected (11,)" in said
    assert len(said.splitlines()) == 4
    with pytest.raises(ValueError, match="no entry 'kp_detector'; it has generator"):
        stage_one({"generator": {}})


def test_weights_go_only_into_a_model_that_they_fit(checkpoint):
    state = stage_one(checkpoint)
    with pytest.raises(ValueError, match="stage_one = 'first-order'"):
        INTERnet(INTERnetConfig.preset("tiny")).load_stage_one(state)
    with torch.device("meta"):
        other = INTERnet(INTERnetConfig.preset("tiny", stage_one="first-order", anchors=15))
    with pytest.raises(ValueError, match=r"kp_detector\.kp\.weight is \(10, 35, 7, 7\), expected \(15, 35, 7, 7\)"):
        other.load_stage_one(state)


class Anything:
    """An object that only trusting unpickling makes."""


def test_a_file_with_code_in_it_needs_trust(checkpoint, tmp_path):
    path = tmp_path / "code.pth"
    torch.save({"kp_detector": Anything()}, path)
    with pytest.raises(ValueError, match=r"code\.pth.*runs code from the file"):
        read_weights(path)
    assert isinstance(read_weights(path, trust=True)["kp_detector"], Anything)


def test_a_file_that_is_no_checkpoint(tmp_path, capsys):
    empty, noise, half, tensor = (tmp_path / name for name in ("empty.pth", "noise.pth", "half.pth", "tensor.pth"))
    empty.touch()
    noise.write_bytes(b"\x80\x02no checkpoint at all")
    torch.save({"kp_detector": {"kp.weight": torch.zeros(1000)}}, half)
    half.write_bytes(half.read_bytes()[:2000])
    torch.save(torch.zeros(2), tensor)
    words = {empty: "is not a complete file", noise: "is not a complete file", half: "its end is missing"}
    words |= {tensor: "holds a Tensor", tmp_path / "absent": "No such file", tmp_path: "is a folder, not a file"}
    for path, reason in words.items():
        assert cli.main(["import-fomm", str(path), "--out", str(tmp_path / "out")]) == 2
        said = capsys.readouterr().err
        assert "CHECKPOINT:" in said
        assert reason in said
    assert not (tmp_path / "out").exists()
