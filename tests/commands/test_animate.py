"""`internet animate`: the model's frames are written at the right times, and nothing is lost or left incomplete."""

import base64
import functools
import os
import re
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from internet import cli, inference, ops
from internet.commands._shared import animation_report
from internet.data import streaming
from internet.data.image import square, to_array, to_tensor
from internet.data.synthetic import WalkingClip
from internet.data.video import iter_frames, probe, read_frames
from internet.data.video_writer import video_writer
from internet.inference import animate_video
from internet.model import INTERnet, INTERnetConfig, save_model
from tests.support.clips import heard, shown, write_image, write_talkie, write_video
from tests.support.compare import BACKENDS, DEVICES
from tests.support.media import break_off, encode

SIDE = 32
CONFIG = INTERnetConfig.preset(
    "tiny", size=SIDE, anchor_width=4, motion_width=4, widest=8, channels=(8, 8, 8), blocks=(1, 1, 1)
)
FRAMES = list(WalkingClip(1, (40, 56), frames=60))[::5]
SOURCE = WalkingClip(2, (48, 36))[0]
IRREGULAR = [0, 33, 40, 100, 180, 181, 250, 300, 420, 430, 470, 500]


@pytest.fixture(scope="module")
def model() -> INTERnet:
    """A video whose frames differ clearly from each other."""
    torch.manual_seed(0)
    model = INTERnet(CONFIG).eval()
    with torch.no_grad():
        model.kp_detector.kp.weight.normal_(std=1.0)
        model.generator.last.weight.mul_(20)
    return model


@pytest.fixture
def lossless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "video_writer", functools.partial(video_writer, lossless=True))


@pytest.fixture
def files(model: INTERnet, tmp_path: Path) -> dict[str, str]:
    write_image(tmp_path / "source.png", SOURCE)
    write_talkie(tmp_path / "driving.mp4", FRAMES)
    save_model(tmp_path / "model.pt", model)
    return {"--source": "source.png", "--driving": "driving.mp4", "--checkpoint": "model.pt", "--out": "out.mp4"}


@pytest.fixture
def animate(files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The command in a folder with its files, some of which can be replaced: animate("--relative", source="b.png")."""
    monkeypatch.chdir(tmp_path)

    def run(*more: str, **changes: str) -> int:
        given = files | {f"--{name}": value for name, value in changes.items()}
        try:
            return cli.main(["animate", "--device", "cpu", *(part for pair in given.items() for part in pair), *more])
        except SystemExit as stop:  # argparse refuses by itself
            return int(stop.code or 0)

    return run


def prepared(images: Iterable[np.ndarray]) -> list[Tensor]:
    return [square(to_tensor(image), SIDE) for image in images]


def expected(model: INTERnet, source: np.ndarray, driving: Iterable[np.ndarray], **how: bool) -> list[np.ndarray]:
    (picture,) = prepared([source])
    return [to_array(frame) for frame in model.animate(picture, prepared(driving), **how)]


def written(path: str = "out.mp4") -> list[np.ndarray]:
    return list(iter_frames(path))


def assert_same(found: list[np.ndarray], wanted: list[np.ndarray]) -> None:
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one.astype(int), other, atol=1)  # a value halfway may be rounded either way


@pytest.mark.usefixtures("lossless")
@pytest.mark.parametrize("how", [{}, {"relative": True}, {"relative": True, "adapt_scale": False}])
def test_it_writes_what_the_model_gives(model, animate, how, capsys):
    options = [f"--{name}" if value else "--no-adapt-scale" for name, value in how.items()]
    assert animate(*options) == 0
    frames = expected(model, SOURCE, written("driving.mp4"), **how)
    assert np.abs(np.diff(np.stack(frames).astype(int), axis=0)).max() > 10
    assert_same(written(), frames)
    assert "out.mp4: 12 frames" in capsys.readouterr().out


@pytest.mark.usefixtures("lossless")
def test_side_by_side(model, animate):
    assert animate("--side-by-side") == 0
    driving = written("driving.mp4")
    (picture,) = (to_array(frame) for frame in prepared([SOURCE]))
    rows = zip(prepared(driving), expected(model, SOURCE, driving), strict=True)
    assert_same(written(), [np.concatenate([picture, to_array(frame), output], axis=1) for frame, output in rows])


@pytest.mark.usefixtures("lossless")
def test_the_source_may_be_a_video_and_the_checkpoint_a_folder(model, animate, tmp_path):
    write_video(tmp_path / "source.mp4", [SOURCE, FRAMES[0][:, :36], FRAMES[1][:, :36]])
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "model.pt").rename(tmp_path / "run" / "checkpoints" / "last.pt")
    assert animate(source="source.mp4", checkpoint="run") == 0
    assert_same(written(), expected(model, SOURCE, written("driving.mp4")))


@pytest.mark.usefixtures("lossless")
def test_a_part_of_the_driving_video_at_another_size(model, animate):
    assert animate("--start", "3", "--stop", "8", "--size", "64") == 0
    driving = [square(to_tensor(frame), 64) for frame in read_frames("driving.mp4", range(3, 8))]
    frames = [to_array(frame) for frame in model.animate(square(to_tensor(SOURCE), 64), driving)]
    assert_same(written(), frames)


@pytest.mark.usefixtures("lossless")
def test_every_backend_writes_the_same(animate, capsys):
    for name in BACKENDS:
        assert animate("--backend", name, "--device", DEVICES[name], out=f"{name}.mp4") == 0, capsys.readouterr().err
    first = np.stack(written(f"{BACKENDS[0]}.mp4")).astype(int)
    for name in BACKENDS[1:]:  # a GPU's convolutions round to TF32
        assert np.abs(np.stack(written(f"{name}.mp4")) - first).mean() < 1, name


def test_bfloat16_is_close(animate):
    assert animate() == 0
    assert animate("--precision", "bfloat16", out="rounded.mp4") == 0
    difference = np.stack(written("rounded.mp4")).astype(int) - np.stack(written())
    assert 0 < np.abs(difference).mean() < 12


def test_compiled_networks_write_the_same(animate, monkeypatch):
    monkeypatch.setattr(torch.nn.Module, "compile", functools.partialmethod(_compiled, torch.nn.Module.compile))
    assert animate() == 0
    assert animate("--compile", out="compiled.mp4") == 0
    assert np.abs(np.stack(written("compiled.mp4")).astype(int) - np.stack(written())).max() <= 2


def _compiled(module, compile_, **options):
    """Like --compile, without the minutes of a C++ compiler."""
    compile_(module, backend="aot_eager", **options)


# Times and sound


def test_each_frame_is_shown_when_its_driving_frame_is(animate, tmp_path):
    write_talkie(tmp_path / "driving.mp4", FRAMES, IRREGULAR)
    assert animate("--start", "2") == 0
    assert shown(tmp_path / "out.mp4") == pytest.approx([(stamp - 40) / 1000 for stamp in IRREGULAR[2:]], abs=1e-6)


def test_sound_is_copied_if_asked_for(animate, tmp_path):
    assert animate("--audio", "--start", "4", "--stop", "10") == 0
    (_, original), (begin, copied) = heard(tmp_path / "driving.mp4"), heard(tmp_path / "out.mp4")
    assert begin == 0
    assert 6 * 1920 <= len(copied) < 6 * 1920 + 1024
    np.testing.assert_allclose(copied[2048:10000], original[4 * 1920 :][2048:10000], atol=1e-4)
    assert animate("--overwrite") == 0
    with pytest.raises(IndexError):
        heard(tmp_path / "out.mp4")


# Memory


def test_memory_does_not_grow_with_the_clip(model, tmp_path, monkeypatch):
    """Of all frames that are read, resized and generated, only a few exist at any time."""
    made: list[weakref.ref[object]] = []
    alive: list[int] = []

    def watched(function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            result = function(*arguments)
            made.append(weakref.ref(result))
            alive.append(sum(reference() is not None for reference in made))
            return result

        return call

    for name in ("square", "to_tensor", "to_array"):
        monkeypatch.setattr(inference, name, watched(getattr(inference, name)))
    monkeypatch.setattr(streaming, "displayed", watched(streaming.displayed))
    write_video(tmp_path / "driving.mp4", FRAMES * 4)
    assert animate_video(model, SOURCE, tmp_path / "driving.mp4", tmp_path / "out.mp4") == 48
    assert len(made) >= 4 * 48
    assert 3 <= max(alive) <= 8
    assert max(alive[-40:]) <= max(alive[:40])


# What must not be lost, and what must not be left behind


def test_an_existing_file_is_only_replaced_when_asked(animate, tmp_path, capsys):
    (tmp_path / "out.mp4").write_bytes(b"a film")
    assert animate() == 2
    assert "--out: 'out.mp4' exists; choose another name or pass --overwrite" in capsys.readouterr().err
    assert (tmp_path / "out.mp4").read_bytes() == b"a film"
    assert animate("--overwrite") == 0
    assert probe("out.mp4").frames == 12


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_what_is_interrupted_leaves_nothing(animate, tmp_path, monkeypatch, capsys, error):
    (tmp_path / "out.mp4").write_bytes(b"a film")
    before = sorted(tmp_path.iterdir())

    def interrupted(frames: Iterator[object]) -> Iterator[object]:
        for number, frame in enumerate(frames):
            if number == 5:
                raise error
            yield frame

    transferred = inference._transferred
    monkeypatch.setattr(inference, "_transferred", lambda *arguments: interrupted(transferred(*arguments)))
    assert animate("--overwrite") == (130 if error is KeyboardInterrupt else 2)
    said = capsys.readouterr().err
    assert "interrupted" in said or "No space left on device" in said
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "out.mp4").read_bytes() == b"a film"


def test_bad_input_is_named_before_any_work(animate, tmp_path, monkeypatch, capsys):
    write_video(tmp_path / "silent.mp4", FRAMES)
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(4000))
    (tmp_path / "noise.png").write_bytes(b"no picture")
    (tmp_path / "noise.pt").write_bytes(b"no weights")
    (tmp_path / "folder").mkdir()
    monkeypatch.setattr(INTERnet, "animate", None)  # must not be reached
    cases: list[tuple[dict[str, str], tuple[str, ...], str]] = [
        ({"source": "none.png"}, (), "--source: the picture 'none.png' does not exist"),
        ({"source": "noise.png"}, (), "--source: 'noise.png' is not a picture"),
        ({"source": "noise.mp4"}, (), "--source: the video 'noise.mp4' cannot be decoded"),
        ({"driving": "none.mp4"}, (), "--driving: the video 'none.mp4' does not exist"),
        ({"driving": "noise.mp4"}, (), "--driving: the video 'noise.mp4' cannot be decoded"),
        ({"driving": "silent.mp4"}, ("--audio",), "--audio: the video 'silent.mp4' has no audio track"),
        ({"checkpoint": "none.pt"}, (), "--checkpoint: "),
        ({"checkpoint": "noise.pt"}, (), "--checkpoint: 'noise.pt' is not a complete file of weights"),
        ({"checkpoint": "folder"}, (), "--checkpoint: the folder 'folder' has no checkpoint"),
        ({"out": "folder"}, (), "--out: 'folder' is a folder, not a file"),
        ({"out": "no/such/out.mp4"}, (), "--out: the folder 'no/such' does not exist"),
        ({}, ("--size", "40"), "--size: a frame has shape (1, 3, 40, 40), expected"),
        ({}, ("--stop", "13"), "--stop: the video 'driving.mp4' has 12 frames, 13 were requested"),
        ({}, ("--start", "12"), "--start: is 12, expected less than 12"),
        ({}, ("--start", "5", "--stop", "5"), "--start: is 5, expected less than 5"),
        ({}, ("--start", "-1"), "--start: expected at least 0, got -1"),
        ({}, ("--no-adapt-scale",), "--no-adapt-scale changes what --relative does"),
        ({}, ("--device", "abacus"), "--device: the device 'abacus' cannot be used"),
        ({}, ("--device", "cuda:99"), "--device: the device 'cuda:99' cannot be used"),
    ]
    for changes, options, words in cases:
        assert animate(*options, **changes) == 2
        assert words in capsys.readouterr().err
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.skipif("cuda" in BACKENDS, reason="the backend is there")
def test_a_backend_that_is_not_there(animate, tmp_path, capsys):
    assert animate("--backend", "cuda") == 2
    assert "--backend: backend: 'cuda' is not available" in capsys.readouterr().err
    assert not (tmp_path / "out.mp4").exists()
    assert ops.backends()["cuda"].reason


@pytest.mark.parametrize("name", ["out.xyz", "out.gif", "out"])
def test_a_suffix_that_is_no_video(animate, tmp_path, capsys, name):
    assert animate(out=name) == 2
    suffix = Path(name).suffix
    assert f"--out: '{name}': no format for H.264 video has the suffix '{suffix}' (use .mp4)" in capsys.readouterr().err
    assert not list(tmp_path.glob("*out*"))


def test_a_page_shows_the_video_and_how_it_was_made(animate, capsys, monkeypatch):
    monkeypatch.setattr(animation_report, "PICTURES", 4)
    assert animate("--report", "--side-by-side") == 0
    page = Path("out.html").read_text(encoding="utf-8")
    assert base64.b64encode(Path("out.mp4").read_bytes()).decode() in page
    assert re.findall('data-label="(.*?)"', page) == ["frame 0", "frame 4", "frame 7", "frame 11"]
    assert "internet animate --device cpu --source source.png" in page
    assert "out.html: the video and how it was made" in capsys.readouterr().out


def test_a_page_replaces_nothing_unasked(animate, capsys):
    Path("out.html").write_text("mine")
    assert animate("--report") == 2
    assert "--report: 'out.html' exists" in capsys.readouterr().err
    assert not Path("out.mp4").exists()
    assert animate("--report", "--overwrite") == 0
    assert Path("out.html").read_text(encoding="utf-8") != "mine"


@pytest.mark.parametrize(("bytes_", "suffix"), [(10, "mp4"), (10**9, "mkv")])
def test_a_video_that_cannot_be_in_the_page_is_named(animate, monkeypatch, bytes_, suffix):
    monkeypatch.setattr(animation_report, "VIDEO_BYTES", bytes_)
    assert animate("--report", out=f"out.{suffix}") == 0
    page = Path("out.html").read_text(encoding="utf-8")
    assert "<video" not in page
    assert f"browsers do not play: out.{suffix}" in page


NAMES = [
    "clip 12:30",
    "2026-11-22T12:30",
    "file:x",
    "pipe:0",
    "-dash",
    "--two-dashes",
    "take %03d #1 & [a] {b} 'c' \"d\" $e ~ * ?",
    "  spaces  ",
    "line\nbreak",
    "größe ✓ 動画",
    os.fsdecode(b"latin-1 \xe4"),
    "x" * 251,
]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_that_the_file_system_takes(name, files, animate, tmp_path, capsys):
    """For every input file, and for the output."""
    changes = {}
    for argument, file in files.items():
        suffix = Path(file).suffix
        stem = f"{argument[2]}{name}" if not name.startswith("-") else f"{name}{argument[2]}"
        changes[argument[2:]] = stem[: 255 - len(suffix)] + suffix
        if argument != "--out":
            (tmp_path / file).rename(tmp_path / changes[argument[2:]])
    assert animate(**changes) == 0, capsys.readouterr().err
    assert probe(tmp_path / changes["out"]).frames == 12
    assert len(list(tmp_path.iterdir())) == 4


def test_out_is_none_of_the_inputs(animate, tmp_path, capsys):
    (tmp_path / "link.mp4").symlink_to("driving.mp4")
    before = (tmp_path / "driving.mp4").read_bytes()
    for out in ("driving.mp4", "link.mp4", "./driving.mp4"):
        assert animate("--overwrite", out=out) == 2
        assert "is the file that --driving names; choose another name" in capsys.readouterr().err
    assert (tmp_path / "driving.mp4").read_bytes() == before


def test_what_was_made_before_a_damage_is_kept_under_a_name_that_says_so(animate, tmp_path, capsys):
    whole = encode(tmp_path / "driving.mp4", FRAMES * 4, container={"movflags": "faststart"}, options={"g": "8"})
    break_off(whole, 0.7)
    (tmp_path / "out.mp4").write_bytes(b"a film")
    for name in ("out.incomplete.mp4", "out.incomplete1.mp4"):
        assert animate("--overwrite", "--relative") == 2
        said = capsys.readouterr().err
        count = probe(tmp_path / name).frames
        assert 10 < count < 48
        assert f"'driving.mp4' is damaged after frame {count - 1}, at {(count - 1) / 25:.2f} s" in said
        assert f"the result for the {count} frames before is '{name}'" in said
        assert "Traceback" not in said
    assert (tmp_path / "out.mp4").read_bytes() == b"a film"
    assert animate("--overwrite", "--stop", str(count)) == 0
    assert probe(tmp_path / "out.mp4").frames == count


def test_frames_that_do_not_decode_in_the_middle(animate, tmp_path, capsys):
    path = encode(tmp_path / "driving.mkv", FRAMES * 4, "ffv1", options={"slicecrc": "1"})
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 400] = bytes(400)
    path.write_bytes(content)
    status = animate(driving="driving.mkv")
    said = capsys.readouterr().err
    kept = tmp_path / ("out.incomplete.mp4" if status else "out.mp4")
    assert status in (0, 2)
    assert probe(kept).frames > 10
    assert "Traceback" not in said


def test_a_transparent_source_shows_the_background(animate, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("internet.commands.animate.animate_video", lambda model, source, *_, **how: seen.append(source))
    image = np.dstack([SOURCE, np.zeros(SOURCE.shape[:2], np.uint8)])
    cv2.imwrite(str(tmp_path / "source.png"), image)
    for options, background in (((), (255, 255, 255)), (("--background", "#0a14FA"), (10, 20, 250))):
        with pytest.raises(TypeError):  # not a number of frames
            animate(*options)
        assert (seen.pop() == background).all()


@pytest.mark.parametrize("colour", ["white", "#fff", "#gggggg", "", "#0000000"])
def test_a_background_that_is_no_colour(animate, capsys, colour):
    assert animate("--background", colour) == 2
    assert f"--background: expected a colour such as #ffffff, got '{colour}'" in capsys.readouterr().err
