"""The sections of a training run's configuration: every setting with its default, its limits and what it means."""

import dataclasses
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from internet.data.augmentation import Augmentation
from internet.data.clips import SPLITS
from internet.data.frame_sampler import SOURCES
from internet.flow.estimators import ESTIMATORS
from internet.losses.adversarial import FORMS
from internet.losses.features import NETWORKS
from internet.losses.objective import Weights
from internet.losses.temporal import REGULARIZATIONS
from internet.training.setting import at_least, one_of, setting

SYNTHETIC = "synthetic"
OPTIMIZERS = ("radam", "adam", "adamw")
PRECISIONS = ("float32", "bfloat16")

Range = tuple[int | None, int | None]


@dataclass(frozen=True)
class Flow:
    """Optical flow between the frames of clips; drawn figures bring their true flow."""

    method: str = setting("dis", f"the optical flow estimator: {', '.join(ESTIMATORS)}")
    options: dict[str, Any] = setting({}, "its options, such as preset of dis or weights of raft")
    cache: str = setting("", "a folder that keeps the flows (empty: out/flow)", free=True)

    def __post_init__(self) -> None:
        one_of(self, "method", tuple(ESTIMATORS))


@dataclass(frozen=True)
class Synthetic:
    """Drawn figures, where data.path is 'synthetic'."""

    length: int = setting(1024, "samples of what counts as an epoch; none is ever drawn twice")
    moving_background: float = setting(0.5, "the fraction of clips whose background moves")
    frames: int = setting(60, "of each clip, at 25 a second; the figure walks out of the frame after a while")
    min_seconds: float = setting(0.4, "least time between source and driving frame, instead of data.min_seconds")

    def __post_init__(self) -> None:
        at_least(self, 1, "length", "frames")
        at_least(self, 0, "min_seconds")


@dataclass(frozen=True)
class Data:
    """What to train on."""

    path: str = setting(SYNTHETIC, "'synthetic', or a video, a folder of frames, or a folder of these")
    min_seconds: float = setting(2.0, "least time between source and driving frame; the paper's 2")
    samples_per_clip: int = setting(1, "how often an epoch shows each clip")
    frames: Range = setting((None, None), "which frames of a clip drive: [start, stop]; null: to its end")
    source: str = setting("first", "the source: the clip's 'first' frame, or a 'random' one of `frames`")
    motion: bool = setting(False, "estimate the flow from the driving frame to the source too")
    flow: Flow = dataclasses.field(default_factory=Flow)
    augmentation: Augmentation = dataclasses.field(default_factory=Augmentation)
    synthetic: Synthetic = dataclasses.field(default_factory=Synthetic)
    workers: int = setting(2, "processes that read samples, for each rank", free=True)
    memory: int = setting(256, "MiB of frames that each of them remembers: short clips are decoded once", free=True)

    def __post_init__(self) -> None:
        one_of(self, "source", SOURCES)
        at_least(self, 1, "samples_per_clip")
        at_least(self, 0, "workers", "memory", "min_seconds")


@dataclass(frozen=True)
class Validation:
    """What to measure on."""

    path: str = setting("", "held-out clips, as data.path (empty: none)", free=True)
    split: str = setting("test", "of a folder of clips; a lone video is all 'train'", free=True)
    frames: Range = setting((None, None), "as data.frames: frames of the same clip can be held out", free=True)
    samples: int = setting(16, "how many; the same every time", free=True)
    every: int = setting(500, "steps between two validations; there is one at the end in any case", free=True)

    def __post_init__(self) -> None:
        one_of(self, "split", SPLITS)
        at_least(self, 1, "samples", "every")


@dataclass(frozen=True)
class Features:
    """The pretrained network whose features are compared."""

    network: str = setting("efficientnet-lite0", f"of the perceptual and style losses: {', '.join(NETWORKS)}")
    weights: str | None = setting(None, "a file; null: where they usually are; 'random' is for tests")

    def __post_init__(self) -> None:
        one_of(self, "network", tuple(NETWORKS))


@dataclass(frozen=True)
class Loss:
    """What is minimised."""

    regularization: str = setting("intrinsic", f"the temporal loss: {', '.join(REGULARIZATIONS)}")
    adversarial: str = setting("log", f"the form of the adversarial loss: {', '.join(FORMS)}")
    weights: Weights = dataclasses.field(default_factory=Weights)
    schedule: dict[str, tuple[tuple[float, float], ...]] = setting(
        {}, "weights that change: for a name of `weights`, points [step, weight], joined by lines"
    )
    stage_one: int = setting(0, "so many steps train stage I alone, by guidance and equivariance: cheap, many a second")
    features: Features = dataclasses.field(default_factory=Features)

    def __post_init__(self) -> None:
        one_of(self, "regularization", REGULARIZATIONS)
        one_of(self, "adversarial", FORMS)
        at_least(self, 0, "stage_one")
        known = [field.name for field in dataclasses.fields(Weights)]
        for name, points in self.schedule.items():
            if name not in known:
                raise ValueError(f"schedule is of '{name}', expected one of {', '.join(known)}")
            if not points or any(after[0] <= before[0] for before, after in pairwise(points)):
                raise ValueError(f"schedule of '{name}' is {points}, expected points [step, weight], steps rising")


@dataclass(frozen=True)
class Optimizer:
    """How it is minimised."""

    name: str = setting("radam", ", ".join(OPTIMIZERS))
    lr: float = setting(2e-4, "rate of the model")
    discriminator_lr: float | None = setting(None, "rate of the discriminators (null: the same)")
    betas: tuple[float, float] = setting((0.9, 0.999), "decay of the two moments")
    milestones: tuple[int, ...] = setting((60, 90), "epochs after which the rates are multiplied by gamma")
    gamma: float = setting(0.1, "see milestones")
    clip: float = setting(1.0, "largest norm of the gradient, of either side (0: not clipped)")
    ema: float = setting(0.0, "decay of the running mean of the weights, such as 0.999 (0: none)")

    def __post_init__(self) -> None:
        one_of(self, "name", OPTIMIZERS)
        at_least(self, 0, "lr", "discriminator_lr", "gamma", "clip")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema is {self.ema}, expected 0 <= ema < 1")


@dataclass(frozen=True)
class Run:
    """How long, and on what."""

    epochs: int = setting(100, "how long", free=True)
    steps: int | None = setting(None, "stop after so many steps in all", free=True)
    minutes: float | None = setting(None, "stop after so much time, counted from each start", free=True)
    batch: int = setting(16, "samples of a step, over all ranks")
    accumulate: int = setting(1, "a rank takes its share in so many parts, which saves memory", free=True)
    precision: str = setting("float32", f"of the networks: {', '.join(PRECISIONS)} (autocast)")
    channels_last: bool = setting(True, "channels last in memory, as convolutions like it", free=True)
    compile: bool = setting(False, "torch.compile the model", free=True)
    device: str = setting("auto", "auto, cpu or cuda", free=True)
    threads: int = setting(0, "CPU threads of each rank (0: torch decides)", free=True)

    def __post_init__(self) -> None:
        one_of(self, "precision", PRECISIONS)
        one_of(self, "device", ("auto", "cpu", "cuda"))
        at_least(self, 1, "epochs", "steps", "batch", "accumulate")
        at_least(self, 0, "threads", "minutes")


@dataclass(frozen=True)
class Log:
    """What is written down on the way."""

    every: int = setting(50, "steps between two lines and points of the curves", free=True)
    pictures: int = setting(500, "steps between two pictures of training samples", free=True)

    def __post_init__(self) -> None:
        at_least(self, 1, "every", "pictures")


@dataclass(frozen=True)
class Checkpoint:
    """What is kept to go on from."""

    every: int = setting(500, "steps between two checkpoints; there is one at the end in any case", free=True)
    keep: int = setting(3, "how many are kept", free=True)

    def __post_init__(self) -> None:
        at_least(self, 1, "every", "keep")
