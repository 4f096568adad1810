"""The scalar arithmetic of csrc/math, bound in double: values against the equations, derivatives against differences.

It is the one copy of the formulas that the CPU and the GPU kernels share, so a machine without a GPU checks here
what a GPU will compute.
"""

import importlib.util
import itertools
import math
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from internet.ops import reference

pybind11 = pytest.importorskip("pybind11")
HEADERS = Path(__file__).parents[1] / "csrc"
COMPILER = next(filter(shutil.which, ("g++", "clang++", "c++")), None)
pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="no C++ compiler"),
    pytest.mark.skipif(not HEADERS.exists(), reason="the C++ headers are not here"),
]

FAR = (math.inf, -math.inf, 1e30, -1e30)


@pytest.fixture(scope="module")
def m(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The bindings, compiled."""
    return compiled(tmp_path_factory.mktemp("math"))


@pytest.fixture(scope="module", params=["plain", "fused multiply-add"])
def either(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The same, for functions that are written in two ways: without and with fused multiply-add."""
    if request.param == "plain":
        module: ModuleType = request.getfixturevalue("m")
        return module
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        pytest.skip("no flag that compiles the other way, on this machine")
    return compiled(tmp_path_factory.mktemp("math"), "-march=x86-64-v3", "-ffp-contract=fast")


def compiled(folder: Path, *options: str) -> ModuleType:
    library = folder / f"math_bindings{sysconfig.get_config_var('EXT_SUFFIX')}"
    includes = [f"-I{HEADERS}", f"-I{pybind11.get_include()}", f"-I{sysconfig.get_paths()['include']}"]
    flags = ["-std=c++20", "-O1", "-fPIC", "-shared", "-fvisibility=hidden", "-Wall", "-Wno-psabi", "-Werror", *options]
    source = Path(__file__).with_name("math_bindings.cpp")
    done = subprocess.run([str(COMPILER), *flags, *includes, source, "-o", library], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    spec = importlib.util.spec_from_file_location("math_bindings", library)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def differences(function: Callable[[Any], Sequence[float]], at: Sequence[float], step: float = 1e-6) -> np.ndarray:
    """Jacobian (results, arguments) of a function of a list of numbers, by central differences."""
    columns = []
    for i in range(len(at)):
        above, below = list(at), list(at)
        above[i] += step
        below[i] -= step
        columns.append((np.array(function(above)) - np.array(function(below))) / (2 * step))
    return np.stack(columns, axis=1)


# ------------------------------------------------------------------------------------------------ value.h


def test_exp_below_88(either: ModuleType) -> None:
    x = -np.concatenate([np.linspace(0, 3, 1001), np.geomspace(1e-300, 707, 1001)])
    np.testing.assert_allclose(either.exp_below_88(x), np.exp(x), rtol=4e-16)
    near = -np.concatenate([np.linspace(0, 3, 1001), np.geomspace(1e-30, 20, 1001)]).astype(np.float32)
    far = -np.linspace(20, 86, 1001, dtype=np.float32)
    for x, tolerance in ((near, 2.2e-7), (far, 4.5e-7)):
        exact = np.exp(x.astype(np.float64))
        np.testing.assert_allclose(either.exp_below_88_float(x), exact, rtol=tolerance)


def test_exp_below_88_above_zero(either: ModuleType) -> None:
    """What the softmax without a subtraction takes."""
    x = np.linspace(0, 88, 1001)
    np.testing.assert_allclose(either.exp_below_88(x), np.exp(x), rtol=4e-16)
    x = x.astype(np.float32)
    np.testing.assert_allclose(either.exp_below_88_float(x), np.exp(x.astype(np.float64)), rtol=4.5e-7)


def test_exp_below_88_at_its_ends(either: ModuleType) -> None:
    assert either.exp_below_88(0.0) == 1
    assert either.exp_below_88(-0.0) == 1
    assert either.exp_below_88(-709.0) == 0
    assert either.exp_below_88(-math.inf) == 0
    assert either.exp_below_88_float(-88.0) == 0
    assert either.exp_below_88_float(-math.inf) == 0
    assert either.exp_below_88_float(-1e30) == 0
    assert math.isnan(either.exp_below_88(math.nan))
    assert math.isnan(either.exp_below_88_float(math.nan))


def test_all_lanes(either: ModuleType) -> None:
    assert either.all_of_eight([-1] * 8)
    for lane in range(8):
        assert not either.all_of_eight([0 if i == lane else -1 for i in range(8)])


def test_vectors_compute_what_single_numbers_do(either: ModuleType) -> None:
    eighths = np.arange(8) * math.log(2) / 8  # of an octave: every entry of a table of them
    for x in ([0, -0.3, -1, -17.5, -86, -88, -math.inf, math.nan], eighths):
        x = np.array(x, dtype=np.float32)
        np.testing.assert_array_equal(np.float32(either.exp_below_88_eight(x)), either.exp_below_88_float(x))
    x = np.array([0, -0.3, 0.3, -1, 1, 2.999, -2.001, 1e6], dtype=np.float32)
    np.testing.assert_array_equal(np.float32(either.floor_eight(x)), np.floor(x))
    np.testing.assert_array_equal(np.float32(either.absolute_eight(x)), np.abs(x))
    np.testing.assert_array_equal(np.float32(either.square_root_eight(np.abs(x))), np.sqrt(np.abs(x)))


def test_bounds_take_the_place_of_nan(m: ModuleType) -> None:
    assert m.at_least(math.nan, 2.0) == m.at_most(math.nan, 2.0) == 2.0
    assert (m.at_least(1.0, 2.0), m.at_least(3.0, 2.0)) == (2.0, 3.0)
    assert (m.at_most(1.0, 2.0), m.at_most(3.0, 2.0)) == (1.0, 2.0)
    assert (m.larger(1.0, 2.0), m.larger(3.0, 2.0)) == (2.0, 3.0)
    assert m.larger(math.nan, 2.0) == 2.0
    assert math.isnan(m.larger(2.0, math.nan))


# --------------------------------------------------------------------------------------------- bilinear.h


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [1, 2, 7, 512])
def test_pixel_coordinates(m: ModuleType, size: int, align_corners: bool) -> None:
    expected = reference.pixel_coordinates(size, align_corners, torch.zeros(0).double()).tolist()
    start, step = m.normalized_start(size, align_corners), m.normalized_step(size, align_corners)
    assert [start + step * j for j in range(size)] == pytest.approx(expected, abs=1e-14)
    assert [m.unnormalize(z, size, align_corners) for z in expected] == pytest.approx(range(size), abs=1e-10)
    slope = m.unnormalize(0.75, size, align_corners) - m.unnormalize(-0.25, size, align_corners)
    assert m.pixels_per_unit(size, align_corners) == pytest.approx(slope)


def hat(t: float, pixel: int) -> float:
    """Weight of a pixel in a sample at t."""
    return max(1 - abs(t - pixel), 0.0)


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("border", [False, True])
def test_axis(m: ModuleType, size: int, border: bool) -> None:
    """Weights are those of the hat function on the pixels inside; slopes are their differences."""
    for t in [j + f for j in range(-3, size + 3) for f in (0.0, 0.25, 0.8)] + [*FAR, math.nan]:
        a = m.axis(t, size, border)
        assert 0 <= a.low <= size - 1
        assert 0 <= a.high <= size - 1
        clamped = min(max(0.0 if math.isnan(t) else t, 0), size - 1) if border else t
        weights = np.zeros(size)
        weights[int(a.low)] += a.low_weight
        weights[int(a.high)] += a.high_weight
        expected = [0.0 if math.isnan(clamped) else hat(clamped, pixel) for pixel in range(size)]
        np.testing.assert_allclose(weights, expected, atol=1e-14)
        if not math.isfinite(t) or t == math.floor(t):
            continue  # at a pixel the hat has a kink

        def weights_at(arguments: Sequence[float], size: int = size) -> list[float]:
            b = m.axis(arguments[0], size, border)
            return [b.low_weight, b.high_weight]

        slopes = differences(weights_at, [t])[:, 0]
        np.testing.assert_allclose([a.low_slope, a.high_slope], slopes, atol=1e-8)


def test_axis_does_not_move_where_the_frame_ends(m: ModuleType) -> None:
    """Like torch's grid_sample: clamped at the outermost pixels with border, out of reach a pixel beyond without."""
    for t, border, moves in [(0.0, True, False), (4.0, True, False), (0.1, True, True), (3.9, True, True)]:
        assert (m.axis(t, 5, border).high_slope != 0) == moves
    for t, moves in [(-1.0, False), (5.0, False), (-0.9, True), (4.9, True)]:
        a = m.axis(t, 5, False)
        assert ((a.low_slope, a.high_slope) != (0, 0)) == moves


@pytest.mark.parametrize("border", [False, True])
@pytest.mark.parametrize("t", [*FAR, math.nan])
def test_axis_far_away_does_not_move(m: ModuleType, t: float, border: bool) -> None:
    a = m.axis(t, 5, border)
    assert (a.low_slope, a.high_slope) == (0, 0)
    assert a.low_weight + a.high_weight == (1 if border else 0)


# -------------------------------------------------------------------------------------- upsample_motion.h


def upsampled(size: int, ratio: int) -> np.ndarray:
    """Matrix (fine, coarse) of the progressive steps of the reference."""
    fine = torch.eye(size, dtype=torch.float64)[:, None, :, None]  # one image (size, 1) per coarse pixel
    for _ in range(int(math.log2(ratio))):
        fine = reference.upsample_2x(fine)
    return fine[:, 0, :, 0].T.numpy()


@pytest.mark.parametrize("ratio", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_upsampling_in_closed_form(m: ModuleType, size: int, ratio: int) -> None:
    matrix = upsampled(size, ratio)
    weights = [[m.upsample_weight(ratio, size, p, x) for p in range(size)] for x in range(size * ratio)]
    np.testing.assert_allclose(weights, matrix, atol=1e-15)
    values = np.random.default_rng(0).normal(size=size)
    for x, expected in enumerate(matrix @ values):
        p = x // ratio
        neighbours = (values[max(p - 1, 0)], values[p], values[min(p + 1, size - 1)])
        assert m.upsample(ratio, x % ratio, *neighbours) == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("ratio", [1, 2, 4])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_upsampling_is_folded_phase_by_phase(m: ModuleType, size: int, ratio: int) -> None:
    """What a coarse pixel weighs in the blocks of fine pixels before, of and after it."""
    for p, phase in np.ndindex(size, ratio):
        blocks = [block for block in (p - 1, p, p + 1) if 0 <= block < size]
        expected = {block: m.upsample_weight(ratio, size, p, block * ratio + phase) for block in blocks}
        folded = dict(zip((p - 1, p, p + 1), m.fold_taps(ratio, phase, p, size), strict=True))
        assert folded == pytest.approx({p - 1: 0, p + 1: 0} | expected, abs=1e-15)


@pytest.mark.parametrize("ratio", [1, 2, 4, 8])
def test_taps_of_weight_zero_are_not_read(m: ModuleType, ratio: int) -> None:
    for phase in range(ratio):
        before, here, after = m.upsample_taps(ratio, phase)
        assert before + here + after == pytest.approx(1)
        assert math.isfinite(m.upsample(ratio, phase, math.inf, 1.0, 1.0)) == (before == 0)
        assert math.isfinite(m.upsample(ratio, phase, 1.0, 1.0, math.inf)) == (after == 0)


# ---------------------------------------------------------------------- anchor_affine.h, affine_mixture.h

ANCHOR = [0.1, -0.2, 0.3, 0.4, 1.1, 0.2, -0.3, 0.9, 0.8, -0.1, 0.25, 1.2]
COLLAPSED = [*ANCHOR[:8], 1e-4, 0.0, 0.2, 1e-3]


@pytest.mark.parametrize("det", [1.0, 1e-6, 9e-7, 0.0, -0.0, -9e-7, -1e-6, -3.0])
def test_kept_determinant(m: ModuleType, det: float) -> None:
    expected = det if abs(det) >= 1e-6 else (-1e-6 if det < 0 else 1e-6)
    assert m.kept_determinant(det) == expected


@pytest.mark.parametrize("row", [ANCHOR, COLLAPSED], ids=["regular", "collapsed"])
def test_anchor_affine(m: ModuleType, row: list[float]) -> None:
    parts = [torch.tensor(row, dtype=torch.float64)[a:b] for a, b in ((0, 2), (2, 4), (4, 8), (8, 12))]
    matrix, offset = reference.anchor_affines(
        parts[0].view(1, 1, 2), parts[1].view(1, 1, 2), parts[2].view(1, 1, 2, 2), parts[3].view(1, 1, 2, 2)
    )
    assert m.anchor_affine(row) == pytest.approx([*matrix.flatten().tolist(), *offset.flatten().tolist()], rel=1e-12)


@pytest.mark.parametrize("row", [ANCHOR, COLLAPSED], ids=["regular", "collapsed"])
def test_anchor_affine_vjp(m: ModuleType, row: list[float]) -> None:
    jacobian = differences(m.anchor_affine, row, step=1e-7)
    for i, direction in enumerate(np.eye(6)):
        got = m.anchor_affine_vjp(row, direction)
        np.testing.assert_allclose(got, jacobian[i], rtol=1e-6, atol=1e-6 * max(1, np.abs(jacobian).max()))


def test_row_motion(m: ModuleType) -> None:
    affine, x, y = m.anchor_affine(ANCHOR), 0.3, -0.7
    x_slope, x_offset, y_slope, y_offset = m.row_motion(affine, y)
    assert x_slope * x + x_offset == pytest.approx(affine[0] * x + affine[1] * y + affine[4])
    assert y_slope * x + y_offset == pytest.approx(affine[2] * x + affine[3] * y + affine[5])


MOTIONS = [[1.1, 0.2, -0.1, 0.4], [0.7, -0.3, 0.2, 0.1], [0.9, 0.5, 0.0, -0.6]]
LOGITS = [0.3, -0.2, 1.1, -0.9]


@pytest.mark.parametrize("threshold", [None, 0.0, 0.12, 0.2])
def test_compose(m: ModuleType, threshold: float | None) -> None:
    x, y = 0.25, -0.5
    compose, vjp = (
        (m.compose, m.compose_vjp) if threshold is None else (m.compose_thresholded, m.compose_vjp_thresholded)
    )
    cut = threshold or 0.0
    weights = np.exp(LOGITS) / np.exp(LOGITS).sum()
    kept = np.maximum(weights - cut, 0)
    points = np.array([[x, y], *([a * x + b, c * x + d] for a, b, c, d in MOTIONS)])
    np.testing.assert_allclose(compose(LOGITS, MOTIONS, x, y, cut), kept @ points / kept.sum(), rtol=1e-14)
    assert (kept == 0).sum() == {None: 0, 0.0: 0, 0.12: 1, 0.2: 2}[threshold], "the threshold cuts nothing"

    jacobian = differences(lambda logits: compose(logits, MOTIONS, x, y, cut), LOGITS)
    for gx, gy in ((1.0, 0.0), (0.0, 1.0), (0.3, -2.0)):
        by_logit, by_motion = vjp(LOGITS, MOTIONS, x, y, cut, gx, gy)
        np.testing.assert_allclose(by_logit, np.array([gx, gy]) @ jacobian, atol=1e-9)
        np.testing.assert_allclose(by_motion, kept / kept.sum(), atol=1e-15)


@pytest.mark.parametrize("shift", [0.0, 39.0, -39.0, 45.0, -45.0, 1e3, -1e3, 1e6])
def test_compose_logits(m: ModuleType, shift: float) -> None:
    """Two pixels in one pass, however far from zero the logits of one of them lie, or one of its logits."""
    x, step, y = 0.25, 0.5, -0.5
    logits = np.array([LOGITS, LOGITS[::-1]])
    logits[1] += shift
    logits[0, 1] = -math.inf if shift else -100.0
    weights = np.exp(logits - logits.max(1, keepdims=True))
    weights /= weights.sum(1, keepdims=True)
    fields, kept = m.compose_two(logits, MOTIONS, x, step, y)
    for i, at in enumerate((x, x + step)):
        points = np.array([[at, y], *([a * at + b, c * at + d] for a, b, c, d in MOTIONS)])
        np.testing.assert_allclose(fields[2 * i : 2 * i + 2], weights[i] @ points, rtol=1e-12)
        np.testing.assert_allclose(np.array(kept[i]) / sum(kept[i]), weights[i], rtol=1e-12, atol=1e-30)


@pytest.mark.parametrize("logits", [[math.nan, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, math.nan], [-math.inf] * 4])
def test_no_softmax_is_no_number(m: ModuleType, logits: list[float]) -> None:
    fields, _ = m.compose_two([LOGITS, logits], MOTIONS, 0.25, 0.5, -0.5)
    assert [math.isnan(value) for value in fields] == [False, False, True, True]


# -------------------------------------------------------------------------------------- confidence_warp.h


@pytest.mark.parametrize("border", [False, True])
@pytest.mark.parametrize(("x", "y"), [(0.3, 0.6), (1.7, 0.2), (-0.4, 1.2), (2.3, -0.7), (-1.5, 0.5), (9.0, 9.0)])
def test_gated_sample_and_its_gradient(m: ModuleType, x: float, y: float, border: bool) -> None:
    """out = M sum_k w_k phi(k), with the pixels as the dots of one channel, by normalised coordinates."""
    width, height, confidence = 3, 2, 0.7
    image = np.array([[1.0, -2.0, 0.5], [3.0, 0.25, -1.0]])
    x_scale, y_scale = m.pixels_per_unit(width, False), m.pixels_per_unit(height, False)

    def corners(arguments: Sequence[float]) -> tuple[Any, Any, list[float]]:
        ax, ay = (
            m.axis(m.unnormalize(arguments[0], width, False), width, border),
            m.axis(m.unnormalize(arguments[1], height, False), height, border),
        )
        pixels = [image[int(j), int(i)] for j, i in itertools.product((ay.low, ay.high), (ax.low, ax.high))]
        return ax, ay, pixels

    def out(arguments: Sequence[float]) -> list[float]:
        ax, ay, pixels = corners(arguments)
        return [arguments[2] * float(np.dot(m.corner_weights(ax, ay), pixels))]

    at = [(2 * x + 1) / width - 1, (2 * y + 1) / height - 1, confidence]
    cx, cy = (min(max(x, 0), width - 1), min(max(y, 0), height - 1)) if border else (x, y)
    hats = np.array([[hat(cy, j) * hat(cx, i) for i in range(width)] for j in range(height)])
    assert out(at)[0] == pytest.approx(confidence * (hats * image).sum())

    ax, ay, pixels = corners(at)
    assert m.reads_image(ax, ay) == (hats.sum() > 0)
    got = m.motion_gradient(ax, ay, confidence, pixels, x_scale, y_scale)
    np.testing.assert_allclose(got, differences(out, at)[0], atol=1e-8)


# --------------------------------------------------------------------------------- masked_backwarp_loss.h

PENALTIES: dict[str, Callable[[float], float]] = {
    "l1": abs,
    "l2": lambda r: r * r,
    "charbonnier": lambda r: math.sqrt(r * r + 1e-6),
}


@pytest.mark.parametrize("norm", PENALTIES)
@pytest.mark.parametrize("residual", [-2.0, -1e-3, 1e-3, 0.4, 100.0])
def test_penalty(m: ModuleType, norm: str, residual: float) -> None:
    value, slope = (getattr(m, f"{name}_{norm}") for name in ("penalty", "penalty_slope"))
    assert value(residual) == pytest.approx(PENALTIES[norm](residual), rel=1e-14)
    expected = differences(lambda r: [value(r[0])], [residual], step=1e-7)[0, 0]
    assert slope(residual) == pytest.approx(expected, rel=1e-5)
    assert slope(0.0) == 0
    assert math.isnan(value(math.nan))
    assert math.isnan(slope(math.nan))


@pytest.mark.parametrize("norm", PENALTIES)
def test_residual_gradient(m: ModuleType, norm: str) -> None:
    difference, mask, grad = 0.7, 0.4, -1.3
    jacobian = differences(lambda a: [getattr(m, f"penalty_{norm}")(a[0] * a[1])], [difference, mask])[0]
    got = getattr(m, f"residual_gradient_{norm}")(difference, mask, grad)
    assert got == pytest.approx((grad * jacobian).tolist(), abs=1e-8)


@pytest.mark.parametrize("border", [False, True])
@pytest.mark.parametrize("t", [-7.0, -1.0, -0.6, 0.0, 0.3, 2.7, 4.0, 4.3, 5.0, 9.0, *FAR, math.nan])
def test_position(m: ModuleType, t: float, border: bool) -> None:
    """The fraction's hat weights are the image's, with a pixel of zeros around it; nothing farther is read."""
    base, fraction = m.position(t, 5, border)
    assert base == int(base)
    assert (0 if border else -1) <= base <= 4
    assert 0 <= fraction <= 1
    weights = np.zeros(7)  # pixels -1 .. 5
    weights[int(base) + 1] += 1 - fraction
    weights[int(base) + 2] += fraction
    clamped = min(max(0.0 if math.isnan(t) else t, 0), 4) if border else t
    np.testing.assert_allclose(weights[1:6], [0 if math.isnan(clamped) else hat(clamped, j) for j in range(5)])


@pytest.mark.parametrize("t", [-1.0, -0.5, 0.0, 0.5, 4.0, 4.5, 5.0, *FAR, math.nan])
def test_inside_frame(m: ModuleType, t: float) -> None:
    assert m.inside_frame(t, 5, False) == (-1 < t < 5)
    assert m.inside_frame(t, 5, True) == (0 <= t <= 4)
    assert m.moves_within(t, 5) == (0 < t < 4)


def test_interpolation_and_its_slopes(m: ModuleType) -> None:
    pixels, at = [1.0, -2.0, 3.0, 0.25], [0.3, 0.8]
    weights = [0.7 * 0.2, 0.3 * 0.2, 0.7 * 0.8, 0.3 * 0.8]
    value, slope_x, slope_y = m.interpolate(pixels, *at)
    assert value == pytest.approx(np.dot(weights, pixels))
    slopes = differences(lambda a: [m.interpolate(pixels, *a)[0]], at)[0]
    assert [slope_x, slope_y] == pytest.approx(slopes.tolist(), abs=1e-8)
    assert m.share(2.0, 0.3) == pytest.approx([1.4, 0.6])


# ------------------------------------------------------------------- flow_confidence.h, soft_argmax.h


def test_flows_cancel(m: ModuleType) -> None:
    w, back = [1.0, -2.0], [-0.8, 1.5]
    mismatch, bound = 0.2**2 + 0.5**2, 0.1 * (1 + 4 + 0.64 + 2.25)
    assert m.flows_cancel(w, back, 0.1, mismatch - bound + 1e-9)
    assert not m.flows_cancel(w, back, 0.1, mismatch - bound - 1e-9)
    assert m.flows_cancel([0.0, 0.0], [0.0, 0.0], 0.0, 0.0)
    for strange in (math.nan, math.inf, -math.inf):
        assert not m.flows_cancel(w, [strange, 0.0], 0.1, 1e9)
        assert not m.flows_cancel([0.0, strange], back, 0.1, 1e9)


def test_flow_is_smooth(m: ModuleType) -> None:
    w, right, below = [1.0, -2.0], [1.5, -2.0], [1.0, -1.0]
    gradient, bound = 0.25 + 1.0, 0.01 * 5
    assert m.flow_is_smooth(w, right, below, 0.01, gradient - bound + 1e-9)
    assert not m.flow_is_smooth(w, right, below, 0.01, gradient - bound - 1e-9)
    assert not m.flow_is_smooth(w, [math.nan, 0.0], below, 0.01, 1e9)


def test_heat_weight(m: ModuleType) -> None:
    assert m.heat_weight(0.3, 1.1, 10.0) == pytest.approx(math.exp(-8), rel=1e-14)
    assert m.heat_reference(1.5) == 1.5
    assert m.heat_reference(-math.inf) == 0
    assert m.heat_weight(-math.inf, m.heat_reference(-math.inf), 10.0) == 0


def test_heat_logit_gradient(m: ModuleType) -> None:
    """Of a plane of four pixels, against differences of the expectations."""
    logits, temperature = [0.1, -0.2, 0.3, 0.05], 0.5
    pixels = [(x, y) for y in (-0.5, 0.5) for x in (-0.5, 0.5)]
    maps = np.random.default_rng(0).normal(size=(4, 4))
    values = np.concatenate([np.array(pixels), maps], axis=1)  # (pixels, x y and the matrix)

    def heat(at: Sequence[float]) -> np.ndarray:
        weights = np.array([m.heat_weight(logit, max(at), 1 / temperature) for logit in at])
        return weights / weights.sum()

    jacobian = differences(lambda at: heat(at) @ values, logits)
    results = heat(logits) @ values
    for grads in np.eye(6):
        got = [
            m.heat_logit_gradient(results, grads, h, *pixel, row, 1 / temperature)
            for h, pixel, row in zip(heat(logits), pixels, maps, strict=True)
        ]
        np.testing.assert_allclose(got, grads @ jacobian, atol=1e-9)


# ------------------------------------------------------------------- anchor_features.h

MOTION = [0.9, 0.2, -0.1, 1.1, 0.05, -0.3]  # xx, xy, yx, yy, x, y
CONVENTIONS = list(itertools.product([False, True], repeat=2))


def test_gaussian_factor(m: ModuleType) -> None:
    assert m.gaussian_factor(0.3, 0.1, 0.01) == pytest.approx(math.exp(-0.04 / 0.02), rel=1e-14)


def test_heat_difference(m: ModuleType) -> None:
    points, x, y, variance = [0.1, -0.2, 0.3, 0.15], 0.25, 0.05, 0.02
    factors = m.gaussian_factor
    source = factors(x, points[0], variance) * factors(y, points[1], variance)
    driving = factors(x, points[2], variance) * factors(y, points[3], variance)
    assert m.heat_difference(x, y, points, variance) == pytest.approx(driving - source, rel=1e-14)
    jacobian = differences(lambda p: [m.heat_difference(x, y, p, variance)], points)
    np.testing.assert_allclose(m.heat_pull(0.7, x, y, points, variance), 0.7 * jacobian[0], atol=1e-8)


@pytest.mark.parametrize("conventions", CONVENTIONS)
def test_pixel_motion(m: ModuleType, conventions: tuple[bool, bool]) -> None:
    """From output pixel to coordinate, moved, to source pixel: the three steps of the reference in one map."""
    width, height, column, row = 7, 5, 3, 4
    xx, xy, yx, yy, x0, y0 = m.pixel_motion(MOTION, width, height, conventions)
    samples, makes = conventions
    like = torch.zeros((), dtype=torch.float64)
    zx = float(reference.pixel_coordinates(width, makes, like)[column])
    zy = float(reference.pixel_coordinates(height, makes, like)[row])
    moved_x = MOTION[0] * zx + MOTION[1] * zy + MOTION[4]
    moved_y = MOTION[2] * zx + MOTION[3] * zy + MOTION[5]
    assert xx * column + xy * row + x0 == pytest.approx(m.unnormalize(moved_x, width, samples), abs=1e-12)
    assert yx * column + yy * row + y0 == pytest.approx(m.unnormalize(moved_y, height, samples), abs=1e-12)


@pytest.mark.parametrize("conventions", CONVENTIONS)
def test_pixel_motion_vjp(m: ModuleType, conventions: tuple[bool, bool]) -> None:
    grad = np.array([0.3, -1.0, 0.7, 0.2, 1.5, -0.4])
    jacobian = differences(lambda motion: m.pixel_motion(motion, 7, 5, conventions), MOTION)
    np.testing.assert_allclose(m.pixel_motion_vjp(grad, 7, 5, conventions), grad @ jacobian, atol=1e-8)


@pytest.mark.parametrize("conventions", CONVENTIONS)
def test_pixel_stillness(m: ModuleType, conventions: tuple[bool, bool]) -> None:
    still = m.pixel_stillness(7, 5, conventions)
    np.testing.assert_allclose(still, m.pixel_motion([1, 0, 0, 1, 0, 0], 7, 5, conventions), atol=1e-12)
    assert conventions[0] != conventions[1] or list(still) == [1, 0, 0, 1, 0, 0]


@pytest.mark.parametrize(("x", "y"), [(2.3, 1.6), (-0.4, 1.5), (6.2, 4.7), (9.0, 1.0)])
def test_blend(m: ModuleType, x: float, y: float) -> None:
    """The bilinear formula, a pixel outside counting zero; its slopes are its differences."""
    pixels = [1.0, -2.0, 0.5, 3.0]

    def hat(t: float, size: int) -> tuple[float, float]:
        low = math.floor(t)
        inside = [0 <= i < size for i in (low, low + 1)]
        return (1 - (t - low)) * inside[0], (t - low) * inside[1]

    (west, east), (north, south) = hat(x, 7), hat(y, 5)
    expected = north * (west * pixels[0] + east * pixels[1]) + south * (west * pixels[2] + east * pixels[3])
    value, *slopes = m.blend(pixels, x, y, 7, 5)
    assert value == pytest.approx(expected, abs=1e-14)
    np.testing.assert_allclose(slopes, differences(lambda at: m.blend(pixels, *at, 7, 5)[:1], [x, y])[0], atol=1e-8)
