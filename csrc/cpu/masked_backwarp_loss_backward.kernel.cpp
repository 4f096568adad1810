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
// the mask.
template <class S>
struct alignas(64) ChunkGradients {
  static constexpr int n = chunk_columns<S>;
  S loss[n];
  S sample[4 * n], target[4 * n];
  S flow_x[n], flow_y[n], mask[n];
  Index<S> row_low[n], row_high[n];  // offsets in the ring of the output's gradient
};

template <Penalty P, bool with_slopes, class S>
void residual_gradients(const Chunk<S>& c, ChunkGradients<S>& g, int64_t count, int channels,
                        Padding padding) {
  constexpr int N = native_lanes<S>;
  constexpr int n = Chunk<S>::n;
  using V = Native<S>;
  const V zero = splat<V>(0);
  const bool border = padding == Padding::border, valid = padding == Padding::valid;
  for (int ch = 0; ch < channels; ++ch) {
    for (int64_t i = 0; i < count; i += N) {
      const int64_t j = ch * n + i;
      const auto reads = border ? zero == zero : load<N>(c.reads + i) != zero;
      const V difference = select(reads, load<N>(c.value + j), zero) - load<N>(c.target + j);
      auto d = math::residual_gradient<P>(difference, load<N>(c.mask + i), load<N>(g.loss + i));
      if (valid) d = {select(reads, d.sample, zero), select(reads, d.mask, zero)};
      store<N>(g.target + j, -d.sample);
      d.sample = select(reads, d.sample, zero);  // nothing was read, nothing is given back
      store<N>(g.sample + j, d.sample);
      store<N>(g.mask + i, load<N>(g.mask + i) + d.mask);
      if constexpr (with_slopes) {
        store<N>(g.flow_x + i,
                 load<N>(g.flow_x + i) + select(reads, d.sample * load<N>(c.slope_x + j), zero));
        store<N>(g.flow_y + i,
                 load<N>(g.flow_y + i) + select(reads, d.sample * load<N>(c.slope_y + j), zero));
      }
    }
  }
}

// The rows of the output's gradient being added to, as pixels: a band's rows first..end-1, of which only a
// window is at hand. One more row takes what belongs to other bands.
template <class T>
class GradientRing {
  using S = opmath<T>;

 public:
  explicit GradientRing(const MaskedBackwarpLossBackward<T>& p) : p_(p), pitch_((p.in.width + 3) / 4 * 4) {}

  void start(int64_t b, int64_t first, int64_t end, const RowWindow& window) {
    b_ = b, first_ = first, end_ = end;
    slots_ = window.slots();
    done_ = next_ = first;
    ring_.at_least((slots_ + 1) * pitch_ * pixel_lanes * blocks_of(p_.in));
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
        write_pixels(image_row(p_.grad_output, p_.in, b_, block, done_), pixels(block, done_ & (slots_ - 1)));
      }
    }
  }
  void locate(const Chunk<S>& c, ChunkGradients<S>& g, int64_t count) const {
    rows_to_offsets(c.row_low, g.row_low, count);
    rows_to_offsets(c.row_high, g.row_high, count);
  }
  // Adds the gradients of four channels of `count` samples to the pixels they were blended from.
  void add(const Chunk<S>& c, const ChunkGradients<S>& g, int64_t count, int64_t block) {
    S* ring = pixels(block, 0);
    for (int64_t i = 0; i < count; i += 4) {
      Pixel<S> d[4];
      for (int ch = 0; ch < 4; ++ch) d[ch] = load<4>(g.sample + ch * Chunk<S>::n + i);
      transpose<S>(d);
      for (int64_t j = i; j < i + 4 && j < count; ++j) {
        const Pixel<S> low = d[j - i] * c.y_low_weight[j], high = d[j - i] * c.y_high_weight[j];
        add_pixel(ring, g.row_low[j], c.column_low[j], low * c.x_low_weight[j]);
        add_pixel(ring, g.row_low[j], c.column_high[j], low * c.x_high_weight[j]);
        add_pixel(ring, g.row_high[j], c.column_low[j], high * c.x_low_weight[j]);
        add_pixel(ring, g.row_high[j], c.column_high[j], high * c.x_high_weight[j]);
      }
    }
  }

 private:
  static void add_pixel(S* ring, Index<S> row, Index<S> column, Pixel<S> value) {
    S* p = ring + 4 * (int64_t(row) + column);
    store<4>(p, load<4>(p) + value);
  }
  void rows_to_offsets(const Index<S>* rows, Index<S>* offsets, int64_t count) const {
    const Index<S> wrap = Index<S>(slots_ - 1), pitch = Index<S>(pitch_), spare = Index<S>(slots_);
    const Index<S> first = Index<S>(first_), end = Index<S>(end_);
    for (int64_t i = 0; i < count; ++i) {
      const Index<S> row = rows[i];
      offsets[i] = ((row >= first) & (row < end) ? row & wrap : spare) * pitch;
    }
  }
  S* pixels(int64_t block, int64_t slot) const {
    return ring_.data() + (block * (slots_ + 1) + slot) * pitch_ * pixel_lanes;
  }
  void clear(int64_t row) {
    for (int64_t block = 0; block < blocks_of(p_.in); ++block) {
      S* p = pixels(block, row & (slots_ - 1));
      for (int64_t i = 0; i < pitch_ * pixel_lanes; ++i) p[i] = 0;
    }
  }

  const MaskedBackwarpLossBackward<T>& p_;
  int64_t pitch_, b_ = 0, first_ = 0, end_ = 0, slots_ = 1, done_ = 0, next_ = 0;
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
  void store_motion(int64_t b, int64_t y, int64_t x0, int64_t count);
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
    set_up(chunk, in, b, y, x0, count, mask, range);
    columns(b, y, x0, count, own);
  }
}

template <class T>
void Backward<T>::columns(int64_t b, int64_t y, int64_t x0, int64_t count, bool own) {
  const int64_t whole = whole_vectors<S>(count);
  const bool slopes = own && p.grad_flow != nullptr;
  const auto& g = p.grad_loss;
  read_line(g.data + b * g.stride[0] + y * g.stride[2] + x0 * g.stride[3], g.stride[3], count, grads.loss);
  for (int64_t i = 0; i < whole; ++i) {
    grads.loss[i] *= S(p.grad_scale);
    grads.flow_x[i] = grads.flow_y[i] = grads.mask[i] = 0;
  }
  if (p.grad_output.data != nullptr) gradient.locate(chunk, grads, whole);
  source.locate(chunk, whole);
  for (int64_t block = 0; block < blocks_of(in); ++block) {
    const auto target = image_row(in.target, in, b, block, y);
    read_planes(target, x0, count, chunk.target, Chunk<S>::n);
    with_penalty(in.norm, [&](auto norm) {
      if (slopes) {
        source.template sample<true>(chunk, whole, block);
        residual_gradients<norm(), true>(chunk, grads, whole, target.channels, in.padding);
      } else {
        source.template sample<false>(chunk, whole, block);
        residual_gradients<norm(), false>(chunk, grads, whole, target.channels, in.padding);
      }
    });
    if (own && p.grad_target.data != nullptr) {
      const auto grad_target = image_row(p.grad_target, in, b, block, y);
      write_planes(grad_target, x0, count, grads.target, Chunk<S>::n);
    }
    if (p.grad_output.data != nullptr) gradient.add(chunk, grads, count, block);
  }
  if (own) store_motion(b, y, x0, count);
}

template <class T>
void Backward<T>::store_motion(int64_t b, int64_t y, int64_t x0, int64_t count) {
  const int64_t plane = in.height * in.width, at = y * in.width + x0;
  if (p.grad_flow != nullptr) {
    S* x = p.grad_flow + 2 * b * plane + at;
    for (int64_t i = 0; i < count; ++i) x[i] = grads.flow_x[i];
    for (int64_t i = 0; i < count; ++i) x[i + plane] = grads.flow_y[i];
  }
  if (p.grad_mask != nullptr) {
    S* m = p.grad_mask + b * plane + at;
    for (int64_t i = 0; i < count; ++i) m[i] = grads.mask[i];
  }
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
