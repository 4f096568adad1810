"""Frames look like in a player: colours, transparency, square pixels, orientation."""

import gc
import multiprocessing
import struct
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from internet.data.image import read_image
from internet.data.pixels import displayed, displayed_size
from internet.data.video import iter_frames, probe
from internet.data.video_writer import write_video
from tests.support.media import encode, pictures

MPEG, BT709, BT601, BT2020, PQ, HLG = 1, 1, 5, 9, 16, 18
#: The eight orientations: display matrix (a, b, c, d), its effect on an array, and the EXIF number.
ORIENTATIONS = {
    1: ((1, 0, 0, 1), lambda image: image),
    2: ((-1, 0, 0, 1), lambda image: image[:, ::-1]),
    3: ((-1, 0, 0, -1), lambda image: image[::-1, ::-1]),
    4: ((1, 0, 0, -1), lambda image: image[::-1]),
    5: ((0, 1, 1, 0), lambda image: image.transpose(1, 0, 2)),
    6: ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),
    7: ((0, -1, -1, 0), lambda image: image[::-1, ::-1].transpose(1, 0, 2)),
    8: ((0, -1, 1, 0), lambda image: np.rot90(image)),
}


def plain(levels: tuple[int, int, int], side: int = 64, *, bits: int = 8, **properties: int) -> av.VideoFrame:
    """A frame of one colour, given as levels of Y, Cb and Cr."""
    frame = av.VideoFrame(side, side, "yuv420p10le" if bits == 10 else "yuv420p")
    for name, value in properties.items():
        setattr(frame, name, value)
    for plane, level in zip(frame.planes, levels, strict=True):
        kind = np.uint16 if bits == 10 else np.uint8
        plane.update(np.full(plane.buffer_size // kind().itemsize, level, kind).tobytes())
    return frame


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_display_matrix_turns_and_mirrors(orientation: int, tmp_path: Path) -> None:
    (a, b, c, d), change = ORIENTATIONS[orientation]
    frames = [picture[:48] for picture in pictures(3)]
    path = encode(tmp_path / "a.mp4", frames, "libx264rgb", options={"crf": "0"}, pixels="rgb24")
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 4 + 40
    content[place : place + 36] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    found = list(iter_frames(path))
    assert all(np.array_equal(one, change(other)) for one, other in zip(found, frames, strict=True))
    assert (probe(path).height, probe(path).width) == found[0].shape[:2]


def exif(orientation: int) -> bytes:
    return b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHH", 0x112, 3, 1, orientation, 0) + bytes(4)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("suffix", [".png", ".webp", ".jpg"])
def test_the_orientation_of_pictures(orientation: int, suffix: str, tmp_path: Path) -> None:
    """Opacity is rotated with the colours."""
    image = cv2.resize(next(pictures(1))[8:16, :12], (96, 64))
    alpha = np.linspace(0, 255, 96).astype(np.uint8)[None].repeat(64, 0)
    alpha[:20] = 255
    stored = image[..., ::-1] if suffix == ".jpg" else np.dstack([image[..., ::-1], alpha])
    kinds, values = [cv2.IMAGE_METADATA_EXIF], [np.frombuffer(exif(orientation), np.uint8)]
    options = [cv2.IMWRITE_WEBP_QUALITY, 101, cv2.IMWRITE_JPEG_QUALITY, 100]
    _, data = cv2.imencodeWithMetadata(suffix, np.ascontiguousarray(stored), kinds, values, options)
    (tmp_path / f"a{suffix}").write_bytes(data.tobytes())
    opacity = alpha[..., None] / 255 if suffix != ".jpg" else 1.0
    expected = ORIENTATIONS[orientation][1](image * opacity + 255 * (1 - opacity))
    read = read_image(tmp_path / f"a{suffix}")
    assert read.shape == expected.shape
    assert np.abs(read - expected).mean() < {".png": 0.51, ".webp": 3, ".jpg": 8}[suffix]


@pytest.mark.parametrize("aspect", [Fraction(2), Fraction(1, 2), Fraction(16, 11), Fraction(8, 9)])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_pixels_become_square(aspect: Fraction, suffix: str, tmp_path: Path) -> None:
    """A disc stored as an ellipse is shown as a disc, and no side loses pixels."""
    width, height = (64, round(64 * aspect)) if aspect > 1 else (round(64 / aspect), 64)
    width, height = width // 2 * 2, height // 2 * 2
    y, x = np.mgrid[:height, :width]
    disc = (np.hypot((x + 0.5) / width - 0.5, (y + 0.5) / height - 0.5) < 0.3).astype(np.uint8) * 255
    path = encode(tmp_path / f"a{suffix}", [disc[..., None].repeat(3, 2)] * 3, aspect=aspect, options={"crf": "1"})
    frame = next(iter_frames(path))
    rows, columns = np.where(frame[..., 0] > 128)
    assert abs(np.ptp(rows) - np.ptp(columns)) <= 2
    assert frame.shape[0] >= height
    assert frame.shape[1] >= width
    assert (probe(path).height, probe(path).width) == frame.shape[:2]


def test_an_aspect_that_cannot_be_is_not_believed() -> None:
    for aspect in (None, Fraction(0), Fraction(1), Fraction(10_000), Fraction(1, 10_000)):
        assert displayed_size(64, 48, aspect) == (64, 48)
    assert displayed_size(720, 576, Fraction(64, 45)) == (1024, 576)


@pytest.mark.parametrize("transfer", [HLG, PQ])
def test_white_of_hdr_is_white(transfer: int) -> None:
    """Reference white is 75 % of the signal in HLG, and 58 % in PQ (ITU-R BT.2408); a screen shows both as white."""
    white = round((0.75 if transfer == HLG else 0.58) * 876 + 64)
    tags = {"colorspace": BT2020, "color_primaries": BT2020, "color_range": MPEG, "color_trc": transfer}
    for level, (least, most) in {white: (235, 255), 64: (0, 0), round(0.3 * 876 + 64): (20, 150)}.items():
        frame = displayed(plain((level, 512, 512), bits=10, **tags))
        assert least <= frame.min() <= frame.max() <= most


@pytest.mark.parametrize(
    ("side", "tagged", "matrix"), [(64, 2, "601"), (64, BT709, "709"), (720, 2, "709"), (720, BT601, "601")]
)
def test_the_matrix_of_colours(side: int, tagged: int, matrix: str) -> None:
    """As tagged, or as players guess from the size: ITU-R BT.601 and BT.709."""
    red, blue = {"601": (0.299, 0.114), "709": (0.2126, 0.0722)}[matrix]
    y, cb, cr = (120 - 16) / 219, (90 - 128) / 224, (200 - 128) / 224
    r, b = y + 2 * (1 - red) * cr, y + 2 * (1 - blue) * cb
    expected = 255 * np.clip([r, (y - red * r - blue * b) / (1 - red - blue), b], 0, 1)
    frame = displayed(plain((120, 90, 200), side, colorspace=tagged, color_range=MPEG))
    np.testing.assert_allclose(frame[side // 2, side // 2], expected, atol=2)


@pytest.mark.parametrize("side", [64, 720])
def test_written_videos_say_what_their_colours_are(side: int, tmp_path: Path) -> None:
    colours = [(200, 30, 40), (20, 180, 60), (30, 40, 210), (128, 128, 128)]
    frames = [np.full((side, side, 3), colour, np.uint8) for colour in colours]
    for lossless in (False, True):
        path = tmp_path / f"{lossless}.mp4"
        write_video(path, frames, fps=25, lossless=lossless)
        found = list(iter_frames(path))
        assert all(np.abs(one.astype(int) - other).max() <= 3 for one, other in zip(found, frames, strict=True))
        with av.open(str(path)) as container:
            tags = container.streams.video[0].codec_context
            assert (tags.color_primaries, tags.color_trc) == (BT709, BT709)
            assert (tags.colorspace, tags.color_range) == ((0, 2) if lossless else (BT709, MPEG))


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("a.gif", "gif", "bgra"),
        ("a.apng", "apng", "rgba"),
        ("a.mov", "qtrle", "argb"),
        ("a.mkv", "ffv1", "bgra"),
        ("a.mov", "prores_ks", "yuva444p10le"),
    ],
)
def test_what_is_transparent_shows_the_background(name: str, codec: str, pixels: str, tmp_path: Path) -> None:
    frame = np.zeros((32, 32, 4), np.uint8)
    frame[..., 1] = 255  # a green that must not be visible
    frame[8:24, 8:24] = 200, 30, 40, 255
    path = tmp_path / name
    if codec == "gif":
        pytest.importorskip("PIL.Image").fromarray(frame).save(path)
    else:
        encode(path, [frame] * 3, codec, pixels=pixels)
    for background in ((255, 255, 255), (10, 20, 250)):
        shown = next(iter_frames(path, background))
        np.testing.assert_allclose(shown[2, 2], background, atol=3)
        np.testing.assert_allclose(shown[16, 16], (200, 30, 40), atol=3)


def test_a_forked_process_can_free_a_frame_that_its_parent_converted() -> None:
    """libswscale's threads stay in the parent: to free them in a child, such as a DataLoader's worker, is to wait."""
    frames = [plain((120, 90, 200), 512)]
    displayed(frames[0])

    def free() -> None:
        frames.clear()
        gc.collect()  # a frame and its side data refer to each other

    child = multiprocessing.get_context("fork").Process(target=free)
    child.start()
    child.join(60)
    child.kill()
    child.join()
    assert child.exitcode == 0
