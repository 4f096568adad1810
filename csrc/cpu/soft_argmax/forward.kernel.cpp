// Lanes are summed along a row, then the rows of a group, and the groups' sums are added in double: no float
// sum has so many terms that it would lose precision.
#include <limits>

#include "cpu/runtime/denormals.h"
#include "cpu/soft_argmax/tiles.h"

namespace internet::cpu::INTERNET_ISA {
namespace {

using namespace heat;

template <bool with_map, bool in_place, class T, int N>
class ForwardTasks {
  using S = opmath<T>;
  using V = Native<S>;
  using Sums = math::HeatSums<V, N>;

 public:
  INTERNET_MEMBER explicit ForwardTasks(const SoftArgmaxForward<T, N>& p)
      : p_(p),
        in_(p.in),
        at_(in_),
        logits_(in_.rows_per_group, in_.width, 4),
        map_(in_.rows_per_group, with_map ? in_.width : 0, entries) {}

  INTERNET_MEMBER void operator()(int64_t index) const {
    const Task task(in_, index);
    for (int64_t i = 0; i < task.anchors; i += 4) {
      const int64_t anchor = task.first_anchor + i, count = std::min<int64_t>(4, task.anchors - i);
      const auto logits = logits_.read(task.logits(in_.logits, anchor, count), task.rows);
      for (int j = 0; j < count; ++j) plane(task, anchor + j, logits.channel(j));
    }
  }

 private:
  static constexpr int entries = N * N;
  static constexpr S nothing = -std::numeric_limits<S>::infinity();  // as a logit, it has weight zero

  // A shared map is read once.
  template <class U>
  INTERNET_MEMBER void plane(const Task& task, int64_t anchor, const Tile<U>& logits) const {
    const auto source = task.map(in_.map, anchor, entries);
    if (with_map && (!in_.shared_map || anchor == 0)) map_.read(source, task.rows);
    const S largest = largest_of(logits, task.rows);
    const Sums sums = sums_of(logits, map_.of(source), task, math::heat_reference(largest));
    const int64_t plane = task.image * in_.anchors + anchor;
    p_.partials[plane * in_.groups() + task.group] = {double(largest), total(sums)};
  }

  template <class U>
  INTERNET_MEMBER S largest_of(const Tile<U>& logits, int64_t rows) const {
    V largest = math::splat<V>(nothing);
    for (int64_t y = 0; y < rows; ++y) {
      const U* line = logits.line(0, y);
      along<S>(in_.width, [&](int64_t x, auto count) {
        largest = math::larger(load_some(line + x, count, nothing), largest);
      });
    }
    S all = largest[0];
    for (int i = 1; i < lanes<S>; ++i) all = std::max(all, S(largest[i]));
    return all;
  }

  template <class U>
  INTERNET_MEMBER Sums sums_of(const Tile<U>& logits, const Tile<U>& map, const Task& task,
                               S reference) const {
    Sums sums{};
    for (int64_t y = 0; y < task.rows; ++y) {
      const U* line = logits.line(0, y);
      Sums row{};
      along<S>(in_.width, [&](int64_t x, auto count) {
        const V e = math::heat_weight(load_some(line + x, count, nothing), reference, in_.per_temperature);
        row.mass += e;
        row.position[0] += e * at_.x(x);
        for (int c = 0; with_map && c < entries; ++c)
          row.jac[c] += e * load_some(map.line(c, y) + x, count, S(0));
      });
      const auto at = at_.of_row(task.slice, task.first_row + y);
      sums.mass += row.mass;
      sums.position[0] += row.position[0];
      for (int i = 1; i < N; ++i) sums.position[i] += row.mass * at.coordinate[i - 1];
      for (int c = 0; with_map && c < entries; ++c) sums.jac[c] += row.jac[c];
    }
    return sums;
  }

  INTERNET_MEMBER static math::HeatSums<double, N> total(const Sums& sums) {
    const auto sum = [](V v) { return double(sum_of_lanes<lanes<S>>(v)); };
    math::HeatSums<double, N> all;
    all.mass = sum(sums.mass);
    for (int i = 0; i < N; ++i) all.position[i] = sum(sums.position[i]);
    for (int c = 0; c < entries; ++c) all.jac[c] = sum(sums.jac[c]);
    return all;
  }

  const SoftArgmaxForward<T, N>& p_;
  const HeatMaps<T, N>& in_;
  Coordinates<S, N> at_;
  Lines<in_place, const T> logits_, map_;
};

template <bool with_map, bool in_place, class T, int N>
INTERNET_HD void forward_tasks(const SoftArgmaxForward<T, N>& p, int64_t begin, int64_t end) {
  const ForwardTasks<with_map, in_place, T, N> run(p);
  for (int64_t task = begin; task < end; ++task) run(task);
}

}  // namespace

template <class T, int N>
void soft_argmax_forward(const SoftArgmaxForward<T, N>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  const bool with_map = p.in.map.data != nullptr;
  if (has_lines(p.in.logits) && has_lines(p.in.map)) {
    with_map ? forward_tasks<true, true>(p, begin, end) : forward_tasks<false, true>(p, begin, end);
  } else {
    with_map ? forward_tasks<true, false>(p, begin, end) : forward_tasks<false, false>(p, begin, end);
  }
}

INTERNET_INSTANTIATE_KERNEL_OF_AXES(soft_argmax_forward, SoftArgmaxForward)

}  // namespace internet::cpu::INTERNET_ISA
