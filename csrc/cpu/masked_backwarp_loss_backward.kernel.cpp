// The gradients of the loss, from the inputs alone: the residual is computed again, row by row.
//
// The gradient of the output image is a scatter: each sample adds to the four pixels it was blended from.
// So that no two threads meet, a task owns a band of the image's rows. It walks the rows of the flow that
// read its band, and its own rows, top to bottom; it adds only to its band and stores the other gradients
// only of its own rows. A row near the edge of a band is computed by both neighbours. Every pixel receives
// its contributions in the order of the samples, whatever the bands and the threads.
#include "denormals.h"
#include "masked_backwarp_loss_rows.h"

namespace internet::cpu::INTERNET_ISA {
namespace {

using namespace backwarp;

// The gradients of a chunk: by the samples and the target of four channels, in planes, and by the flow and
// the mask. What is the same in memory is written there at once.
template <class S>
struct alignas(64) ChunkGradients {
  static constexpr int n = chunk_columns<S>;
  const S* loss;
  S *flow_x, *flow_y, *mask;
  S* target[4];
  S sample[4 * n];
  Index<S> low[n], high[n];  // offsets in the ring of the output's gradient
  S loss_copy[n], flow_x_copy[n], flow_y_copy[n], mask_copy[n], target_copy[4 * n];
};

template <Penalty P, bool with_slopes, class S>
void residual_gradients(const Chunk<S>& c, ChunkGradients<S>& g, int64_t count, int channels, Padding padding,
                        S grad_scale, bool first_block) {
  constexpr int N = native_lanes<S>;
  constexpr int n = Chunk<S>::n;
  using V = Native<S>;
  const V zero = splat<V>(0);
  const bool border = padding == Padding::border, valid = padding == Padding::valid;
  for (int64_t i = 0; i < count; i += N) {
    const auto reads = border ? zero == zero : load<N>(c.reads + i) != zero;
    const V mask = load<N>(c.mask + i), grad = load<N>(g.loss + i) * grad_scale;
    V grad_mask = zero, grad_x = zero, grad_y = zero;
    for (int ch = 0; ch < channels; ++ch) {
      const V difference = select(reads, load<N>(c.value + ch * n + i), zero) - load<N>(c.target[ch] + i);
      auto d = math::residual_gradient<P>(difference, mask, grad);
      if (valid) d = {select(reads, d.sample, zero), select(reads, d.mask, zero)};
      store<N>(g.target[ch] + i, -d.sample);
      d.sample = select(reads, d.sample, zero);  // nothing was read, nothing is given back
      store<N>(g.sample + ch * n + i, d.sample);
      grad_mask += d.mask;
      if constexpr (with_slopes) {
        grad_x += d.sample * load<N>(c.slope_x + ch * n + i);
        grad_y += d.sample * load<N>(c.slope_y + ch * n + i);
      }
    }
    if constexpr (with_slopes) {
      const auto moves_x = border ? load<N>(c.moves_x + i) != zero : reads;
      const auto moves_y = border ? load<N>(c.moves_y + i) != zero : reads;
      grad_x = select(moves_x, grad_x, zero);
      grad_y = select(moves_y, grad_y, zero);
      store<N>(g.flow_x + i, first_block ? grad_x : load<N>(g.flow_x + i) + grad_x);
      store<N>(g.flow_y + i, first_block ? grad_y : load<N>(g.flow_y + i) + grad_y);
    }
    store<N>(g.mask + i, first_block ? grad_mask : load<N>(g.mask + i) + grad_mask);
  }
}

// The rows of the output's gradient being added to, as pixels: of a band's rows first..end-1 those that are
// at hand. One more row takes what belongs to other bands.
//
// A sample adds to two pairs of neighbouring pixels, a vector each. The next sample's pairs usually overlap
// them by one pixel, and a load from half of what was just stored would stall; so each row is kept twice:
// pairs that begin at an even column go to one, the others to its twin, and pairs in one never overlap by
// half. The twins are added up when the row is done.
template <class T>
class GradientRing {
  using S = opmath<T>;

 public:
  // Two pixels of margin on the left and an odd twin distance align the pairs of both.
  explicit GradientRing(const MaskedBackwarpLossBackward<T>& p)
      : p_(p), twin_((p.in.width + 3) / 4 * 4 + 5) {}

  void start(int64_t b, int64_t first, int64_t end, const RowWindow& window) {
    b_ = b, first_ = first, end_ = end;
    slots_ = window.slots();
    done_ = next_ = first;
    ring_.at_least((slots_ + 1) * row_size() * blocks_of(p_.in));
  }
  // Stores the rows that get nothing more from step i on, and clears those it may add to.
  void advance(const RowWindow& window, int64_t step) {
    finish(window.needed_from(step));
    for (; next_ <= window.touched_to(step); ++next_) clear(next_);
  }
  // Stores all rows before `row`. Those that nothing was added to are zero.
  void finish(int64_t row) {
    for (; done_ < row; ++done_) {
      if (next_ <= done_) clear(next_++);
      for (int64_t block = 0; block < blocks_of(p_.in); ++block) {
        S* pixels = slot(block, done_ & (slots_ - 1)) + margin;
        const S* twin = pixels + pixel_lanes * twin_;
        for (int64_t i = 0; i < pixel_lanes * p_.in.width; ++i) pixels[i] += twin[i];
        const auto out = image_row(p_.grad_output, p_.in, b_, block, done_);
        if (done_ + 1 < end_) prefetch(below(out, p_.grad_output.stride[2]), 0, p_.in.width);
        write_pixels(out, pixels);
      }
    }
  }
  void locate(const Chunk<S>& c, ChunkGradients<S>& g, int64_t count) const {
    for (int64_t i = 0; i < count; ++i) {
      g.low[i] = offset(c.row[i], c.column[i]);
      g.high[i] = offset(c.row[i] + 1, c.column[i]);
    }
  }
  // Adds the gradients of four channels of `count` samples to the pixels they were interpolated from.
  void add(const Chunk<S>& c, const ChunkGradients<S>& g, int64_t count, int64_t block) {
    S* ring = slot(block, 0) + margin;
    for (int64_t i = 0; i < count; i += 4) {
      Pixel<S> d[4];
      for (int ch = 0; ch < 4; ++ch) d[ch] = load<4>(g.sample + ch * Chunk<S>::n + i);
      transpose<S>(d);
#pragma GCC unroll 4
      for (int64_t k = 0; k < 4; ++k) {
        const int64_t j = i + k;
        if (j >= count) break;
        const auto columns = math::share(d[k], c.fraction_x[j]);
        const Pair<S> pair = __builtin_shufflevector(columns.low, columns.high, 0, 1, 2, 3, 4, 5, 6, 7);
        const auto rows = math::share(pair, c.fraction_y[j]);
        add_pair(ring, g.low[j], rows.low);
        add_pair(ring, g.high[j], rows.high);
      }
    }
  }

 private:
  static constexpr int64_t margin = 2 * pixel_lanes;
  int64_t row_size() const { return 2 * twin_ * pixel_lanes; }
  S* slot(int64_t block, int64_t slot) const {
    return ring_.data() + (block * (slots_ + 1) + slot) * row_size();
  }
  static void add_pair(S* ring, Index<S> offset, Pair<S> value) {
    S* p = at_offset(ring, offset);
    store<8>(p, load<8>(p) + value);
  }
  Index<S> offset(Index<S> row, Index<S> column) const {
    const bool own = (row >= Index<S>(first_)) & (row < Index<S>(end_));
    const Index<S> slot = own ? row & Index<S>(slots_ - 1) : Index<S>(slots_);
    const Index<S> twin = (2 * slot + (column & 1)) * Index<S>(twin_);
    return (twin + column) * Index<S>(pixel_lanes * sizeof(S) / 8);
  }
  void clear(int64_t row) {
    for (int64_t block = 0; block < blocks_of(p_.in); ++block) {
      S* p = slot(block, row & (slots_ - 1));
      for (int64_t i = 0; i < row_size(); ++i) p[i] = 0;
    }
  }

  const MaskedBackwarpLossBackward<T>& p_;
  int64_t twin_, b_ = 0, first_ = 0, end_ = 0, slots_ = 1, done_ = 0, next_ = 0;
  Scratch<S> ring_;
};

// Everything a thread keeps while it does its tasks.
template <class T>
struct Backward {
  using S = opmath<T>;
  explicit Backward(const MaskedBackwarpLossBackward<T>& params)
      : p(params), in(params.in), source(in), gradient(params), masks(in) {}

  const MaskedBackwarpLossBackward<T>& p;
  const BackwarpInputs<T>& in;
  SourceRing<T> source;
  GradientRing<T> gradient;
  MaskRows<T> masks;
  RowWindow read, added;
  Scratch<int32_t> walk;
  Scratch<RowRange> ranges, clipped;
  Chunk<S> chunk = {};
  ChunkGradients<S> grads = {};

  void band(int64_t b, int64_t first, int64_t end);
  void row(int64_t b, int64_t y, RowRange range, bool own);
  void columns(int64_t b, int64_t y, int64_t x0, int64_t count, bool own);
  ImageRow<T> target_gradient(int64_t b, int64_t y, int64_t x0, int64_t count, int64_t block, bool own);
};

// Rows first..end-1 of image b.
template <class T>
void Backward<T>::band(int64_t b, int64_t first, int64_t end) {
  const RowRange* of_image = p.ranges + b * in.height;
  int32_t* rows = walk.at_least(in.height);
  RowRange* full = ranges.at_least(in.height);
  RowRange* clip = clipped.at_least(in.height);
  int64_t count = 0;
  for (int64_t y = 0; y < in.height; ++y) {
    const RowRange r = of_image[y];
    const bool own = first <= y && y < end;
    const bool touches = p.grad_output.data != nullptr && r.first < end && r.last >= first;
    if (!own && !touches) continue;
    rows[count] = int32_t(y);
    full[count] = r;
    clip[count++] = {std::max(r.first, int32_t(first)), std::min(r.last, int32_t(end - 1))};
  }
  read.plan(full, count, int32_t(in.height));
  source.start(b, read);
  if (p.grad_output.data != nullptr) {
    added.plan(clip, count, int32_t(end));
    gradient.start(b, first, end, added);
  }
  for (int64_t i = 0; i < count; ++i) {
    source.advance(read, i);
    if (p.grad_output.data != nullptr) gradient.advance(added, i);
    row(b, rows[i], full[i], first <= rows[i] && rows[i] < end);
  }
  if (p.grad_output.data != nullptr) gradient.finish(end);
}

template <class T>
void Backward<T>::row(int64_t b, int64_t y, RowRange range, bool own) {
  const S* mask = masks.at(b, y);
  for (int64_t x0 = 0; x0 < in.width; x0 += chunk_columns<S>) {
    const int64_t count = std::min<int64_t>(in.width - x0, chunk_columns<S>);
    set_up<true>(chunk, in, b, y, x0, count, mask, range);
    columns(b, y, x0, count, own);
  }
}

// Where `count` gradients of the motion are computed: in place, or to be copied there.
template <class S>
S* motion_line(S* memory, int64_t count, S* copy) {
  return memory != nullptr && whole_vectors<S>(count) == count ? memory : copy;
}
template <class S>
void store_line(S* memory, const S* line, int64_t count) {
  if (memory == nullptr || memory == line) return;
  for (int64_t i = 0; i < count; ++i) memory[i] = line[i];
}

template <class T>
void Backward<T>::columns(int64_t b, int64_t y, int64_t x0, int64_t count, bool own) {
  const int64_t whole = whole_vectors<S>(count), plane = in.height * in.width, at = y * in.width + x0;
  S* flow_x = own && p.grad_flow != nullptr ? p.grad_flow + 2 * b * plane + at : nullptr;
  S* flow_y = flow_x != nullptr ? flow_x + plane : nullptr;
  S* mask = own && p.grad_mask != nullptr ? p.grad_mask + b * plane + at : nullptr;
  grads.flow_x = motion_line(flow_x, count, grads.flow_x_copy);
  grads.flow_y = motion_line(flow_y, count, grads.flow_y_copy);
  if (flow_x != nullptr && y + 1 < in.height) {
    prefetch(ImageRow<S>{flow_x + in.width, plane, 1, in.width, 2}, 0, count);
  }
  grads.mask = motion_line(mask, count, grads.mask_copy);
  const auto& g = p.grad_loss;
  const S* grad_loss = g.data + b * g.stride[0] + y * g.stride[2] + x0 * g.stride[3];
  grads.loss = read_line(grad_loss, g.stride[3], count, grads.loss_copy);
  if (p.grad_output.data != nullptr) gradient.locate(chunk, grads, whole);
  source.locate(chunk, whole);
  for (int64_t block = 0; block < blocks_of(in); ++block) {
    const auto target = image_row(in.target, in, b, block, y);
    read_target(chunk, target, in.target.stride[2], x0, count);
    const auto grad_target = target_gradient(b, y, x0, count, block, own);
    with_penalty(in.norm, [&](auto norm) {
      if (flow_x != nullptr) {
        source.template sample<true>(chunk, whole, block);
        residual_gradients<norm(), true>(chunk, grads, whole, target.channels, in.padding, S(p.grad_scale),
                                         block == 0);
      } else {
        source.template sample<false>(chunk, whole, block);
        residual_gradients<norm(), false>(chunk, grads, whole, target.channels, in.padding, S(p.grad_scale),
                                          block == 0);
      }
    });
    if (grad_target.data != nullptr) write_planes(grad_target, x0, count, grads.target_copy, Chunk<S>::n);
    if (p.grad_output.data != nullptr) gradient.add(chunk, grads, count, block);
  }
  store_line(flow_x, grads.flow_x, count);
  store_line(flow_y, grads.flow_y, count);
  store_line(mask, grads.mask, count);
}

// Lets grads.target point to where the target's gradient goes. Returns the row to write it to afterwards;
// null where it is in place, or not wanted.
template <class T>
ImageRow<T> Backward<T>::target_gradient(int64_t b, int64_t y, int64_t x0, int64_t count, int64_t block,
                                         bool own) {
  for (int ch = 0; ch < 4; ++ch) grads.target[ch] = grads.target_copy + ch * Chunk<S>::n;
  if (!own || p.grad_target.data == nullptr) return {};
  const auto row = image_row(p.grad_target, in, b, block, y);
  if (y + 1 < in.height) prefetch(below(row, p.grad_target.stride[2]), x0, count);
  if constexpr (std::is_same_v<T, S>) {
    if (row.column_stride == 1 && whole_vectors<S>(count) == count) {
      for (int ch = 0; ch < row.channels; ++ch) grads.target[ch] = row.data + ch * row.channel_stride + x0;
      return {};
    }
  }
  return row;
}

}  // namespace

template <class T>
void masked_backwarp_loss_backward(const MaskedBackwarpLossBackward<T>& p, int64_t begin, int64_t end) {
  const FlushDenormals flush;
  Backward<T> backward(p);
  for (int64_t task = begin; task < end; ++task) {
    const int64_t b = task / p.max_bands, band = task % p.max_bands, bands = p.bands[b];
    if (band >= bands) continue;
    backward.band(b, p.in.height * band / bands, p.in.height * (band + 1) / bands);
  }
}

template <class T>
void backwarp_mask_fold(const BackwarpMaskFold<T>& p, int64_t begin, int64_t end) {
  using S = opmath<T>;
  const FlushDenormals flush;
  const int64_t fine_width = p.width * p.ratio;
  Scratch<S> scratch(fine_width);
  for (int64_t task = begin; task < end; ++task) {
    const int64_t b = task / p.height, row = task % p.height;
    S* coarse = p.coarse + task * p.width;
    for (int64_t x = 0; x < p.width; ++x) coarse[x] = 0;
    fold_row(p.fine + b * p.height * p.ratio * fine_width, fine_width, p.ratio, p.height, p.width, row,
             scratch.data(), coarse, int64_t(1));
  }
}

INTERNET_INSTANTIATE_KERNEL(masked_backwarp_loss_backward, MaskedBackwarpLossBackward)
INTERNET_INSTANTIATE_KERNEL(backwarp_mask_fold, BackwarpMaskFold)

}  // namespace internet::cpu::INTERNET_ISA
