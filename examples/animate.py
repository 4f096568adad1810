"""Let a picture move as a video does, frame by frame, from Python.

    python examples/animate.py figures source.png driving.mp4 out.mp4

The first argument is weights that ship with the library, a checkpoint, or the folder of a training run.
Needs the extras internet-ops[video,flow,weights].
"""

import sys
from collections.abc import Iterator

import numpy as np

from internet.data.image import square, to_array, to_tensor
from internet.data.streaming import stream_frames
from internet.data.video_writer import write_video
from internet.inference import read_source
from internet.model import load_model


def main() -> None:
    """Animate; memory does not grow with the length of the video."""
    checkpoint, source, driving, out = sys.argv[1:5]
    model = load_model(checkpoint)
    size = model.config.size
    with stream_frames(driving) as frames:

        def animated() -> Iterator[np.ndarray]:
            poses = (square(to_tensor(frame), size) for _, frame in frames)
            for output in model.animate(square(to_tensor(read_source(source)), size), poses):
                yield to_array(output)

        write_video(out, animated(), fps=frames.fps)
    print(out)


if __name__ == "__main__":
    main()
