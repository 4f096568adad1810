"""The sections of a training run's configuration: every setting with its default, its range and what it means."""

import dataclasses
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from internet.data.augmentation import Augmentation
from internet.data.clip_search import SPLITS
from internet.data.frame_sampler import SOURCES
from internet.data.pose_augmentation import PoseAugmentation
from internet.flow.dis import PRESETS
from internet.flow.estimators import ESTIMATORS
from internet.losses.adversarial import FORMS
from internet.losses.features import NETWORKS
from internet.losses.objective import Weights
from internet.losses.temporal import REGULARIZATIONS
from internet.utils.settings import Section, setting

SYNTHETIC = "synthetic"

Range = tuple[int | None, int | None]


@dataclass(frozen=True)
class Flow(Section):
    """Optical flow between the frames of clips; drawn figures bring their true flow."""

    method: str = setting("dis", "the optical flow estimator", choices=ESTIMATORS)
    preset: str = setting("medium", "of dis: how carefully it searches", choices=PRESETS)
    weights: str = setting("", "of raft: a file (empty: where torch's hub keeps it)")
    updates: int = setting(12, "of raft: how often the flow is refined", least=1, most=1000)
    cache: str = setting("", "a folder that keeps the flows (empty: out/flow)", resumable=True)

    @property
    def options(self) -> dict[str, Any]:
        """The options of the chosen estimator."""
        options: dict[str, dict[str, Any]] = {
            "dis": {"preset": self.preset},
            "raft": {"weights": self.weights, "updates": self.updates},
        }
        return options.get(self.method, {})


@dataclass(frozen=True)
class Synthetic(Section):
    """Drawn figures, where data.path is 'synthetic'."""

    length: int = setting(1024, "samples of what counts as an epoch; none is ever drawn twice", least=1)
    moving_background: float = setting(0.5, "the fraction of clips whose background moves", least=0, most=1)
    frames: int = setting(60, "of a clip, at 25 a second; later the figure walks out of the frame", least=1, most=10**6)
    min_seconds: float = setting(0.4, "least time from source to driving frame, not data.min_seconds", least=0)


@dataclass(frozen=True)
class Data(Section):
    """What to train on."""

    path: str = setting(SYNTHETIC, "'synthetic', or a video, a folder of frames, or a folder of these")
    min_seconds: float = setting(2.0, "least time between source and driving frame; the paper's 2", least=0)
    samples_per_clip: int = setting(1, "how often an epoch shows each clip", least=1, most=10**9)
    frames: Range = setting((None, None), "which frames of a clip drive: [start, stop]; null: to its end")
    source: str = setting("first", "the clip's 'first' frame, or a 'random' one of `frames`", choices=SOURCES)
    motion: bool = setting(False, "estimate the flow from the driving frame to the source too")
    chain: bool = setting(False, "estimate it through all frames between the two, which follows limbs further")
    pose: bool = setting(False, "instead of flow, motion and more by the body's parts, which BlazePose finds")
    flow: Flow = dataclasses.field(default_factory=Flow)
    pose_augmentation: PoseAugmentation = dataclasses.field(default_factory=PoseAugmentation)
    augmentation: Augmentation = dataclasses.field(default_factory=Augmentation)
    synthetic: Synthetic = dataclasses.field(default_factory=Synthetic)
    workers: int = setting(2, "processes that read samples, for each rank", least=0, most=1024, resumable=True)
    memory: int = setting(256, "MiB of decoded frames that each of them keeps", least=0, most=2**30, resumable=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pose and self.path == SYNTHETIC:
            raise ValueError("pose is of filmed people, path is 'synthetic': drawn figures tell their parts themselves")
        if self.pose and self.motion:
            raise ValueError("pose and motion are both true, expected one of them: each brings the motion")
        if self.pose and self.augmentation.flip:
            raise ValueError(f"augmentation.flip is {self.augmentation.flip}, expected 0: pose tells left from right")
        if (probability := self.pose_augmentation.probability) and not self.pose:
            raise ValueError(f"pose_augmentation.probability is {probability}, expected 0 without pose")


@dataclass(frozen=True)
class Validation(Section):
    """What to measure on."""

    path: str = setting("", "held-out clips, as data.path (empty: none)", resumable=True)
    split: str = setting("test", "of a folder of clips; a lone video is all 'train'", choices=SPLITS, resumable=True)
    frames: Range = setting((None, None), "as data.frames: frames of the same clip can be held out", resumable=True)
    samples: int = setting(16, "how many; the same every time", least=1, most=10**9, resumable=True)
    every: int = setting(500, "steps between two validations; the last is at the end", least=1, resumable=True)


@dataclass(frozen=True)
class Features(Section):
    """The pretrained network whose features are compared."""

    network: str = setting("efficientnet-lite0", "of the perceptual and style losses", choices=NETWORKS)
    weights: str = setting("", "a file (empty: where they usually are); 'random' is for tests")


@dataclass(frozen=True)
class Loss(Section):
    """What is minimised."""

    regularization: str = setting("intrinsic", "the temporal loss", choices=REGULARIZATIONS)
    temporal_scales: int = setting(1, "sizes of the frame at which it is taken, each half the last", least=1, most=8)
    adversarial: str = setting("log", "the form of the adversarial loss", choices=FORMS)
    weights: Weights = dataclasses.field(default_factory=Weights)
    schedule: dict[str, tuple[tuple[float, float], ...]] = setting(
        {}, "weights that change: for a name of `weights`, points [step, weight], joined by lines", least=0
    )
    stage_one: int = setting(0, "so many steps train stage I alone, by guidance and equivariance: cheap", least=0)
    features: Features = dataclasses.field(default_factory=Features)

    def __post_init__(self) -> None:
        super().__post_init__()
        known = [field.name for field in dataclasses.fields(Weights)]
        for name, points in self.schedule.items():
            if name not in known:
                raise ValueError(f"schedule is of '{name}', expected one of {', '.join(known)}")
            if not points or any(after[0] <= before[0] for before, after in pairwise(points)):
                raise ValueError(f"schedule of '{name}' is {points}, expected points [step, weight], steps rising")


@dataclass(frozen=True)
class Optimizer(Section):
    """How it is minimised."""

    name: str = setting("radam", "the method", choices=("radam", "adam", "adamw"))
    lr: float = setting(2e-4, "rate of the model", least=0)
    discriminator_lr: float | None = setting(None, "rate of the discriminators (null: the same)", least=0)
    betas: tuple[float, float] = setting((0.9, 0.999), "decay of the two moments", least=0, below=1)
    milestones: tuple[int, ...] = setting((60, 90), "epochs after which the rates are multiplied by gamma", least=0)
    gamma: float = setting(0.1, "see milestones", least=0)
    clip: float = setting(1.0, "largest norm of the gradient, of either side (0: not clipped)", least=0)
    ema: float = setting(0.0, "decay of the running mean of the weights, such as 0.999 (0: none)", least=0, below=1)


@dataclass(frozen=True)
class Run(Section):
    """How long, and on what."""

    epochs: int = setting(100, "how long", least=1, most=10**9, resumable=True)
    steps: int | None = setting(None, "stop after so many steps in all", least=1, resumable=True)
    minutes: float | None = setting(None, "stop after so much time, counted from each start", least=0, resumable=True)
    batch: int = setting(16, "samples of a step, over all ranks", least=1, most=10**6)
    accumulate: int = setting(1, "micro-batches of a rank's share: memory", least=1, most=10**6, resumable=True)
    precision: str = setting("float32", "of the networks (bfloat16: autocast)", choices=("float32", "bfloat16"))
    channels_last: bool = setting(True, "channels last in memory, as convolutions like it", resumable=True)
    compile: bool = setting(False, "torch.compile the model", resumable=True)
    device: str = setting("auto", "what it runs on", choices=("auto", "cpu", "cuda"), resumable=True)
    threads: int = setting(0, "CPU threads of each rank (0: torch decides)", least=0, most=4096, resumable=True)


@dataclass(frozen=True)
class Log(Section):
    """What is written down on the way."""

    every: int = setting(50, "steps between two lines and points of the curves", least=1, resumable=True)
    pictures: int = setting(500, "steps between two pictures of training samples", least=1, resumable=True)


@dataclass(frozen=True)
class Checkpoint(Section):
    """What is kept to go on from."""

    every: int = setting(500, "steps between two checkpoints; the last is at the end", least=1, resumable=True)
    keep: int = setting(3, "how many are kept", least=1, resumable=True)
