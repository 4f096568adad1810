"""Pictures of motion: the meaning of the colours, and the positions of the dots."""

import io

import numpy as np
import pytest

from internet.visualization import draw as v


def one_vector(u: float, w: float, maximum: float | None = 1.0) -> tuple[int, ...]:
    return tuple(v.flow_colours(np.array([u, w], float).reshape(2, 1, 1), maximum)[0, 0].tolist())


def test_flow_colours_say_direction_and_length():
    assert one_vector(0, 0) == (255, 255, 255)
    assert one_vector(1, 0) == (255, 0, 0)
    red, green, blue = one_vector(0.5, 0)
    assert (red, green == blue, 120 < green < 135) == (255, True, True)
    quarters = [one_vector(*direction) for direction in ((1, 0), (0, 1), (-1, 0), (0, -1))]
    assert len(set(quarters)) == 4
    assert quarters[2] == (0, 255, 255)  # the opposite of red


def test_flow_beyond_the_maximum_is_darker_and_broken_flow_is_black():
    assert max(one_vector(5, 0)) < 255
    assert one_vector(np.nan, 0) == (0, 0, 0)
    assert one_vector(0, np.inf) == (0, 0, 0)


def test_flow_colours_choose_their_own_maximum():
    flow = np.zeros((2, 10, 10))
    flow[0, :, 5:] = 7.0
    image = v.flow_colours(flow)
    assert tuple(image[0, 0]) == (255, 255, 255)
    assert tuple(image[0, 9]) == (255, 0, 0)
    assert v.flow_colours(np.zeros((2, 0, 4))).shape == (0, 4, 3)


def test_the_wheel_is_the_key():
    wheel = v.colour_wheel(101)
    assert tuple(wheel[50, 50]) == (255, 255, 255)
    assert np.abs(wheel[50, 99].astype(int) - (255, 0, 0)).max() < 12  # to the right: red
    assert tuple(wheel[0, 0]) == (255, 255, 255)
    image = np.zeros((50, 80, 3), np.uint8)
    keyed = v.with_wheel(image)
    assert not image.any()
    assert np.array_equal(keyed[-10:, -10:], v.colour_wheel(10))
    assert not keyed[:40].any()


@pytest.mark.parametrize("corner", [np.s_[-10:, -10:], np.s_[-10:, :10], np.s_[:10, -10:], np.s_[:10, :10]])
def test_the_wheel_hides_no_motion(corner):
    image = np.full((50, 80, 3), 200, np.uint8)
    image[corner] = 255
    keyed = v.with_wheel(image)
    assert np.array_equal(keyed[corner], v.colour_wheel(10))
    keyed[corner] = 255
    assert np.array_equal(keyed, image)


@pytest.mark.parametrize("count", [0, 1, 2, 10, 20])
def test_a_palette_has_different_colours(count):
    colours = v.palette(count).astype(int)
    assert colours.shape == (count, 3)
    distance = np.abs(colours[:, None] - colours).sum(-1) + 1000 * np.eye(count, dtype=int)
    assert count < 2 or distance.min() > 40
    assert (colours.max(1) > 200).all()  # clearly different from the black background


def test_regions_are_coloured_by_anchor_and_the_background_is_black():
    logits = np.full((3, 2, 3), -5.0)
    logits[0, 0] = logits[1, 1, :2] = logits[2, 1, 2] = 5.0
    image = v.motion_regions(logits)
    first, second = v.palette(2)
    assert not image[0].any()
    assert np.array_equal(image[1, 0], first)
    assert np.array_equal(image[1, 2], second)
    third = np.log([[[2.0, 2.0]], [[1.0, 1.0]]])  # a share of a third moves
    assert v.motion_regions(third, share=0.3).any()
    assert not v.motion_regions(third, share=0.4).any()


def test_an_anchor_is_drawn_where_it_is():
    image = np.full((64, 128, 3), 10, np.uint8)
    pixel = (30, 100)  # row, column
    point = np.array([[(2 * pixel[1] + 1) / 128 - 1, (2 * pixel[0] + 1) / 64 - 1]])
    drawn = v.draw_anchors(image, point, np.array([[200, 50, 0]], np.uint8), radius=4)
    assert tuple(drawn[pixel]) == (200, 50, 0)
    changed = np.argwhere((drawn != image).any(-1))
    assert np.allclose(changed.mean(0), pixel)  # around that pixel
    assert np.ptp(changed[:, 0]) <= 12
    assert (image == 10).all()


def test_anchors_outside_or_broken_are_cut_off():
    image = np.zeros((16, 16, 3), np.uint8)
    assert not v.draw_anchors(image, np.array([[3.0, 3.0], [np.nan, 0.0], [np.inf, 0.0]])).any()
    assert v.draw_anchors(image, np.array([[-1.0, -1.0]])).any()


def test_maps():
    grey = v.grey_map(np.array([[0.0, 0.5, 1.0, 2.0, np.nan]]))
    assert grey[0, :, 0].tolist() == [0, 128, 255, 255, 255]
    assert grey[0, 4].tolist() == [255, 0, 0]
    image = np.full((1, 2, 3), 100, np.uint8)
    assert v.mask_overlay(image, np.array([[1.0, 0.0]]), (0, 0, 200), 0.5).tolist() == [[[100] * 3, [50, 50, 150]]]
    assert v.error_map(image, image + 30, gain=2).tolist() == [[[60] * 3, [60] * 3]]
    assert v.error_map(image, np.zeros_like(image), gain=9).max() == 255


def test_enlarging_repeats_pixels():
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    assert np.array_equal(v.enlarge(image, (4, 6)), image.repeat(2, 0).repeat(2, 1))
    assert v.enlarge(image, (5, 7)).shape == (5, 7, 3)


def test_the_figure_has_every_panel():
    panels = [(f"panel {index}", np.full((8, 8, 3), 20 * index, np.uint8)) for index in range(7)]
    sheet = v.figure(panels, columns=4, title="a title")
    assert [axis.get_title() for axis in sheet.axes] == [name for name, _ in panels] + [""]
    stream = io.BytesIO()
    sheet.savefig(stream, format="png", dpi=40)
    assert stream.getvalue().startswith(b"\x89PNG")


def test_shrinking_averages_blocks_of_pixels():
    image = np.zeros((9, 8, 3), np.uint8)
    image[:2, :2] = [[[10, 0, 0], [20, 0, 0]], [[30, 0, 0], [40, 0, 0]]]
    small = v.shrink(image, 5)
    assert small.shape == (4, 4, 3)
    assert small[0, 0].tolist() == [25, 0, 0]
    assert not small[1:].any()
    assert np.array_equal(v.shrink(image, 9), image)
