// Each pixel is visited once: the forward pass stored its plane's largest logit and sum of exponentials.
#include "cpu/runtime/denormals.h"
#include "cpu/soft_argmax/tiles.h"

namespace internet::cpu::INTERNET_ISA {
namespace {

using namespace heat;

// `with_map`: the Jacobians have gradients, so that the logits' gradients depend on the map.
template <bool to_logits, bool to_map, bool with_map, bool in_place, class T, int N>
class BackwardTasks {
  using S = opmath<T>;
  using V = Native<S>;

 public:
  INTERNET_MEMBER explicit BackwardTasks(const SoftArgmaxBackward<T, N>& p)
      : p_(p),
        in_(p.in),
        at_(in_),
        logits_(in_.rows_per_group, in_.width, 4),
        map_(in_.rows_per_group, in_.width, entries),
        grad_logits_(in_.rows_per_group, in_.width, 4),
        grad_map_(in_.rows_per_group, in_.width, entries) {}

  INTERNET_MEMBER void operator()(int64_t index) const {
    const Task task(in_, index);
    for (int64_t i = 0; i < task.anchors; i += 4) {
      const int64_t anchor = task.first_anchor + i, count = std::min<int64_t>(4, task.anchors - i);
      const auto logits = logits_.read(task.logits(in_.logits, anchor, count), task.rows);
      const auto target = task.logits(p_.grad_logits, anchor, count);
      const auto grad_logits = grad_logits_.of(target);
      for (int j = 0; j < count; ++j) plane(task, anchor + j, logits.channel(j), grad_logits.channel(j));
      if (to_logits) grad_logits_.write(target, task.rows);
    }
  }

 private:
  // A shared map is read once, and its gradient written once.
  template <class U>
  INTERNET_MEMBER void plane(const Task& task, int64_t anchor, const Tile<const U>& logits,
                             const Tile<U>& grad_logits) const {
    const bool first = !in_.shared_map || anchor == 0, last = !in_.shared_map || anchor + 1 == in_.anchors;
    const auto source = task.map(in_.map, anchor, entries);
    const auto target = task.map(p_.grad_map, anchor, entries);
    if (with_map && first) map_.read(source, task.rows);
    const auto map = map_.of(source);
    const auto grad_map = grad_map_.of(target);
    const auto& g = p_.gradients[task.image * in_.anchors + anchor];
    for (int64_t y = 0; y < task.rows; ++y) {
      const auto at = at_.of_row(task.slice, task.first_row + y);
      row(g, math::heat_row(g, at.coordinate), y, logits, map, grad_logits, grad_map, !first);
    }
    if (to_map && last) grad_map_.write(target, task.rows);
  }

  template <class U>
  INTERNET_MEMBER void row(const math::HeatGradient<S, N>& g, const math::HeatRow<S>& pull, int64_t y,
                           const Tile<const U>& logits, const Tile<const U>& map, const Tile<U>& grad_logits,
                           const Tile<U>& grad_map, bool add_to_map) const {
    along<S>(in_.width, [&](int64_t x, auto count) {
      const V logit = load_some(logits.line(0, y) + x, count, S(0));
      const V heat = math::heat_weight(logit, g.reference, in_.per_temperature) * g.per_mass;
      if constexpr (to_logits) {
        V m[entries];
        for (int c = 0; with_map && c < entries; ++c) m[c] = load_some(map.line(c, y) + x, count, S(0));
        store_some(grad_logits.line(0, y) + x, count,
                   math::heat_logit_gradient<with_map, V>(g, pull, heat, at_.x(x), m, in_.per_temperature));
      }
      for (int c = 0; to_map && c < entries; ++c) {
        U* out = grad_map.line(c, y) + x;
        V grad = heat * g.grad_jac[c];
        if (add_to_map) grad += load_some(out, count, S(0));
        store_some(out, count, grad);
      }
    });
  }

  static constexpr int entries = N * N;

  const SoftArgmaxBackward<T, N>& p_;
  const HeatMaps<T, N>& in_;
  Coordinates<S, N> at_;
  Lines<in_place, const T> logits_, map_;
  Lines<in_place, T> grad_logits_, grad_map_;
};

template <bool to_logits, bool to_map, bool with_map, class T, int N>
INTERNET_HD void backward_tasks(const SoftArgmaxBackward<T, N>& p, int64_t begin, int64_t end) {
  const auto run = [&](const auto& tasks) {
    for (int64_t task = begin; task < end; ++task) tasks(task);
  };
  // The gradient of a shared map is a sum, for which its own type may be too narrow.
  const bool narrow_sum = to_map && p.in.shared_map && !std::is_same_v<T, opmath<T>>;
  if (!narrow_sum && has_lines(p.in.logits) && has_lines(p.in.map) && has_lines(p.grad_logits) &&
      has_lines(p.grad_map)) {
    run(BackwardTasks<to_logits, to_map, with_map, true, T, N>(p));
  } else {
    run(BackwardTasks<to_logits, to_map, with_map, false, T, N>(p));
  }
}

}  // namespace

template <class T, int N>
void soft_argmax_backward(const SoftArgmaxBackward<T, N>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  const bool to_logits = p.grad_logits.data != nullptr, to_map = p.grad_map.data != nullptr;
  if (!to_logits) {
    backward_tasks<false, true, false>(p, begin, end);
  } else if (to_map) {
    backward_tasks<true, true, true>(p, begin, end);
  } else if (p.in.map.data != nullptr) {
    backward_tasks<true, false, true>(p, begin, end);
  } else {
    backward_tasks<true, false, false>(p, begin, end);
  }
}

INTERNET_INSTANTIATE_KERNEL_OF_AXES(soft_argmax_backward, SoftArgmaxBackward)

}  // namespace internet::cpu::INTERNET_ISA
