"""Pages of results: self-contained, accessible, and they play in a real browser."""

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from internet.data.video_writer import write_video
from internet.visualization import charts, draw, report
from tests.support.browser import evaluate

IMAGE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
HOSTILE = '<b>&"quoted"</b>'
CURVES = {"model": [(0.0, 18.5), (100.0, 25.25)], "doing nothing": [(0.0, 19.0), (100.0, 19.0)]}


class Outline(HTMLParser):
    """Collects every element's tag and attributes, checking that all are closed in order."""

    VOID = frozenset({"meta", "link", "img", "input", "source", "line"})

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def close(self) -> None:
        super().close()
        assert self._open == []

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A page with a block of each kind."""
    write_video(tmp_path / "video.mp4", [np.roll(IMAGE, shift, 1) for shift in range(32)], fps=25)
    blocks = [
        report.paragraph("Words."),
        charts.bar_chart(
            "Bars",
            {("affine_mixture", "B=4"): (72.0, 40.0), ("soft_argmax", "B=1"): (6.3, 1.0)},
            ("a", "b"),
            label="{:g}×".format,
        ),
        report.table("Numbers", ("", "one", "two"), [["first", "1", "2"], ["second", "3", "4"]]),
        report.video((tmp_path / "video.mp4").read_bytes(), "Noise that moves", [["left", "right"]]),
        report.gallery("Pictures", [[("left", IMAGE), ("right", IMAGE)]] * 2),
        report.slider("Noise", {f"step {step}": draw.encode_png(IMAGE) for step in (1, 5, 9)}, ["noise"]),
        report.plots([charts.line_chart("PSNR, dB", CURVES)]),
        report.headline_figures({"frames a second": "35"}),
        report.facts({"processor": "of this machine"}),
        report.command("internet demo"),
    ]
    path = tmp_path / "page.html"
    path.write_bytes(report.page("A page", "What it is about.", [report.section("A section", *blocks)], footer="End"))
    return path


@pytest.fixture
def outline(page: Path) -> Outline:
    found = Outline()
    found.feed(page.read_text(encoding="utf-8"))
    found.close()
    return found


def test_everything_is_inside(page, outline):
    for _, attributes in outline.elements:
        for name in ("src", "href", "poster", "srcset", "data"):
            assert re.match(r"data:|#main$", attributes.get(name) or "data:"), attributes
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"https?:|@import|url\(|fetch\(|XMLHttp", text)


def test_every_reader_is_served(outline):
    assert outline.all("html") == [{"lang": "en"}]
    assert any(meta.get("name") == "viewport" for meta in outline.all("meta"))
    assert len(outline.all("h1")) == 1
    for part in ("header", "main", "footer"):
        assert len(outline.all(part)) == 1
    assert all(image["alt"] for image in outline.all("img"))
    assert all(header["scope"] in ("row", "col") for header in outline.all("th"))
    assert len(outline.all("caption")) == len(outline.all("table"))
    assert all(svg["role"] == "img" and "from 18.5 to 25.2" in (svg["aria-label"] or "") for svg in outline.all("svg"))
    scrolled = [div for div in outline.all("div") if div.get("class") == "scroll"]
    assert scrolled
    assert all(div["tabindex"] == "0" and div["role"] == "region" and div["aria-label"] for div in scrolled)
    names = [attributes["id"] for _, attributes in outline.elements if "id" in attributes]
    assert len(names) == len(set(names))


def test_text_is_escaped():
    made = [
        report.section(HOSTILE, report.paragraph(HOSTILE), report.command(HOSTILE)),
        report.table(HOSTILE, (HOSTILE,), [[HOSTILE, HOSTILE]]),
        report.facts({HOSTILE: HOSTILE}),
        report.headline_figures({HOSTILE: HOSTILE}),
        report.gallery(HOSTILE, [[(HOSTILE, IMAGE)]]),
        report.slider(HOSTILE, {HOSTILE: b"", "": b""}, [HOSTILE]),
        report.video(b"", HOSTILE, [[HOSTILE]]),
        charts.bar_chart(HOSTILE, {(HOSTILE, HOSTILE): (1.0, 2.0)}, (HOSTILE, HOSTILE), label=lambda _: HOSTILE),
        charts.line_chart(HOSTILE, {HOSTILE: [(0.0, 1.0)]}, across=HOSTILE),
    ]
    text = report.page(HOSTILE, HOSTILE, made, footer=HOSTILE).decode()
    assert HOSTILE not in text
    assert "<b>&" not in text
    found = Outline()
    found.feed(text)
    found.close()


def test_a_png_is_lossless():
    cv2 = pytest.importorskip("cv2")
    for image in (IMAGE, IMAGE[:1], IMAGE[:, 5:6]):
        decoded = cv2.imdecode(np.frombuffer(draw.encode_png(image), np.uint8), cv2.IMREAD_COLOR)
        assert np.array_equal(decoded[..., ::-1], image)


def test_pictures_of_the_slider_are_those_given(outline):
    pictures = [image for image in outline.all("img") if "data-label" in image]
    assert [image["data-label"] for image in pictures] == ["step 1", "step 5", "step 9"]
    contents = {base64.b64decode((image["src"] or "").partition(",")[2]) for image in pictures}
    assert contents == {draw.encode_png(IMAGE)}


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (18.5, 25.25, [18, 20, 22, 24, 26]),
        (-3, 3, [-4, -2, 0, 2, 4]),
        (0, 730, [0, 200, 400, 600, 800]),
    ],
)
def test_ticks_are_round_and_cover_the_values(low, high, expected):
    assert charts.ticks(low, high) == expected


def test_a_curve_of_one_value_can_be_drawn():
    assert "<polyline" in charts.line_chart("flat", {"total": [(5.0, 2.0)]})


def test_in_a_browser(page, tmp_path):
    """The video plays, the slider shows its labels, a phone needs no horizontal scrolling, nothing fails."""
    script = """JSON.stringify((() => {
        const video = document.querySelector("video"), slider = document.querySelector(".slider");
        const input = slider.querySelector("input");
        if (Number(input.value) !== 1) { input.value = 1; input.dispatchEvent(new Event("input")); }
        return {
            played: video.currentTime, pixels: video.videoWidth, error: video.error && video.error.message,
            label: slider.querySelector("output").textContent, said: input.getAttribute("aria-valuetext"),
            shown: [...slider.querySelectorAll("img")].filter(i => i.offsetHeight).map(i => i.dataset.label),
            unplayable: document.querySelector(".unplayable").offsetHeight,
            broken: [...document.images].filter(image => !image.naturalWidth && !image.hidden).length,
            wide: document.documentElement.scrollWidth - innerWidth,
            reachable: document.querySelectorAll("a[href], video[controls], input, [tabindex='0']").length,
        };
    })())"""
    found = json.loads(evaluate(page, script, width=360, folder=tmp_path))
    assert found["played"] > 0, found
    assert (found["pixels"], found["error"], found["broken"], found["unplayable"]) == (32, None, 0, 0)
    assert found["shown"] == ["step 5"]
    assert found["label"] == found["said"] == "step 5"
    assert found["wide"] <= 0
    assert found["reachable"] >= 5
