"""The results of a study: percentages with intervals, for participants who paid attention."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from internet.commands._shared.study.plan import CHECK, JND, REAL, S2S
from internet.evaluation.bootstrap import LEVEL, RESAMPLINGS
from internet.utils.errors import format_error

#: 95 % of a normal distribution lie within this many standard deviations.
DEVIATIONS = 1.959964


@dataclass(frozen=True)
class Participant:
    """A file of answers. answers: by the trial's name, the video that was chosen."""

    name: str
    answers: Mapping[str, str]


@dataclass(frozen=True)
class Share:
    """How often something was chosen in `count` answers, with its 95 % interval. Fractions, 0 to 1."""

    share: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Scores:
    """jnd: by method, how often its video was taken for the real one; one half is the best possible.

    s2s: by other method, how often ours was preferred to it. counted, left_out: participants, the latter with reasons.
    """

    jnd: dict[str, Share]
    s2s: dict[str, Share]
    counted: list[str]
    left_out: dict[str, str]


def read_key(path: Path) -> dict[str, Any]:
    """Read the key. Raises ValueError for any other file."""
    try:
        key = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(key["trials"], dict) or "ours" not in key:
            raise KeyError("trials")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"'{path}' is not the key of a study ({format_error(error)})") from error
    return dict(key)


def read_answers(path: Path, key: Mapping[str, Any]) -> Participant:
    """Read a file of answers to this study. Raises ValueError for any other file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        answers = {trial: answer["video"] for trial, answer in content["answers"].items()}
        study = content["study"], content["seed"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"'{path}' is not a file of answers ({format_error(error)})") from error
    if study != (key["study"], key["seed"]):
        raise ValueError(f"'{path}' answers the study '{study[0]}' of seed {study[1]}, not this one")
    for trial, video in answers.items():
        if trial not in key["trials"] or video not in key["trials"][trial]["videos"].values():
            raise ValueError(f"'{path}' answers the trial '{trial}' with '{video}', which this study does not have")
    return Participant(path.name, answers)


def score(key: Mapping[str, Any], participants: Sequence[Participant], allowed: int = 0) -> Scores:
    """Percentages over participants with at most `allowed` failed attention checks; one without an answer is failed."""
    counted, left_out = [], {}
    checks = [name for name, trial in key["trials"].items() if trial["kind"] == CHECK]
    for participant in participants:
        passed = [participant.answers.get(name) == key["trials"][name]["videos"][REAL] for name in checks]
        if passed.count(False) > allowed:
            left_out[participant.name] = f"{passed.count(False)} of {len(checks)} attention checks failed"
        else:
            counted.append(participant)
    fooled, preferred = _answers(key, counted, JND), _answers(key, counted, S2S)
    return Scores(
        {method: _share(votes) for method, votes in fooled.items()},
        {method: _share([[not vote for vote in one] for one in votes]) for method, votes in preferred.items()},
        [participant.name for participant in counted],
        left_out,
    )


def _answers(key: Mapping[str, Any], participants: Sequence[Participant], kind: str) -> dict[str, list[list[bool]]]:
    """By method other than the real one or ours, for each participant: whether it was chosen."""
    known = REAL if kind == JND else key["ours"]
    found: dict[str, list[list[bool]]] = {}
    for name, trial in key["trials"].items():
        if trial["kind"] == kind:
            (method,) = (method for method in trial["videos"] if method != known)
            votes = found.setdefault(method, [[] for _ in participants])
            for participant, own in zip(participants, votes, strict=True):
                if name in participant.answers:
                    own.append(participant.answers[name] == trial["videos"][method])
    return found


def _share(votes: Sequence[Sequence[bool]]) -> Share:
    """The share over all answers; the interval is the bootstrap's over participants, or Wilson's for only one."""
    groups = [(sum(one), len(one)) for one in votes if one]
    hits, count = (sum(column) for column in zip(*groups, strict=True)) if groups else (0, 0)
    if not count:
        return Share(math.nan, math.nan, math.nan, 0)
    interval = wilson_interval(hits, count) if len(groups) < 2 else _interval_over(groups)
    return Share(hits / count, *interval, count)


def _interval_over(groups: Sequence[tuple[int, int]], seed: int = 0) -> tuple[float, float]:
    """Resample participants, because a participant's answers are correlated."""
    table = np.array(groups, float)
    drawn = table[np.random.default_rng(seed).integers(len(table), size=(RESAMPLINGS, len(table)))].sum(1)
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def wilson_interval(hits: int, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a fraction (1927)."""
    share, z = hits / count, DEVIATIONS
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    reach = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(middle - reach, 0.0), min(middle + reach, 1.0)
