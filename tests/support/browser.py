"""A page in a real headless browser: Chromium, if it is installed."""

import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_browser() -> str:
    """The browser's path; skips the test if there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    return found or pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")


def evaluate(page: Path, script: str, *, width: int, folder: Path) -> str:
    """The result of a script on a page that has been open for some seconds in a window of this width.

    The script's value becomes the title of an outer page, whose frame holds the page: windows themselves have a least
    width. Time is virtual: the seconds pass as fast as the machine can.

    Args:
        page: an HTML file.
        script: a JavaScript expression, evaluated repeatedly in the page.
        width: of the window in pixels.
        folder: for the files of the browser.
    """
    inner, outer = folder / "inner.html", folder / "outer.html"
    report = f'<script>setInterval(() => parent.postMessage(String({script}), "*"), 50)</script>'
    inner.write_text(page.read_text(encoding="utf-8").replace("</body>", report + "</body>"), encoding="utf-8")
    outer.write_text(
        f'<body style="margin: 0"><iframe src="inner.html" style="border: 0; width: {width}px; height: 800px"></iframe>'
        "<script>onmessage = event => { document.title = event.data; }</script>"
    )
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")
    command = [find_browser(), *flags, f"--user-data-dir={folder / 'profile'}", f"--window-size={max(width, 500)},800"]
    command += ["--virtual-time-budget=3000", "--dump-dom", outer.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    found = re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)
    assert found, f"the page said nothing:\n{done.stdout[:1000]}\n{done.stderr[-2000:]}"
    return unescape(found[1])
