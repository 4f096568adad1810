// Lanes sum along a row, the rows of a group are added, and the groups' sums go to double: no sum has so many
// terms that float would lose digits.
#include <limits>

#include "cpu/runtime/denormals.h"
#include "cpu/soft_argmax/tiles.h"

namespace internet::cpu::INTERNET_ISA {
namespace {

using namespace heat;

template <bool with_map, bool in_place, class T>
class ForwardTasks {
  using S = opmath<T>;
  using V = Native<S>;
  using Sums = math::HeatSums<V>;

 public:
  INTERNET_MEMBER explicit ForwardTasks(const SoftArgmaxForward<T>& p)
      : p_(p),
        in_(p.in),
        at_(in_.height, in_.width, in_.align_corners),
        logits_(in_.rows_per_group, in_.width),
        map_(in_.rows_per_group, with_map ? in_.width : 0) {}

  INTERNET_MEMBER void operator()(int64_t index) const {
    const Task<T> task(in_, index);
    for (int64_t i = 0; i < task.anchors; i += 4) {
      const int64_t anchor = task.first_anchor + i, count = std::min<int64_t>(4, task.anchors - i);
      const auto logits = logits_.read(task.logits(in_.logits, anchor, count), task.rows);
      for (int j = 0; j < count; ++j) plane(task, anchor + j, logits.channel(j));
    }
  }

 private:
  static constexpr S nothing = -std::numeric_limits<S>::infinity();  // as a logit: it weighs zero

  // A shared map is read once.
  template <class U>
  INTERNET_MEMBER void plane(const Task<T>& task, int64_t anchor, const Tile<U>& logits) const {
    const auto source = task.map(in_.map, anchor);
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
  INTERNET_MEMBER Sums sums_of(const Tile<U>& logits, const Tile<U>& map, const Task<T>& task,
                               S reference) const {
    Sums sums{};
    for (int64_t y = 0; y < task.rows; ++y) {
      const U* line = logits.line(0, y);
      Sums row{};
      along<S>(in_.width, [&](int64_t x, auto count) {
        const V e = math::heat_weight(load_some(line + x, count, nothing), reference, in_.per_temperature);
        row.mass += e;
        row.x += e * at_.x(x);
        for (int c = 0; with_map && c < 4; ++c) row.jac[c] += e * load_some(map.line(c, y) + x, count, S(0));
      });
      sums.mass += row.mass;
      sums.x += row.x;
      sums.y += row.mass * at_.y(task.first_row + y);
      for (int c = 0; with_map && c < 4; ++c) sums.jac[c] += row.jac[c];
    }
    return sums;
  }

  INTERNET_MEMBER static math::HeatSums<double> total(const Sums& sums) {
    const auto sum = [](V v) { return double(sum_of_lanes<lanes<S>>(v)); };
    return {sum(sums.mass),
            sum(sums.x),
            sum(sums.y),
            {sum(sums.jac[0]), sum(sums.jac[1]), sum(sums.jac[2]), sum(sums.jac[3])}};
  }

  const SoftArgmaxForward<T>& p_;
  const HeatMaps<T>& in_;
  Coordinates<S> at_;
  Lines<in_place, const T> logits_, map_;
};

template <bool with_map, bool in_place, class T>
INTERNET_HD void forward_tasks(const SoftArgmaxForward<T>& p, int64_t begin, int64_t end) {
  const ForwardTasks<with_map, in_place, T> run(p);
  for (int64_t task = begin; task < end; ++task) run(task);
}

}  // namespace

template <class T>
void soft_argmax_forward(const SoftArgmaxForward<T>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  const bool with_map = p.in.map.data != nullptr;
  if (has_lines(p.in.logits) && has_lines(p.in.map)) {
    with_map ? forward_tasks<true, true>(p, begin, end) : forward_tasks<false, true>(p, begin, end);
  } else {
    with_map ? forward_tasks<true, false>(p, begin, end) : forward_tasks<false, false>(p, begin, end);
  }
}

INTERNET_INSTANTIATE_KERNEL(soft_argmax_forward, SoftArgmaxForward)

}  // namespace internet::cpu::INTERNET_ISA
