"""Breaks of the CUDA sources that change no result, and why: breaks.py leaves them out."""

EQUIVALENT = {
    ("affine_mixture/tile.h", " >= warp_size; threads"): "scratch serves where the smallest tile would",
    ("confidence_warp/forward.cu", " < threads; first += pixels_at_once"): "what is past the last pixel is skipped",
    ("confidence_warp/sampling_transpose.cu", " < (count + 2 * half)"): "pairs beyond the end are skipped",
    ("confidence_warp/sampling_transpose.cu", " < count; half *= 2"): "merges a range that is whole with nothing",
    ("flow_confidence/kernels.cu", "stride[3] == 1 && p.width % run"): "loads one by one, where vectors would do",
    ("masked_backwarp_loss/backward.cu", " && fits_32_bits(p.grad_target"): "dense, and so no larger than the target",
    ("masked_backwarp_loss/backward.cu", " && fits_32_bits(p.sums"): "dense, and so no larger than the output",
    ("masked_backwarp_loss/pixel.h", " < int64_t(1) << 30 && fits"): "the limit is not sharp: twice as many would fit",
    ("runtime/glue.h", "return;\n  const size_t bytes"): "no bytes are filled",
    ("runtime/offsets.h", " < most;"): "the limit is not sharp: twice as many would fit",
    ("runtime/offsets.h", " >= most || stride"): "the limit is not sharp: twice as many would fit",
    ("runtime/pixel_tiles.h", "stride[1] == 1;"): "loads value by value, where vectors would do",
    ("scatter/gradient_sums.cu", " < S(INFINITY)"): "one more than infinity is infinity",
    ("scatter/gradient_sums.cu", " < fixed_point_not_finite / 2"): "no sum is this large without being that of NaN",
    ("scatter/gradient_sums.cu", " < p.pixels) ++pixel_bits"): "room for twice as many terms",
    ("scatter/scattered_gradient.h", " && deterministic)"): "adds in fixed point where nobody asked for it",
    ("scatter/warp_scatter.h", " && s.after, merge"): "adds zero to voxels that are read in any case",
    ("scatter/warp_scatter.h", " && threadIdx.x % warp_size != 0"): "the first lane is no neighbour of itself",
    ("soft_argmax/covariance.cu", " < N; ++i) {\n#pragma unroll\n    for (int j = i"): "the inner loop is empty then",
    ("soft_argmax/tiles.h", " < in.by.lanes && anchor"): "nobody reads the sums of lanes left over",
    ("volume_warp/backward.cu", " && s.south) sums.add(at.se"): "adds zero to a voxel that is read in any case",
}
"""By file, and by the source from the break on."""


def is_equivalent(path: str, source: str) -> bool:
    """Whether a break has no effect, given its file and the source from the break on."""
    return any(path.endswith(file) and source.startswith(start) for file, start in EQUIVALENT)
