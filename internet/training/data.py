"""The samples that a configuration asks for."""

from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset, Subset

from internet.data.blaze_pose import BlazePose
from internet.data.body_parts import PoseFunction
from internet.data.clip_search import Clip, find_clips
from internet.data.dataset import ClipDataset, FlowFunction
from internet.data.image import MediaError
from internet.data.synthetic_dataset import SyntheticDataset
from internet.flow import FlowCache, flow_estimator
from internet.training.config import Config
from internet.training.config.sections import SYNTHETIC
from internet.training.sampler import EpochStream
from internet.utils.settings import SettingError

#: Added to the seed, so that validation draws other clips than training.
HELD_OUT_SEED = 1 << 20


def training_samples(config: Config) -> tuple[EpochStream, int]:
    """The stream of samples to train on, and how many make an epoch."""
    data = config.data
    if data.path == SYNTHETIC:
        drawn = _synthetic(config, config.seed, data.source, compact=True)
        return EpochStream(drawn, config.seed, endless=True), data.synthetic.length
    clips = ClipDataset(
        _clips("data.path", data.path),
        config.model.size,
        min_seconds=data.min_seconds,
        frames=data.frames,
        source=data.source,
        samples_per_clip=data.samples_per_clip,
        flow=_flow(config),
        motion=data.motion,
        chain=data.chain,
        pose=_pose(config),
        pose_augmentation=data.pose_augmentation if data.pose_augmentation.probability else None,
        augmentation=data.augmentation,
        memory=data.memory << 20,
        seed=config.seed,
    )
    return EpochStream(clips, config.seed), len(clips)


def scene_of(samples: EpochStream) -> Tensor:
    """What is behind the person in the only clip there is, (1, 3, S, S).

    Raises a SettingError if there are more.
    """
    clips = samples.data
    if len(clips.clips) != 1:
        raise SettingError(f"model.scene is true, expected one clip in data.path, which has {len(clips.clips)}")
    background: Tensor = clips.background(0)
    return background


def validation_samples(config: Config) -> Dataset[dict[str, Any]] | None:
    """The held-out samples, the same every time, without augmentation; None if the configuration names none."""
    held_out = config.validation
    if not held_out.path:
        return None
    if held_out.path == SYNTHETIC:
        return Subset(_synthetic(config, config.seed + HELD_OUT_SEED, "first"), range(held_out.samples))
    clips = _clips("validation.path", held_out.path, held_out.split)
    each = -(-held_out.samples // len(clips))
    options: dict[str, Any] = {"min_seconds": config.data.min_seconds, "frames": held_out.frames, "seed": config.seed}
    if config.data.motion:  # the flow that guides training also measures its motion
        options |= {"flow": _flow(config), "motion": True, "chain": config.data.chain}
    options["pose"] = _pose(config)
    data = ClipDataset(clips, config.model.size, samples_per_clip=each, **options)
    return Subset(data, range(min(held_out.samples, len(data))))


def _synthetic(config: Config, seed: int, source: str, *, compact: bool = False) -> SyntheticDataset:
    drawn = config.data.synthetic
    options: dict[str, Any] = {
        "min_seconds": drawn.min_seconds,
        "frames": drawn.frames,
        "moving_background": drawn.moving_background,
        "previous": config.loss.regularization != "none",
    }
    return SyntheticDataset(config.model.size, seed=seed, source=source, compact=compact, **options)


def _flow(config: Config) -> FlowFunction | None:
    """The optical flow function, if the configuration needs one; results are cached on disk."""
    if config.loss.regularization == "none" and not config.data.motion:
        return None
    flow = config.data.flow
    try:
        estimator = flow_estimator(flow.method, **flow.options)
    except (TypeError, ValueError) as error:
        raise SettingError(f"data.flow: {error}") from error
    return FlowCache(flow.cache or Path(config.out, "flow"), estimator)


def _pose(config: Config) -> PoseFunction | None:
    """The function that finds the body's parts, if the configuration needs one."""
    if not config.data.pose:
        return None
    try:
        return BlazePose()
    except (ImportError, OSError) as error:
        raise SettingError(f"data.pose: {error}") from error


def _clips(name: str, path: str, split: str = "train") -> list[Clip]:
    """The clips at the path of a setting."""
    if not path:
        raise SettingError(f"{name} is empty, expected '{SYNTHETIC}', a video, a folder of frames or a folder of these")
    try:
        return find_clips(path, split)
    except MediaError as error:
        raise SettingError(f"{name}: {error}") from error
