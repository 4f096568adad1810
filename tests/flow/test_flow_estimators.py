"""Estimators by name: DIS and DeepFlow against the true flow, RAFT against a stand-in for torchvision."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from internet.data.image import to_tensor
from internet.data.synthetic import WalkingClip
from internet.flow import Raft, deepflow, flow_estimator
from internet.utils.optional import MissingExtraError


def walking_pair(size: int = 256) -> tuple[Tensor, Tensor, Tensor]:
    """Two frames (1, 3, size, size) of a drawn clip, and the true flow between them."""
    clip, start, end = WalkingClip(3, (size, size)), 0.2, 0.22
    flow = torch.from_numpy(clip.flow(start, end))[None]
    return to_tensor(clip.render(start)), to_tensor(clip.render(end)), flow


@pytest.mark.parametrize(("name", "within"), [("dis", 0.2), ("deepflow", 0.12)])
def test_the_true_motion_of_a_walker_is_found(name: str, within: float) -> None:
    """Mean end-point error in pixels; on the walker, less than half the error of no motion."""
    first, second, truth = walking_pair()
    moving = truth.norm(dim=1) > 0.5
    error = (flow_estimator(name)(first, second) - truth).norm(dim=1)
    assert error.mean() < within
    assert error[moving].mean() < 0.5 * truth.norm(dim=1)[moving].mean()


def test_identities_tell_methods_and_options_apart() -> None:
    names = {flow_estimator(*name).identity for name in [("dis",), ("deepflow",)]}
    names |= {flow_estimator("dis", preset=preset).identity for preset in ("fast", "medium", "fine")}
    assert len(names) == 4  # medium is the default


def test_unknown_names_and_options_are_refused() -> None:
    with pytest.raises(ValueError, match="one of dis, deepflow, raft; got 'farneback'"):
        flow_estimator("farneback")
    with pytest.raises(ValueError, match="preset must be one of"):
        flow_estimator("dis", preset="best")
    with pytest.raises(TypeError, match="weights"):
        flow_estimator("dis", weights="x")


def test_deepflow_without_contributed_modules_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", ModuleType("cv2"))
    with pytest.raises(MissingExtraError, match=r"contributed modules.*internet-ops\[flow\]"):
        deepflow(torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32))


class Recorder(nn.Module):
    """A stand-in for RAFT: records its input, and returns a flow of one pixel to the right."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.seen: list[Any] = []

    def forward(self, first: Tensor, second: Tensor, num_flow_updates: int) -> list[Tensor]:
        self.seen.append((first, second, num_flow_updates))
        flow = torch.zeros_like(first[:, :2])
        flow[:, 0] = 1
        return [torch.full_like(flow, torch.nan), flow]


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    models = SimpleNamespace(raft_large=lambda weights: recorder)
    monkeypatch.setattr("internet.flow.raft.require", lambda name, purpose: models)
    return recorder


def test_raft_is_given_what_it_wants(network: Recorder, tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(1)}, tmp_path / "raft.pth")
    estimator = Raft(tmp_path / "raft.pth", updates=5)
    image = torch.rand(2, 3, 60, 130)
    flow = estimator(image, image.flip(0))
    assert network.weight.item() == 1
    assert not network.training
    first, second, updates = network.seen[0]
    assert first.shape == (2, 3, 128, 136)  # at least 128, and multiples of 8
    torch.testing.assert_close(first[..., :60, :130], image * 2 - 1)
    torch.testing.assert_close(second[..., :60, :130], image.flip(0) * 2 - 1)
    assert (first[..., 60:, :130] == first[..., 59:60, :130]).all()
    assert updates == 5
    assert flow.shape == (2, 2, 60, 130)
    assert flow.isfinite().all()  # the last update's


def test_raft_is_told_apart_by_its_weights(network: Recorder, tmp_path: Path) -> None:
    for value in range(2):
        torch.save({"weight": torch.full((1,), float(value))}, tmp_path / f"{value}.pth")
    one, other = (flow_estimator("raft", weights=tmp_path / f"{value}.pth") for value in range(2))
    assert one.identity != other.identity


def test_missing_weights_of_raft_say_how_to_get_them(network: Recorder, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"not at.*none.pth.*fetch them once with: python -c"):
        Raft(tmp_path / "none.pth")
