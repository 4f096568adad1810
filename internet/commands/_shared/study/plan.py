"""The trials of a study: which videos are shown side by side, and the key to which is which."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

#: Kinds of trials: the paper's two experiments, and attention checks.
JND, S2S, CHECK = "jnd", "s2s", "check"
REAL, BROKEN = "real", "broken"

QUESTIONS = {
    JND: "Which of the two is the real video?",
    S2S: "Which of the two shows the person in the picture, moving as in the reference, better?",
    CHECK: "Which of the two is the real video?",
}

#: How many other trials there are for each attention check, and the least number of checks.
CHECK_EVERY, FEWEST_CHECKS = 10, 2


@dataclass(frozen=True)
class Trial:
    """Two videos of one clip. videos: names of files by method; the page contains only the names."""

    kind: str
    clip: str
    videos: Mapping[str, str]

    @property
    def identity(self) -> str:
        """Its name in answers, which reveals nothing about its content."""
        return hashlib.sha256("/".join([self.kind, *sorted(self.videos.values())]).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Plan:
    """All trials. study: its name. ours: the method that S2S compares with the others. seed: of the random choices."""

    study: str
    ours: str
    seed: int
    trials: Sequence[Trial] = field(default_factory=list)

    def key(self) -> dict[str, Any]:
        """The information for scoring, which participants must not see."""
        trials = {
            trial.identity: {"kind": trial.kind, "clip": trial.clip, "videos": dict(trial.videos)}
            for trial in self.trials
        }
        return {"study": self.study, "ours": self.ours, "seed": self.seed, "trials": trials}


def file_name(seed: int, clip: str, method: str) -> str:
    """The name of a video's file: the same for the same seed, and revealing nothing."""
    return hashlib.sha256(f"{seed}/{clip}/{method}".encode()).hexdigest()[:16] + ".mp4"


def make_plan(study: str, ours: str, others: Sequence[str], clips: Sequence[str], seed: int) -> Plan:
    """One JND and one S2S trial for each clip, and attention checks.

    The method of a JND trial and the other method of an S2S trial are chosen at random, each about equally often.

    Args:
        study: its name.
        ours, others: the methods; others may be empty: then there is no S2S.
        clips: their names.
        seed: of the random choices, and of the files' names.
    """
    random = np.random.default_rng(seed)
    trials = []
    for clip, method in zip(clips, _balanced(random, [ours, *others], len(clips)), strict=True):
        trials.append(_trial(JND, clip, (REAL, method), seed))
    for clip, method in zip(clips, _balanced(random, others, len(clips)), strict=False):
        trials.append(_trial(S2S, clip, (ours, method), seed))
    checks = min(max(FEWEST_CHECKS, len(trials) // CHECK_EVERY), len(clips))
    for number in random.permutation(len(clips))[:checks]:
        trials.append(_trial(CHECK, clips[number], (REAL, BROKEN), seed))
    return Plan(study, ours, seed, trials)


def _trial(kind: str, clip: str, methods: Sequence[str], seed: int) -> Trial:
    return Trial(kind, clip, {method: file_name(seed, clip, method) for method in methods})


def _balanced(random: np.random.Generator, methods: Sequence[str], count: int) -> list[str]:
    """`count` methods in random order, each about equally often."""
    rounds = [random.permutation(len(methods)) for _ in range(-(-count // len(methods)))] if methods else []
    return [methods[number] for order in rounds for number in order][:count]
