// The loss and its gradients, in one pass over the rows, without storing intermediate images.
//
// The gradient of the output image is a scatter: each sample adds to the four pixels it was interpolated
// from. So that no two threads write to the same pixel, a task owns a band of the image's rows. From top to
// bottom, it walks the rows of the flow that read its band, and its own rows. It adds only to its own band,
// and stores the other results only for its own rows. A row near the edge of a band is computed by both
// neighbours. Every pixel receives its contributions in the order of the samples, whatever the bands and the
// threads.
#include "cpu/masked_backwarp_loss/mask.h"
#include "cpu/masked_backwarp_loss/scatter.h"
#include "cpu/masked_backwarp_loss/source.h"
#include "cpu/runtime/denormals.h"

namespace internet::cpu::INTERNET_ISA {
namespace {

using namespace backwarp;

// What is computed for a row.
enum class Pass { loss, gradients, gradients_and_slopes };

// From the samples of up to four channels to their penalties, and the gradients with respect to the samples,
// the target, the mask and (with slopes) the flow. The sums over channels continue from the previous block.
template <Penalty P, Pass pass, Padding padding, class S>
void residuals(Chunk<S>& c, int64_t count, int channels, S grad_scale, bool first_block) {
  constexpr int N = native_lanes<S>, n = Chunk<S>::n;
  using V = Native<S>;
  const V zero = splat<V>(0);
  constexpr bool border = padding == Padding::border, valid = padding == Padding::valid;
  auto sum_so_far = [&](const S* sum) { return first_block ? zero : load<N>(sum); };
  for (int64_t i = 0; i < count; i += N) {
    const auto reads = border ? zero == zero : load<N>(c.reads + i) != zero;
    const V mask = load<N>(c.mask + i);
    V loss = zero, grad = zero, grad_mask = zero, grad_x = zero, grad_y = zero;
    if constexpr (pass != Pass::loss) grad = load<N>(c.grad_loss + i) * grad_scale;
    for (int ch = 0; ch < channels; ++ch) {
      const V difference = select(reads, load<N>(c.value + ch * n + i), zero) - load<N>(c.target[ch] + i);
      loss += math::penalty<P>(difference * mask);
      if constexpr (pass != Pass::loss) {
        auto d = math::residual_gradient<P>(difference, mask, grad);
        if (valid) d = {select(reads, d.sample, zero), select(reads, d.mask, zero)};
        if (c.grad_target[ch] != nullptr) store<N>(c.grad_target[ch] + i, -d.sample);
        d.sample = select(reads, d.sample, zero);  // where nothing was read, the gradient is zero
        store<N>(c.sample + ch * n + i, d.sample);
        grad_mask += d.mask;
        if constexpr (pass == Pass::gradients_and_slopes) {
          grad_x += d.sample * load<N>(c.slope_x + ch * n + i);
          grad_y += d.sample * load<N>(c.slope_y + ch * n + i);
        }
      }
    }
    if (valid) loss = select(reads, loss, zero);
    store<N>(c.loss + i, sum_so_far(c.loss + i) + loss);
    if constexpr (pass != Pass::loss) store<N>(c.grad_mask + i, sum_so_far(c.grad_mask + i) + grad_mask);
    if constexpr (pass == Pass::gradients_and_slopes) {
      const auto moves_x = border ? load<N>(c.moves_x + i) != zero : reads;
      const auto moves_y = border ? load<N>(c.moves_y + i) != zero : reads;
      store<N>(c.grad_flow_x + i, sum_so_far(c.grad_flow_x + i) + select(moves_x, grad_x, zero));
      store<N>(c.grad_flow_y + i, sum_so_far(c.grad_flow_y + i) + select(moves_y, grad_y, zero));
    }
  }
}

// Calls f with `value`, which is one of Candidates, as a compile-time constant.
template <auto... Candidates, class E, class F>
void with_constant(E value, F f) {
  ((value == Candidates ? f(std::integral_constant<E, Candidates>()) : void()), ...);
}

template <Pass pass, class T, class S = opmath<T>>
void residuals_of(Chunk<S>& c, const BackwarpInputs<T>& in, int64_t count, int channels, S grad_scale,
                  bool first_block) {
  with_constant<Penalty::l1, Penalty::l2, Penalty::charbonnier>(in.norm, [&](auto norm) {
    with_constant<Padding::border, Padding::zeros, Padding::valid>(in.padding, [&](auto padding) {
      residuals<norm(), pass, padding()>(c, count, channels, grad_scale, first_block);
    });
  });
}

// The sum of `count` values, in memory that has room for whole vectors.
template <class S>
S sum_of(S* values, int64_t count) {
  constexpr int N = native_lanes<S>;
  for (int64_t i = count; i < whole_vectors<S>(count); ++i) values[i] = 0;
  Native<S> sum = splat<Native<S>>(0);
  for (int64_t i = 0; i < count; i += N) sum += load<N>(values + i);
  return sum_of_lanes<N>(sum);
}

// Where `count` values are computed: in place, or in a buffer to be copied from.
template <class S>
S* line_or_copy(S* memory, int64_t count, S* copy) {
  return memory != nullptr && whole_vectors<S>(count) == count ? memory : copy;
}
template <class S>
void store_line(S* memory, const S* line, int64_t count) {
  if (memory != nullptr && memory != line) std::copy_n(line, count, memory);
}

// The state of a thread while it does its tasks.
template <class T>
class BandLoss {
  using S = opmath<T>;

 public:
  explicit BandLoss(const MaskedBackwarpLoss<T>& p)
      : p(p), in(p.in), source(in), gradient(in, p.grad_output), masks(in) {}

  // Rows first..end-1 of image b.
  void band(int64_t b, int64_t first, int64_t end);

 private:
  template <Pass pass>
  void row(int64_t b, int64_t y, RowRange range, bool own);
  template <Pass pass>
  void columns(int64_t b, int64_t y, int64_t x0, int64_t count, bool own);
  void point_to_gradients(int64_t b, int64_t y, int64_t x0, int64_t count, bool own);
  ImageRow<S> point_to_grad_target(int64_t b, int64_t y, int64_t x0, int64_t count, int64_t block, bool own);
  int64_t plan(int64_t b, int64_t first, int64_t end);
  // Whether neighbouring samples lie far apart. Decided for the whole image, so that bands make no
  // difference.
  bool jumps() const {
    const int64_t rows = (p.ranges != nullptr ? all_rows : read).slots();
    return rows > 32 && 4 * rows > in.height;
  }

  const MaskedBackwarpLoss<T>& p;
  const BackwarpInputs<T>& in;
  SourceRing<T> source;
  GradientRing<T> gradient;
  MaskRows<T> masks;
  ResidentRows read, added, all_rows;
  GrowingScratch<int32_t> rows;  // the rows to walk, and the range that each reads
  GrowingScratch<RowRange> ranges;
  Chunk<S> c = {};
  S *flow_x = nullptr, *flow_y = nullptr;  // where the chunk's gradients are in memory
};

// Lists the rows to walk for a band, and plans which rows of the image to keep resident.
template <class T>
int64_t BandLoss<T>::plan(int64_t b, int64_t first, int64_t end) {
  const bool scatters = p.grad_output.data != nullptr;
  int32_t* row = rows.at_least(in.height);
  RowRange* range = ranges.at_least(in.height);
  int64_t count = 0;
  const bool all = p.ranges != nullptr;
  for (int64_t y = all ? 0 : first; y < (all ? in.height : end); ++y) {
    const RowRange r = all ? p.ranges[b * in.height + y] : row_range(in, b, y);
    const bool own = first <= y && y < end;
    if (!own && (r.first >= end || r.last < first)) continue;
    row[count] = int32_t(y);
    range[count++] = r;
  }
  // Padding may read row -1 and row `height`, too.
  const int32_t above = -1, below = int32_t(in.height) + 1;
  read.plan(range, count, above, below);
  if (scatters) added.plan(range, count, int32_t(first), int32_t(end));
  if (all) all_rows.plan(p.ranges + b * in.height, in.height, above, below);
  return count;
}

template <class T>
void BandLoss<T>::band(int64_t b, int64_t first, int64_t end) {
  const bool scatters = p.grad_output.data != nullptr;
  const int64_t count = plan(b, first, end);
  source.start(b, read);
  if (scatters) gradient.start(b, first, end, added, !jumps());
  for (int64_t i = 0; i < count; ++i) {
    const int64_t y = rows[i];
    const RowRange range = ranges[i];
    const bool own = first <= y && y < end;
    source.advance(read, i);
    if (scatters) gradient.advance(added, i);
    if (!p.with_gradients()) {
      row<Pass::loss>(b, y, range, own);
    } else if (own && p.grad_flow != nullptr) {
      row<Pass::gradients_and_slopes>(b, y, range, own);
    } else {
      row<Pass::gradients>(b, y, range, own);
    }
  }
  if (scatters) gradient.finish(end);
}

template <class T>
template <Pass pass>
void BandLoss<T>::row(int64_t b, int64_t y, RowRange range, bool own) {
  constexpr bool with_slopes = pass == Pass::gradients_and_slopes;
  const S* mask = masks.at(b, y);
  const int64_t at = (b * in.height + y) * in.width;
  double sum = 0;
  for (int64_t x0 = 0; x0 < in.width; x0 += chunk_columns<S>) {
    const int64_t count = std::min<int64_t>(in.width - x0, chunk_columns<S>);
    set_up<with_slopes>(c, in, b, y, x0, count, mask, range);
    columns<pass>(b, y, x0, count, own);
    if (own && p.local != nullptr) std::copy_n(c.loss, count, p.local + at + x0);
    sum += double(sum_of(c.loss, count));
  }
  if (own && p.row_loss != nullptr) p.row_loss[b * in.height + y] = sum;
  if (own && p.grad_mask != nullptr) masks.fold_gradient(p.grad_mask + at / in.mask_ratio());
}

template <class T>
template <Pass pass>
void BandLoss<T>::columns(int64_t b, int64_t y, int64_t x0, int64_t count, bool own) {
  constexpr bool with_gradients = pass != Pass::loss, with_slopes = pass == Pass::gradients_and_slopes;
  const int64_t whole = whole_vectors<S>(count);
  const bool scatters = with_gradients && p.grad_output.data != nullptr;
  source.locate(c, whole);
  if (scatters) gradient.locate(c, whole);
  if (with_gradients) point_to_gradients(b, y, x0, count, own);
  for (int64_t block = 0; block < blocks_of(in); ++block) {
    const auto target = image_row(in.target, in, b, block, y);
    read_target(c, target, in.target.stride[2], x0, count, continues(in, in.target, y));
    ImageRow<S> grad_target = {};
    if (with_gradients) grad_target = point_to_grad_target(b, y, x0, count, block, own);
    source.expect(c, whole, block);
    if (scatters) gradient.expect(c, whole, block);
    source.template sample<with_slopes>(c, whole, block);
    residuals_of<pass>(c, in, whole, target.channels, S(p.grad_scale), block == 0);
    if (grad_target.data != nullptr) write_planes(grad_target, x0, count, c.grad_target_copy, Chunk<S>::n);
    if (scatters) gradient.add(c, count, block);
  }
  if (with_slopes) {
    store_line(flow_x, c.grad_flow_x, count);
    store_line(flow_y, c.grad_flow_y, count);
  }
}

// Sets where the chunk reads the gradient of the loss, and where it writes the gradients of mask and flow.
template <class T>
void BandLoss<T>::point_to_gradients(int64_t b, int64_t y, int64_t x0, int64_t count, bool own) {
  const auto& g = p.grad_loss;
  const S* grad_loss = g.data + b * g.stride[0] + y * g.stride[2] + x0 * g.stride[3];
  c.grad_loss = read_line(grad_loss, g.stride[3], count, c.grad_loss_copy);
  c.grad_mask = masks.gradient() + x0;
  if (!own || p.grad_flow == nullptr) return;
  const int64_t plane = in.height * in.width;
  flow_x = p.grad_flow + 2 * b * plane + y * in.width + x0;
  flow_y = flow_x + plane;
  c.grad_flow_x = line_or_copy(flow_x, count, c.grad_flow_x_copy);
  c.grad_flow_y = line_or_copy(flow_y, count, c.grad_flow_y_copy);
  if (y + 1 < in.height) prefetch(ImageRow<S>{flow_x + in.width, plane, 1, in.width, 2}, 0, count);
}

// Sets where the chunk writes the target's gradient. Returns the row to copy it to afterwards; null if it is
// in place, or not wanted.
template <class T>
ImageRow<opmath<T>> BandLoss<T>::point_to_grad_target(int64_t b, int64_t y, int64_t x0, int64_t count,
                                                      int64_t block, bool own) {
  const bool wanted = own && p.grad_target.data != nullptr;
  for (int ch = 0; ch < 4; ++ch) c.grad_target[ch] = wanted ? c.grad_target_copy + ch * Chunk<S>::n : nullptr;
  if (!wanted) return {};
  const auto row = image_row(p.grad_target, in, b, block, y);
  if (y + 1 < in.height) prefetch(below(row, p.grad_target.stride[2]), x0, count);
  if (row.column_stride == 1 && whole_vectors<S>(count) == count) {
    for (int ch = 0; ch < row.channels; ++ch) c.grad_target[ch] = row.data + ch * row.channel_stride + x0;
    return {};
  }
  return row;
}

}  // namespace

template <class T>
void masked_backwarp_loss(const MaskedBackwarpLoss<T>& p, int64_t begin, int64_t end) {
  const FlushDenormals flush;
  BandLoss<T> loss(p);
  for (int64_t task = begin; task < end; ++task) {
    const int64_t b = task / p.bands, band = task % p.bands;
    loss.band(b, p.in.height * band / p.bands, p.in.height * (band + 1) / p.bands);
  }
}

template <class T>
void backwarp_row_ranges(const BackwarpRowRanges<T>& p, int64_t begin, int64_t end) {
  for (int64_t task = begin; task < end; ++task) {
    p.ranges[task] = row_range(p.in, task / p.in.height, task % p.in.height);
  }
}

template <class T>
void backwarp_mask_fold(const BackwarpMaskFold<T>& p, int64_t begin, int64_t end) {
  const FlushDenormals flush;
  const int64_t image = p.height * p.ratio * p.width;
  for (int64_t task = begin; task < end; ++task) {
    const int64_t b = task / p.height, row = task % p.height;
    fold_down(p.rows + b * image, p.width, p.ratio, p.height, p.width, row, p.coarse + task * p.width);
  }
}

INTERNET_INSTANTIATE_KERNEL(masked_backwarp_loss, MaskedBackwarpLoss)
INTERNET_INSTANTIATE_KERNEL(backwarp_row_ranges, BackwarpRowRanges)
INTERNET_INSTANTIATE_KERNEL(backwarp_mask_fold, BackwarpMaskFold)

}  // namespace internet::cpu::INTERNET_ISA
