"""Frames to work on: from videos, from pictures, or drawn."""

from internet.data.augmentation import Augmentation
from internet.data.clip import Clip, FrameFolder, VideoClip
from internet.data.clip_search import find_clips, usable_clips
from internet.data.dataset import ClipDataset
from internet.data.frame_sampler import FrameSampler
from internet.data.image import MediaError, read_image, square, to_array, to_tensor
from internet.data.pose_augmentation import PoseAugmentation
from internet.data.streaming import BrokenVideoError, stream_frames
from internet.data.synthetic import WalkingClip
from internet.data.synthetic_dataset import SyntheticDataset
from internet.data.video import VideoInfo, iter_frames, probe, read_frames
from internet.data.video_writer import video_writer, write_video

__all__ = [
    "Augmentation",
    "BrokenVideoError",
    "Clip",
    "ClipDataset",
    "FrameFolder",
    "FrameSampler",
    "MediaError",
    "PoseAugmentation",
    "SyntheticDataset",
    "VideoClip",
    "VideoInfo",
    "WalkingClip",
    "find_clips",
    "iter_frames",
    "probe",
    "read_frames",
    "read_image",
    "square",
    "stream_frames",
    "to_array",
    "to_tensor",
    "usable_clips",
    "video_writer",
    "write_video",
]
