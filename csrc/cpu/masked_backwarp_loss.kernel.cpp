// The loss itself: one pass over the rows, nothing stored but the sum of each group of rows.
#include "denormals.h"
#include "masked_backwarp_loss_rows.h"

namespace internet::cpu::INTERNET_ISA {
namespace {

using namespace backwarp;

// Adds the penalties of up to four channels to c.loss.
template <Penalty P, class S>
void add_penalties(Chunk<S>& c, int64_t count, int channels, bool border) {
  constexpr int N = native_lanes<S>;
  using V = Native<S>;
  const V zero = splat<V>(0);
  for (int64_t i = 0; i < count; i += N) {
    const auto reads = border ? zero == zero : load<N>(c.reads + i) != zero;
    const V mask = load<N>(c.mask + i);
    V loss = load<N>(c.loss + i);
    for (int ch = 0; ch < channels; ++ch) {
      const V sample = select(reads, load<N>(c.value + ch * Chunk<S>::n + i), zero);
      loss += math::penalty<P>((sample - load<N>(c.target[ch] + i)) * mask);
    }
    store<N>(c.loss + i, loss);
  }
}

// What is out of the frame does not count with "valid"; what is behind the last column never does.
template <class S>
void drop_uncounted(Chunk<S>& c, int64_t count, bool valid) {
  if (valid) {
    for (int64_t i = 0; i < count; ++i) c.loss[i] = c.reads[i] != 0 ? c.loss[i] : S(0);
  }
  for (int64_t i = count; i < whole_vectors<S>(count); ++i) c.loss[i] = 0;
}

template <class S>
S sum_of(const S* values, int64_t count) {
  constexpr int N = native_lanes<S>;
  Native<S> sum = splat<Native<S>>(0);
  for (int64_t i = 0; i < count; i += N) sum += load<N>(values + i);
  return sum_of_lanes<N>(sum);
}

// One chunk: its sum, and its losses pixel by pixel if `local` is not null.
template <class T, class S = opmath<T>>
S chunk_loss(Chunk<S>& c, const BackwarpInputs<T>& in, const SourceRing<T>& ring, int64_t b, int64_t y,
             int64_t x0, int64_t count, S* local) {
  const int64_t whole = whole_vectors<S>(count);
  for (int64_t i = 0; i < whole; ++i) c.loss[i] = 0;
  ring.locate(c, whole);
  for (int64_t block = 0; block < blocks_of(in); ++block) {
    ring.template sample<false>(c, whole, block);
    const auto target = image_row(in.target, in, b, block, y);
    read_target(c, target, in.target.stride[2], x0, count);
    with_penalty(in.norm, [&](auto norm) {
      add_penalties<norm()>(c, whole, target.channels, in.padding == Padding::border);
    });
  }
  drop_uncounted(c, count, in.padding == Padding::valid);
  for (int64_t i = 0; local != nullptr && i < count; ++i) local[x0 + i] = c.loss[i];
  return sum_of(c.loss, whole);
}

}  // namespace

template <class T>
void masked_backwarp_loss(const MaskedBackwarpLoss<T>& p, int64_t begin, int64_t end) {
  using S = opmath<T>;
  const FlushDenormals flush;
  const BackwarpInputs<T>& in = p.in;
  const int64_t groups = (in.height + backwarp_rows_per_task - 1) / backwarp_rows_per_task;
  Chunk<S> chunk = {};
  SourceRing<T> ring(in);
  MaskRows<T> masks(in);
  RowWindow window;
  for (int64_t task = begin; task < end; ++task) {
    const int64_t b = task / groups, top = task % groups * backwarp_rows_per_task;
    const int64_t rows = std::min(in.height - top, backwarp_rows_per_task);
    RowRange ranges[backwarp_rows_per_task];
    for (int64_t i = 0; i < rows; ++i) ranges[i] = row_range(in, b, top + i);
    window.plan(ranges, rows, int32_t(in.height));
    ring.start(b, window);
    double sum = 0;
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t y = top + i;
      ring.advance(window, i);
      const S* mask = masks.at(b, y);
      S* local = p.local == nullptr ? nullptr : p.local + (b * in.height + y) * in.width;
      for (int64_t x0 = 0; x0 < in.width; x0 += chunk_columns<S>) {
        const int64_t count = std::min<int64_t>(in.width - x0, chunk_columns<S>);
        set_up<false>(chunk, in, b, y, x0, count, mask, ranges[i]);
        sum += double(chunk_loss(chunk, in, ring, b, y, x0, count, local));
      }
    }
    p.partial[task] = sum;
  }
}

template <class T>
void backwarp_row_ranges(const BackwarpRowRanges<T>& p, int64_t begin, int64_t end) {
  for (int64_t task = begin; task < end; ++task) {
    p.ranges[task] = row_range(p.in, task / p.in.height, task % p.in.height);
  }
}

INTERNET_INSTANTIATE_KERNEL(masked_backwarp_loss, MaskedBackwarpLoss)
INTERNET_INSTANTIATE_KERNEL(backwarp_row_ranges, BackwarpRowRanges)

}  // namespace internet::cpu::INTERNET_ISA
