#pragma once

#include <array>

#include "math/exponential.h"
#include "math/value.h"
#include "math_bindings/numbers.h"

namespace internet::math {

using Vector = VectorOf<float, 8>::type;

// The same eight numbers through the SIMD form of a function.
template <class Function>
auto on_eight(Function function) {
  return [function](std::array<float, 8> numbers) {
    Vector v;
    for (int i = 0; i < 8; ++i) v[i] = numbers[i];
    v = function(v);
    for (int i = 0; i < 8; ++i) numbers[i] = v[i];
    return numbers;
  };
}

inline void bind_value(py::module_& m) {
  m.def("exp_below_88", py::vectorize([](double x) { return exp_below_88(x); }));
  m.def("exp_below_88_float", py::vectorize([](float x) { return exp_below_88(x); }));
  m.def("exp_below_88_eight", on_eight([](Vector x) { return exp_below_88(x); }));
  m.def("floor_eight", on_eight([](Vector x) { return floor_of(x); }));
  m.def("square_root_eight", on_eight([](Vector x) { return square_root(x); }));
  m.def("absolute_eight", on_eight([](Vector x) { return absolute(x); }));
  m.def("at_least", [](double x, double bound) { return at_least(x, bound); });
  m.def("at_most", [](double x, double bound) { return at_most(x, bound); });
  m.def("all_of_eight", [](std::array<int32_t, 8> mask) {
    return all(__builtin_bit_cast(typename Value<Vector>::Integer, mask));
  });
  m.def("larger", [](double a, double b) { return larger(a, b); });
}

}  // namespace internet::math
