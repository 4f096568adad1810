"""The demo's results as a page."""

from internet.commands._shared.demo.animation import LABELS, Animation
from internet.commands._shared.demo.results import Results, milliseconds, times
from internet.commands._shared.metric_labels import METRICS
from internet.comparison.frames import FrameSpeed
from internet.comparison.operators import OperatorSpeed
from internet.visualization import charts, report


def render(results: Results, video: bytes | None, command: str) -> bytes:
    """report.html.

    Args:
        results: of the acts.
        video: the animation, an MP4 file, or None.
        command: that runs the demo again; with `--only ACT` it runs one act.
    """
    sections = []
    if results.notes:
        sections.append(report.section("Before you read on", *map(report.paragraph, results.notes)))
    if results.operators is not None:
        sections.append(_operators(results.operators, f"{command} --only operators"))
    if results.animation is not None and video is not None:
        sections.append(_animation(results.animation, video, f"{command} --only animation"))
    if results.frames is not None:
        sections.append(_frames(results.frames, f"{command} --only frames"))
    sections.append(report.section("The machine", report.facts(results.machine)))
    return report.page(
        "Fused operators, and a figure that moves", _lead(results), sections, footer=f"Made by {command}"
    )


def _lead(results: Results) -> str:
    said = "internet has fused operators for what motion-transfer networks do between their convolutions."
    if results.operators is not None and results.fused:
        ratios = [speed.both_ratio for speed in results.operators]
        said += (
            f" On this machine, forward and backward, they are {times(min(ratios))} to {times(max(ratios))} faster "
            "than the same formulas in eager PyTorch."
        )
    return said


def _operators(speeds: list[OperatorSpeed], command: str) -> str:
    bars = {(speed.operator, speed.shape): (speed.forward_ratio, speed.both_ratio) for speed in speeds}
    headings = ("operator", "fused, forward", "eager, forward", "fused, both", "eager, both", "largest difference")
    rows = [[s.operator, *map(milliseconds, (*s.forward, *s.both)), f"{s.disagreement:.0e}"] for s in speeds]
    return report.section(
        "1. The operators",
        report.paragraph(
            "Five operators at the sizes of the paper's model, float32. Eager is the usual PyTorch code: grids, local "
            "motions and warped features, one tensor after the other. A fused operator reads each input once and "
            "writes each output once, and its backward pass recomputes what eager code stores."
        ),
        charts.bar_chart(
            "How many times faster than eager PyTorch. Medians of interleaved runs in one process.",
            bars,
            ("forward", "forward + backward"),
            label=times,
        ),
        report.table(
            "The times behind the bars; both: forward and backward. The difference between the two results is relative "
            "to the largest value.",
            headings,
            rows,
        ),
        report.command(command),
    )


def _animation(animation: Animation, video: bytes, command: str) -> str:
    metrics = animation.metrics
    rows = [[label, f"{metrics[name]:.3f}", f"{metrics[idle]:.3f}"] for label, name, idle in METRICS]
    return report.section(
        "2. A figure that moves",
        report.paragraph(
            "A model animates the first frame of a drawn clip with the poses of the others. It was not trained on this "
            "figure, and nothing is trained here."
        ),
        report.video(video, f"The {animation.title}: what goes in, what comes out, and how it was made.", LABELS),
        report.table(
            "How close the output is to the true frames, compared with repeating the source",
            ("", "animated", "source, repeated"),
            rows,
        ),
        report.gallery(
            "Four of the frames. The dots are the motion anchors; confidence is white where the warped source is "
            "reliable; each region has the colour of the anchor that moves it.",
            animation.rows,
        ),
        report.command(command),
    )


def _frames(speed: FrameSpeed, command: str) -> str:
    return report.section(
        "3. The whole model",
        report.paragraph(
            "The same model, streaming: the source's features are computed once, then frame after frame. The rest is "
            f"nearly all convolutions, the same on both sides, so the whole model is {times(speed.ratio)} as fast and "
            "could not be much faster."
        ),
        report.headline_figures(
            {
                "frames per second, fused": f"{1 / speed.seconds:.1f}",
                "frames per second, eager": f"{1 / speed.eager_seconds:.1f}",
                "operators' share of a fused frame": f"{speed.share:.1%}",
                "operators' share of an eager frame": f"{speed.eager_share:.1%}",
            }
        ),
        report.command(command),
    )
