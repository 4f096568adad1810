"""Self-contained HTML pages: style, script, pictures and videos are all in one file.

A page is a title and sections; a section is a heading and blocks, each made by a function of this module that returns
HTML. All text is escaped here. Pages follow the reader's light or dark theme, work with a keyboard, in a screen reader
and on a phone, and load nothing from elsewhere.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources

import numpy as np

from internet.visualization import draw

Panel = tuple[str, np.ndarray]


def page(title: str, lead: str, sections: Sequence[str], *, footer: str = "") -> bytes:
    """A whole page, UTF-8.

    Args:
        title: of the window and of the page.
        lead: a sentence or two below it.
        sections: made by :func:`section`.
        footer: a last line.
    """
    files = resources.files("internet.visualization") / "page"
    style, script = ((files / name).read_text(encoding="utf-8") for name in ("style.css", "script.js"))
    document = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>
{style}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the results</a>
<header>
<h1>{escape(title)}</h1>
<p class="lead">{escape(lead)}</p>
</header>
<main id="main" tabindex="-1">
{_lines(sections)}
</main>
<footer><p>{escape(footer)}</p></footer>
<script>
{script}</script>
</body>
</html>
"""
    return document.encode()


def section(heading: str, *blocks: str) -> str:
    """A part of the page."""
    return f"<section>\n<h2>{escape(heading)}</h2>\n{_lines(blocks)}\n</section>"


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{escape(text)}</p>"


def command(line: str) -> str:
    """A command to copy."""
    return f"<pre><code>{escape(line)}</code></pre>"


def headline_figures(figures: Mapping[str, str]) -> str:
    """A few large numbers, each with its name below."""
    items = (f"<div><dt>{escape(label)}</dt><dd>{escape(value)}</dd></div>" for label, value in figures.items())
    return f'<dl class="figures">\n{_lines(items)}\n</dl>'


def facts(values: Mapping[str, str]) -> str:
    """Names and values in two columns."""
    items = (f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in values.items())
    return f'<dl class="facts">\n{_lines(items)}\n</dl>'


def table(caption: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells of text; the first of each row is its heading."""
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
    body = (
        f'<tr><th scope="row">{escape(first)}</th>' + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
        for first, *cells in rows
    )
    return _scrollable(
        caption,
        f"<table>\n<caption>{escape(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{_lines(body)}\n</tbody>\n</table>",
    )


def video(content: bytes, caption: str, labels: Sequence[Sequence[str]] = ()) -> str:
    """An H.264 video, playing in the page.

    Args:
        content: an MP4 file.
        caption: what is seen.
        labels: names of the pictures side by side in the video, for each row of them.
    """
    above, below = (_labels(row) for row in (labels[:1], labels[1:]))
    return (
        f'<figure>{above}<video controls loop muted playsinline aria-label="{escape(caption)}">'
        f'<source src="{_data_uri("video/mp4", content)}" type="video/mp4"></video>'
        f'{below}<p class="unplayable" hidden>This browser does not play H.264 video.</p>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _labels(rows: Sequence[Sequence[str]]) -> str:
    """A line of labels for each row of pictures."""
    return "".join(
        f'<div class="labels">{"".join(f"<span>{escape(label)}</span>" for label in row)}</div>' for row in rows
    )


def gallery(caption: str, rows: Sequence[Sequence[Panel]]) -> str:
    """Rows of titled images of one size."""
    columns = max(len(row) for row in rows)
    items = (
        f"<figure>{_image(title, image)}<figcaption>{escape(title)}</figcaption></figure>"
        for row in rows
        for title, image in row
    )
    grid = f'<div class="gallery" style="--columns: {columns}">\n{_lines(items)}\n</div>'
    return f"<figure>{_scrollable(caption, grid)}<figcaption>{escape(caption)}</figcaption></figure>"


def slider(caption: str, pictures: Mapping[str, bytes], labels: Sequence[str] = ()) -> str:
    """One of several PNG pictures, selected by a slider that starts at the last one.

    Args:
        caption: what the pictures show.
        pictures: PNG files by their labels on the slider, in order.
        labels: names of what is side by side in every picture.
    """
    images = (
        f'<img src="{_data_uri("image/png", content)}" alt="{escape(caption)}: {escape(label)}" '
        f'data-label="{escape(label)}"{" hidden" if number < len(pictures) - 1 else ""}>'
        for number, (label, content) in enumerate(pictures.items())
    )
    last = len(pictures) - 1
    return (
        f'<figure class="slider">\n{_labels([labels] if labels else [])}{_lines(images)}\n'
        f'<label>Shown: <output></output><input type="range" min="0" max="{last}" value="{last}" step="1"></label>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def plots(charts: Sequence[str]) -> str:
    """Line charts (:func:`internet.visualization.charts.line_chart`) side by side."""
    return f'<div class="plots">\n{_lines(charts)}\n</div>'


def _image(alt: str, image: np.ndarray) -> str:
    height, width, _ = image.shape
    content = _data_uri("image/png", draw.encode_png(image))
    return f'<img src="{content}" alt="{escape(alt)}" width="{width}" height="{height}">'


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _scrollable(label: str, content: str) -> str:
    """Content that may be wider than the screen: it scrolls separately, also with a keyboard."""
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(label)}">{content}</div>'


def _lines(parts: Iterable[str]) -> str:
    return "\n".join(parts)
