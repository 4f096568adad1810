"""Train a model on one video from Python, as `internet train one-video` does.

    python examples/train_on_one_video.py me.mp4 runs/me [KEY=VALUE ...]

Needs the extras internet-ops[train,pose] and `pip install --no-deps mediapipe==0.10.21`, which finds the body.
"""

import sys

from internet.training.config import Config
from internet.training.distributed import World
from internet.training.trainer import resume_or_create


def main() -> None:
    """Train to the end of the recipe, or go on with a run that was stopped."""
    video, out, *settings = sys.argv[1:]
    config = Config.load("one-video", [f"data.path={video}", f"validation.path={video}", f"out={out}", *settings])
    trainer = resume_or_create(config, World.join(config.run.device))
    trainer.run()
    print(f"{out}: {trainer.step} steps;", ", ".join(f"{name} {value:.3g}" for name, value in trainer.metrics.items()))


if __name__ == "__main__":
    main()
