"""Relative motion: how the driving anchors have moved since the first frame, applied to the source's."""

from torch import Tensor

from internet.geometry import inverse
from internet.model.anchors import Anchors
from internet.model.blocks import without_autocast

Point = tuple[float, float]


class RelativeMotion:
    """First-order-motion's transfer between people of different proportions who start in about the same pose.

    kp = kp_source + scale (kp_driving - kp_first),  jac = jac_driving jac_first^-1 jac_source.

    Args:
        source: the source's anchors.
        first: those of the first driving frame.
        adapt_scale: scale the movement by the ratio of the spreads of the anchors, source to driving; otherwise by 1.
    """

    def __init__(self, source: Anchors, first: Anchors, adapt_scale: bool = True) -> None:
        self.source, self.first = source, first
        self.scale = relative_size(source.kp, first.kp) if adapt_scale else source.kp.new_ones(())

    def __call__(self, driving: Anchors) -> Anchors:
        """Anchors of a driving frame -> the anchors that the source is moved to."""
        with without_autocast(driving.kp):
            return Anchors(
                self.source.kp + self.scale * (driving.kp - self.first.kp),
                driving.jac @ inverse(self.first.jac) @ self.source.jac,
            )


def relative_size(ours: Tensor, theirs: Tensor) -> Tensor:
    """The ratio of the sizes of two sets of points (B, K, 2), the square root of their areas: (B, 1, 1)."""
    areas = [[hull_area([(x, y) for x, y in points]) for points in each.tolist()] for each in (ours, theirs)]
    our_areas, their_areas = ours.new_tensor(areas)
    return (our_areas / their_areas.clamp(min=1e-6)).sqrt()[:, None, None]


def hull_area(points: list[Point]) -> float:
    """The area of the convex hull, by Andrew's monotone chain."""
    ordered = sorted(points)
    hull = [*_side(ordered), *_side(ordered[::-1])]
    following = hull[1:] + hull[:1]
    return abs(sum(x * v - y * u for (x, y), (u, v) in zip(hull, following, strict=True))) / 2


def _side(ordered: list[Point]) -> list[Point]:
    """One side of the hull, along which every turn is to the left; its last point begins the other side."""
    side: list[Point] = []
    for point in ordered:
        while len(side) > 1 and _turn(side[-2], side[-1], point) <= 0:
            side.pop()
        side.append(point)
    return side[:-1]


def _turn(a: Point, b: Point, c: Point) -> float:
    """Twice the signed area of a triangle: positive for a turn to the left."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
