"""The page of a study: trials and the script that presents them. It needs no server and sends nothing."""

import json
from collections.abc import Mapping
from html import escape
from importlib import resources
from typing import Any

from internet.commands._shared.study.plan import QUESTIONS, S2S, Plan, Trial


def render(plan: Plan, references: Mapping[str, tuple[str, str]]) -> bytes:
    """index.html, UTF-8.

    Args:
        plan: the trials; the page does not contain which video is which.
        references: by clip, the files of the source picture and of the driving video, for S2S.
    """
    files = resources.files("internet.visualization") / "page"
    names = ("style.css", "study.css", "study.js")
    style, look, script = ((files / name).read_text(encoding="utf-8") for name in names)
    trials = [_shown(trial, references) for trial in plan.trials]
    content = json.dumps({"study": plan.study, "seed": plan.seed, "trials": trials}).replace("<", "\\u003c")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(plan.study)}</title>
<link rel="icon" href="data:,">
<style>
{style}{look}</style>
</head>
<body>
<header><h1>{escape(plan.study)}</h1></header>
<main id="main">
<section id="welcome">
<p>You will see {len(trials)} pairs of short videos and answer a question about each. Take your time; you may play
them as often as you like. Nothing is sent anywhere: at the end you save your answers as a file.</p>
<p>Keys: <kbd>←</kbd> or <kbd>1</kbd> the left one, <kbd>→</kbd> or <kbd>2</kbd> the right one, <kbd>R</kbd> to
play both again, <kbd>Enter</kbd> to continue.</p>
<button id="begin">Begin</button>
</section>
<section id="trial" hidden aria-live="polite">
<p class="count"><span id="count"></span><progress id="progress" value="0" max="{len(trials)}"></progress></p>
<h2 id="question"></h2>
<div id="reference" hidden>
<figure><img id="source" alt="the person"><figcaption>the person</figcaption></figure>
<figure><video id="driving" muted loop playsinline></video><figcaption>the reference motion</figcaption></figure>
</div>
<div class="pair">
<button class="choice" aria-pressed="false"><video muted loop playsinline></video><span>left</span></button>
<button class="choice" aria-pressed="false"><video muted loop playsinline></video><span>right</span></button>
</div>
<p><button id="replay">Play again</button> <button id="next" disabled>Next</button></p>
</section>
<section id="done" hidden>
<h2>Thank you</h2>
<p>Save your answers and send the file to the person who asked you.</p>
<p><a id="download" class="button" download="answers.json">Save the answers</a></p>
</section>
</main>
<script type="application/json" id="study">{content}</script>
<script>
{script}</script>
</body>
</html>
""".encode()


def _shown(trial: Trial, references: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """The part of a trial that the page contains."""
    known: dict[str, Any] = {
        "id": trial.identity,
        "question": QUESTIONS[trial.kind],
        "videos": sorted(trial.videos.values()),
    }
    if trial.kind == S2S:
        known["source"], known["driving"] = references[trial.clip]
    return known
