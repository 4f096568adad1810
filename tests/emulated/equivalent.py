"""Breaks of the CUDA sources that change no result, and why: breaks.py leaves them out."""

EQUIVALENT = {
    ("affine_mixture/tile.h", " + 1) {}"): "the pitch is odd so that a warp spreads over the banks: only speed",
    ("anchor_features/backward.cu", " && p.to_anchors && (anchor > 0"): "computes a gradient that nobody asked for",
    ("anchor_features/samples.h", " < channels; first += n"): "what is past the last channel is skipped",
    ("confidence_warp/forward.cu", " < threads; first += pixels_at_once"): "what is past the last pixel is skipped",
    ("confidence_warp/sampling_transpose.cu", " < count; half *= 2"): "merges a range that is whole with nothing",
    ("confidence_warp/sampling_transpose.cu", " < (int64_t(count) + 2 * half)"): "pairs beyond the end are skipped",
    ("confidence_warp/tile_readers.h", " < most; ++k) {\n    if (threadIdx"): "there are no more readers than that",
    ("flow_confidence/kernels.cu", "stride[3] == 1 && p.width % run"): "loads one by one, where vectors would do",
    ("runtime/glue.h", "return;\n  const size_t bytes"): "no bytes are filled",
    ("runtime/offsets.h", " < most;"): "the limit is not sharp: twice as many would fit",
    ("scatter/gradient_sums.cu", " < S(INFINITY)"): "one more than infinity is infinity",
    ("scatter/gradient_sums.cu", " < fixed_point_not_finite / 2"): "no sum is this large without being that of NaN",
    ("scatter/scattered_gradient.h", " && deterministic)"): "adds in fixed point where nobody asked for it",
    ("soft_argmax/backward.cu", " >= by.lanes || place.row"): "lanes left over write what the next block writes, too",
    ("soft_argmax/runs.h", " && entries == 4 && component"): "inside of what is compiled for four entries alone",
    ("soft_argmax/tiles.h", "stride[1] < in.logits.stride[4]"): "every arrangement serves every layout",
    ("soft_argmax/tiles.h", " && in.anchors > 1"): "one anchor has one column in any case",
    ("soft_argmax/tiles.h", " && !anchors_in_turn"): "threads of a lane compute and write the same",
}
"""By file, and by the source from the break on."""


def is_equivalent(path: str, source: str) -> bool:
    """Whether a break has no effect, given its file and the source from the break on."""
    return any(path.endswith(file) and source.startswith(start) for file, start in EQUIVALENT)
