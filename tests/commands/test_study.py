"""`internet study`: from folders of videos to a page, answered in a browser, to the percentages."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from internet.cli import main
from internet.commands._shared.study.plan import CHECK, JND, REAL, S2S, Plan, make_plan
from internet.commands._shared.study.score import Participant, score, wilson_interval
from internet.commands._shared.study.videos import piece_of
from internet.data.clip import VideoClip
from internet.data.synthetic import numbered_clip
from internet.data.video import probe, read_frames
from tests.support.browser import evaluate as in_browser
from tests.support.clips import write_video

METHODS = ("real", "mine", "theirs", "others")


@pytest.fixture
def folders(tmp_path) -> dict[str, Path]:
    """Three clips for each method, of 20 frames at 10 per second; the level of red identifies the method."""
    places = {}
    for level, method in enumerate(METHODS):
        places[method] = tmp_path / method
        places[method].mkdir()
        for number in range(3):
            images = [image.copy() for image in numbered_clip(4, number, 64, frames=20, moving_background=0)]
            for image in images:
                image[:8, :8] = (60 * level, 0, 0)
            write_video(places[method] / f"clip{number}.mp4", images, fps=10)
    return places


def study(*words: object) -> int:
    return main(["study", *map(str, words)])


@pytest.fixture
def made(folders, tmp_path) -> Path:
    out = tmp_path / "study"
    words = ("--real", folders["real"], "--ours", f"mine={folders['mine']}", "--others")
    others = (f"theirs={folders['theirs']}", f"others={folders['others']}")
    assert study(*words, *others, "--out", out, "--size", 64, "--seconds", 1, 1.5, "--seed", 3) == 0
    return out


def test_what_is_made(made):
    """Each clip once in each experiment; pieces with the same frames; videos as listed in the key."""
    key = json.loads((made / "key.json").read_text())
    kinds = [trial["kind"] for trial in key["trials"].values()]
    assert (kinds.count(JND), kinds.count(S2S), kinds.count(CHECK)) == (3, 3, 2)
    for trial in key["trials"].values():
        lengths = set()
        for method, name in trial["videos"].items():
            path = made / "page" / "videos" / name
            lengths.add(probe(path).frames)
            if method in METHODS:
                red = int(read_frames(path, [0])[0][:8, :8, 0].mean())
                assert red == pytest.approx(60 * METHODS.index(method), abs=12), method
        assert len(lengths) == 1
        assert 10 <= lengths.pop() <= 15
    assert {m for t in key["trials"].values() if t["kind"] == S2S for m in t["videos"]} == {"mine", "theirs", "others"}


def test_the_page_tells_nothing(made):
    """Neither names nor sizes reveal which video is which."""
    page = (made / "page" / "index.html").read_text()
    assert all(method not in page for method in METHODS[1:])
    assert "http" not in page
    content = json.loads(page.split('id="study">')[1].split("</script>")[0])
    assert all(trial["videos"] == sorted(trial["videos"]) for trial in content["trials"])
    assert {trial["id"] for trial in content["trials"]} == set(json.loads((made / "key.json").read_text())["trials"])


def test_the_same_seed_makes_the_same_study():
    names = [f"c{number}" for number in range(20)]
    plans = [make_plan("x", "a", ["b", "c"], names, seed) for seed in (1, 1, 2)]
    assert plans[0] == plans[1]
    assert plans[0].key() != plans[2].key()
    jnd = [next(m for m in t.videos if m != REAL) for t in plans[0].trials if t.kind == JND]
    assert sorted(map(jnd.count, "abc")) == [6, 7, 7]
    assert sum(trial.kind == CHECK for trial in plans[0].trials) == 4


def test_a_short_clip_is_shown_whole(folders):
    clip = VideoClip(folders["real"] / "clip0.mp4")
    assert piece_of(clip, (3, 5), 0) == slice(0, 20)
    pieces = {piece_of(clip, (1, 1.5), seed).start for seed in range(30)}
    assert len(pieces) > 3


CLICKING = """(() => {
  const wanted = %s, at = name => document.getElementById(name);
  if (!at("welcome").hidden) { at("begin").click(); return "begun"; }
  if (!at("done").hidden) {
    const link = at("download");
    return JSON.stringify({ session, file: link.download, blob: link.href.startsWith("blob:"),
      progress: sessionStorage.progress, reloaded: sessionStorage.again, kept: localStorage.probe });
  }
  const answered = Object.keys(session.answers).length;
  if (answered === 3 && !sessionStorage.again) {
    sessionStorage.again = localStorage.probe = "yes";
    location.reload();
    return "reload";
  }
  const trial = trials[current], side = trial.shown.indexOf(wanted[trial.id]);
  if (!at("next").disabled) return "cannot go on before an answer";
  sessionStorage.progress = (sessionStorage.progress || "") + at("count").textContent + ";";
  const press = key => dispatchEvent(new KeyboardEvent("keydown", { key }));
  if (answered %% 2) { press("r"); press(side ? "ArrowRight" : "ArrowLeft"); press("Enter"); }
  else { press("Enter"); choices[1 - side].click(); choices[side].click(); at("next").click(); }
  return "answered";
})()"""


def test_a_whole_session_in_a_browser(made, tmp_path, capsys):
    """Answered by mouse and keyboard, reloaded in the middle, saved, and scored."""
    key = json.loads((made / "key.json").read_text())
    wanted = {
        name: trial["videos"][REAL if trial["kind"] == CHECK else "mine" if "mine" in trial["videos"] else "real"]
        for name, trial in key["trials"].items()
    }
    for attempt in range(3):
        place = tmp_path / f"open{attempt}"
        shutil.copytree(made / "page", place)
        end = json.loads(in_browser(place / "index.html", CLICKING % json.dumps(wanted), width=600, folder=place))
        if end.get("kept"):  # otherwise the browser lost its storage, as can happen on a busy machine
            break
    session = end["session"]
    assert {name: answer["video"] for name, answer in session["answers"].items()} == wanted
    assert end["blob"]
    assert end["file"] == f"answers-{session['participant']}.json"
    assert end["reloaded"] == "yes"
    assert end["progress"] == "".join(f"{number} of 8;" for number in range(1, 9))  # no trial was shown twice
    assert sum(answer["replays"] for answer in session["answers"].values()) >= 3
    assert session["finished"] >= session["begun"]
    saved = tmp_path / "answers.json"
    saved.write_text(json.dumps(session))
    capsys.readouterr()
    assert study("score", made / "key.json", saved) == 0
    table = capsys.readouterr().out
    methods = [next(m for m in t["videos"] if m != REAL) for t in key["trials"].values() if t["kind"] == JND]
    assert "JND: mine taken for real" in table if "mine" in methods else True
    assert "participants: 1 counted, 0 left out" in table
    assert all("100.0%" in line for line in table.splitlines() if line.startswith("S2S"))


def test_order_and_sides_depend_on_the_participant(made, tmp_path):
    """And on nothing else: the same seed gives the same plan."""
    shown = []
    for number, participant in enumerate((7, 7, 8)):
        place = tmp_path / f"open{number}"
        shutil.copytree(made / "page", place)
        page = (place / "index.html").read_text().replace("location.search", f"'?participant={participant}'")
        (place / "index.html").write_text(page)
        shown.append(
            in_browser(place / "index.html", "JSON.stringify(trials.map(t => t.shown))", width=600, folder=place)
        )
    assert shown[0] == shown[1] != shown[2]
    assert sorted(sorted(pair) for pair in json.loads(shown[0])) == sorted(sorted(p) for p in json.loads(shown[2]))


def plan_of(clips: int) -> Plan:
    return make_plan("x", "a", ["b"], [f"c{number}" for number in range(clips)], 0)


def answering(plan: Plan, name: str, fooled: int, preferred: int, checks: bool = True) -> Participant:
    """Takes the first `fooled` generated videos for real, and prefers ours in the first `preferred` trials."""
    answers, counts = {}, {JND: 0, S2S: 0}
    for trial in plan.trials:
        if trial.kind == CHECK:
            answers[trial.identity] = trial.videos[REAL if checks else "broken"]
            continue
        generated = next(method for method in trial.videos if method != REAL)
        counts[trial.kind] += 1
        if trial.kind == JND:
            answers[trial.identity] = trial.videos[generated if counts[JND] <= fooled else REAL]
        else:
            answers[trial.identity] = trial.videos["a" if counts[S2S] <= preferred else "b"]
    return Participant(name, answers)


def test_scores_by_hand():
    plan = plan_of(10)
    people = [
        answering(plan, "one", 10, 10),
        answering(plan, "two", 0, 5),
        answering(plan, "careless", 10, 0, checks=False),
    ]
    found = score(plan.key(), people)
    assert found.left_out == {"careless": "2 of 2 attention checks failed"}
    assert found.counted == ["one", "two"]
    total = sum(share.share * share.count for share in found.jnd.values())
    assert (total, sum(share.count for share in found.jnd.values())) == (10, 20)
    s2s = found.s2s["b"]
    assert (s2s.share, s2s.count) == (0.75, 20)
    assert (s2s.low, s2s.high) == (0.5, 1.0)  # resampling either of the two, or both
    everybody = score(plan.key(), people, allowed=2)
    assert everybody.s2s["b"].share == pytest.approx(15 / 30)
    nobody = score(plan.key(), [])
    assert math.isnan(nobody.s2s["b"].share)


def test_wilsons_interval_as_published():
    """Wilson's 8 of 10, as in Agresti & Coull (1998) and many tables."""
    assert wilson_interval(8, 10) == pytest.approx((0.490, 0.943), abs=1e-3)
    assert wilson_interval(0, 10)[0] == 0
    assert wilson_interval(10, 10)[1] == pytest.approx(1)
    share = score(plan_of(10).key(), [answering(plan_of(10), "one", 0, 8)]).s2s["b"]
    assert (share.low, share.high) == wilson_interval(8, 10)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--ours", "a=b", "--out", "x"), "--real: is needed"),
        (("--real", "r", "--ours", "a", "--out", "x"), "--ours: expected NAME=FOLDER"),
        (("--real", "r", "--ours", "real=a", "--out", "x"), "--ours: expected NAME=FOLDER"),
        (("--real", "r", "--ours", "a=b", "--others", "a=c", "--out", "x"), "--others: names must differ"),
        (("--real", "r", "--ours", "a=b", "--seconds", "5", "3", "--out", "x"), "--seconds: expected the least first"),
        (("--real", "missing", "--ours", "a=b", "--out", "x"), "'missing' does not exist"),
        (("score", "missing.json", "a.json"), "KEY: "),
    ],
)
def test_bad_arguments_are_named(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert study(*words) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_answers_must_be_to_this_study(made, tmp_path, capsys):
    answers = tmp_path / "a.json"
    for content, message in (
        ("[]", "is not a file of answers"),
        (json.dumps({"study": "other", "seed": 0, "answers": {}}), "answers the study 'other' of seed 0"),
        (json.dumps({"study": "A study of videos", "seed": 3, "answers": {"x": {"video": "y"}}}), "the trial 'x'"),
    ):
        answers.write_text(content)
        assert study("score", made / "key.json", answers) == 2
        assert message in capsys.readouterr().err
    assert study("score", answers, answers) == 2
    assert "is not the key of a study" in capsys.readouterr().err


def test_folders_must_have_the_same_clips(folders, tmp_path, capsys):
    shorter = [np.zeros((64, 64, 3), np.uint8)] * 19
    write_video(folders["mine"] / "clip1.mp4", shorter, fps=10)
    words = ("--real", folders["real"], "--ours", f"mine={folders['mine']}", "--out", tmp_path / "out")
    assert study(*words) == 2
    assert "'clip1' has different numbers of frames (real 20, mine 19)" in capsys.readouterr().err
    (folders["mine"] / "clip1.mp4").unlink()
    assert study(*words) == 2
    assert "must hold clips of the same names: 'clip1'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
