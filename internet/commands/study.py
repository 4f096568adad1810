"""`internet study`: a user study of generated videos as a static page, and its percentages."""

import argparse
import json
import math
from pathlib import Path
from typing import Any

from internet.commands._shared.arguments import ArgumentError, argument_errors, at_least, positive
from internet.commands._shared.study.page import render
from internet.commands._shared.study.plan import BROKEN, REAL, S2S, Plan, make_plan
from internet.commands._shared.study.score import Share, read_answers, read_key, score
from internet.commands._shared.study.videos import check_lengths, matching_clips, piece_of, write_piece, write_videos
from internet.commands._shared.text_table import text_table
from internet.data.clip import Clip
from internet.data.image import to_array
from internet.evaluation.pairs import clip_frames
from internet.utils.files import atomic_write, output_folder
from internet.visualization import draw

PAGE, VIDEOS, KEY = "page", "videos", "key.json"


def add_parser(subparsers: Any) -> None:
    """Add `study` to the command line."""
    parser = subparsers.add_parser(
        "study",
        help="create a user study as a page, and score it",
        description="Create the paper's user study (Table 1) from folders of videos with equal names: which of two is "
        "real (JND), and which of two generated ones is better (S2S). The folder page/ can be opened or put on any web "
        "server; it sends nothing, and participants save their answers as a file. key.json says which video is which: "
        "keep it. "
        "`internet study score key.json answers...` gives the percentages.",
    )
    parser.add_argument("--real", metavar="FOLDER", help="the real videos")
    parser.add_argument("--ours", metavar="NAME=FOLDER", help="the method that is compared with the others")
    parser.add_argument("--others", nargs="+", default=[], metavar="NAME=FOLDER", help="the other methods")
    parser.add_argument(
        "--sources",
        metavar="FOLDER",
        help="for S2S, videos whose first frames are the source pictures (default: the real ones)",
    )
    parser.add_argument("--driving", metavar="FOLDER", help="for S2S, the driving videos (default: the real ones)")
    parser.add_argument("--title", default="A study of videos", help="the title that participants see")
    parser.add_argument(
        "--seconds",
        nargs=2,
        type=positive,
        default=(3.0, 5.0),
        metavar=("LEAST", "MOST"),
        help="of a video (default: 3 5)",
    )
    parser.add_argument("--size", type=at_least(16), default=512, metavar="S", help="side of the videos (default: 512)")
    parser.add_argument("--seed", type=at_least(0), default=0, metavar="N", help="of the random choices (default: 0)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="a new or empty folder")
    parser.add_argument("--overwrite", action="store_true", help="write into a folder that is not empty")
    actions = parser.add_subparsers(dest="action", metavar="[score]")
    scoring = actions.add_parser("score", help="the percentages of a study", description="The percentages of a study.")
    scoring.add_argument("key", type=Path, metavar="KEY", help="the study's key.json")
    scoring.add_argument("answers", type=Path, nargs="+", metavar="ANSWERS", help="files that participants saved")
    scoring.add_argument(
        "--failed-checks",
        type=at_least(0),
        default=0,
        metavar="N",
        help="attention checks that may be failed (default: 0)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command; bad input raises an error that names the argument."""
    return _score(args) if args.action == "score" else _make(args)


def _make(args: argparse.Namespace) -> int:
    if missing := [f"--{name}" for name in ("real", "ours", "out") if getattr(args, name) is None]:
        raise ArgumentError(f"{missing[0]}: is needed to create a study")
    least, most = args.seconds
    if least > most:
        raise ArgumentError(f"--seconds: expected the least first, got {least:g} and {most:g}")
    if args.size % 2:
        raise ArgumentError(f"--size: expected an even number, as videos have no odd sizes, got {args.size}")
    ours, others = _named("--ours", args.ours), dict(_named("--others", word) for word in args.others)
    folders = {REAL: args.real, ours[0]: ours[1], **others}
    if len(folders) != 2 + len(args.others):
        raise ArgumentError(f"--others: names must differ from each other, from '{ours[0]}' and from '{REAL}'")
    with argument_errors("--real, --ours, --others"):
        clips = matching_clips(folders)
        check_lengths(clips)
    plan = make_plan(args.title, ours[0], list(others), list(clips), args.seed)
    with argument_errors("--out"):
        folder = output_folder(args.out, overwrite=args.overwrite)
    page = folder / PAGE
    (page / VIDEOS).mkdir(parents=True, exist_ok=True)
    write_videos(plan, clips, (least, most), page / VIDEOS, args.size)
    references = _references(args, plan, clips, page)
    atomic_write(page / "index.html", render(plan, references))
    atomic_write(folder / KEY, json.dumps(plan.key(), indent=1).encode())
    short = sum(clip[REAL].times[-1] < least for clip in clips.values())
    if short:
        print(f"{short} of {len(clips)} clips are shorter than {least:g} s and are shown whole")
    kinds = [trial.kind for trial in plan.trials]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    print(f"{page / 'index.html'}: {len(kinds)} trials ({counts}): open it, or publish the folder {page}")
    print(f"{folder / KEY}: which video is which: keep it for `internet study score`")
    return 0


def _named(argument: str, word: str) -> tuple[str, str]:
    name, equals, folder = word.partition("=")
    if not name or not equals or not folder or name in (REAL, BROKEN):
        raise ArgumentError(f"{argument}: expected NAME=FOLDER, the name not '{REAL}' or '{BROKEN}', got '{word}'")
    return name, folder


def _references(
    args: argparse.Namespace, plan: Plan, clips: dict[str, dict[str, Clip]], page: Path
) -> dict[str, tuple[str, str]]:
    """For each clip of an S2S trial, the source picture and the driving video, as files of the page."""
    wanted = {trial.clip for trial in plan.trials if trial.kind == S2S}
    places = {name: getattr(args, name) or args.real for name in ("sources", "driving")}
    with argument_errors("--sources, --driving"):
        found = matching_clips({REAL: args.real, **places})
    files = {}
    for number, name in enumerate(sorted(wanted)):
        source, driving = f"source-{number:03d}.png", f"videos/driving-{number:03d}.mp4"
        picture = next(clip_frames(found[name]["sources"], args.size))
        atomic_write(page / source, draw.encode_png(to_array(picture)))
        piece = piece_of(clips[name][REAL], tuple(args.seconds), args.seed)
        write_piece(found[name]["driving"], piece, page / driving, args.size)
        files[name] = (source, driving)
    return files


def _score(args: argparse.Namespace) -> int:
    with argument_errors("KEY"):
        key = read_key(args.key)
    with argument_errors("ANSWERS"):
        participants = [read_answers(path, key) for path in args.answers]
    found = score(key, participants, args.failed_checks)
    rows = [[f"JND: {method} taken for real", *_cells(share)] for method, share in found.jnd.items()]
    rows += [[f"S2S: {key['ours']} preferred to {method}", *_cells(share)] for method, share in found.s2s.items()]
    print(text_table(["", "", "95 % interval", "answers"], rows))
    print(f"participants: {len(found.counted)} counted, {len(found.left_out)} left out")
    for name, why in found.left_out.items():
        print(f"  {name}: {why}")
    return 0


def _cells(share: Share) -> list[str]:
    if math.isnan(share.share):
        return ["–", "–", "0"]
    return [f"{share.share:.1%}", f"{share.low:.1%} to {share.high:.1%}", str(share.count)]
