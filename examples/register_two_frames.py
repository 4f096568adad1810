"""Explain one picture by another: fit ten local motions to two frames, without a network.

    python examples/register_two_frames.py                         # two frames of a drawn walk
    python examples/register_two_frames.py source.png driving.png  # two pictures of one size

Needs the extras internet-ops[flow].
"""

import sys
from pathlib import Path

from internet.data.image import read_image, square, to_array, to_tensor
from internet.data.synthetic import WalkingClip
from internet.registration import register
from internet.visualization import draw

SIZE = 128


def main() -> None:
    """Fit, and write the source moved onto the driving frame."""
    if len(sys.argv) > 2:
        source, driving = (square(to_tensor(read_image(path)), SIZE) for path in sys.argv[1:3])
    else:
        clip = WalkingClip(seed=1, size=(SIZE, SIZE))
        source, driving = to_tensor(clip[20]), to_tensor(clip[25])
    found = register(source, driving, anchors=10, steps=100)
    for stage, errors in found.errors.items():
        print(f"{stage:9} difference where something moves, of 255: {errors.moving:5.1f}")
    Path("warped.png").write_bytes(draw.encode_png(to_array(found.warped)))
    print("warped.png: the source, moved onto the driving frame by", tuple(found.field.shape), "sampling positions")


if __name__ == "__main__":
    main()
