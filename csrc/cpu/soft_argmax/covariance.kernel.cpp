// The second pass over the logits: covariances about the key points that the first found.
#include <limits>

#include "cpu/runtime/denormals.h"
#include "cpu/soft_argmax/tiles.h"

namespace internet::cpu::INTERNET_ISA {
namespace {

using namespace heat;

template <bool in_place, class T, int N>
class CovarianceTasks {
  using S = opmath<T>;
  using V = Native<S>;

 public:
  INTERNET_MEMBER explicit CovarianceTasks(const SoftArgmaxCovariance<T, N>& p)
      : p_(p), in_(p.in), at_(in_), logits_(in_.rows_per_group, in_.width, 4) {}

  INTERNET_MEMBER void operator()(int64_t index) const {
    const Task task(in_, index);
    for (int64_t i = 0; i < task.anchors; i += 4) {
      const int64_t anchor = task.first_anchor + i, count = std::min<int64_t>(4, task.anchors - i);
      const auto logits = logits_.read(task.logits(in_.logits, anchor, count), task.rows);
      for (int j = 0; j < count; ++j) {
        const int64_t plane = task.image * in_.anchors + anchor + j;
        p_.partials[plane * in_.groups() + task.group] = moments(task, p_.points[plane], logits.channel(j));
      }
    }
  }

 private:
  template <class U>
  INTERNET_MEMBER math::HeatMoments<double, N> moments(const Task& task,
                                                       const math::HeatGradient<S, N>& point,
                                                       const Tile<U>& logits) const {
    constexpr S nothing = -std::numeric_limits<S>::infinity();  // as a logit, it has weight zero
    math::HeatMoments<V, N> sums{};
    for (int64_t y = 0; y < task.rows; ++y) {
      const U* line = logits.line(0, y);
      V mass{}, first{}, second{};
      along<S>(in_.width, [&](int64_t x, auto count) {
        const V e =
            math::heat_weight(load_some(line + x, count, nothing), point.reference, in_.per_temperature);
        const V d = at_.x(x) - point.position[0], ed = e * d;
        mass += e;
        first += ed;
        second += ed * d;
      });
      auto offset = at_.of_row(task.slice, task.first_row + y);
      for (int i = 1; i < N; ++i) offset.coordinate[i - 1] -= point.position[i];
      math::add_row(sums, mass, first, second, offset.coordinate);
    }
    math::HeatMoments<double, N> all;
    for (int i = 0; i < math::triangle<N>; ++i) all.entry[i] = double(sum_of_lanes<lanes<S>>(sums.entry[i]));
    return all;
  }

  const SoftArgmaxCovariance<T, N>& p_;
  const HeatMaps<T, N>& in_;
  Coordinates<S, N> at_;
  Lines<in_place, const T> logits_;
};

template <bool in_place, class T, int N>
INTERNET_HD void covariance_tasks(const SoftArgmaxCovariance<T, N>& p, int64_t begin, int64_t end) {
  const CovarianceTasks<in_place, T, N> run(p);
  for (int64_t task = begin; task < end; ++task) run(task);
}

}  // namespace

template <class T, int N>
void soft_argmax_covariance(const SoftArgmaxCovariance<T, N>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  has_lines(p.in.logits) ? covariance_tasks<true>(p, begin, end) : covariance_tasks<false>(p, begin, end);
}

INTERNET_INSTANTIATE_KERNEL_OF_AXES(soft_argmax_covariance, SoftArgmaxCovariance)

}  // namespace internet::cpu::INTERNET_ISA
