#pragma once

#include "math/anchor_affine.h"
#include "math_bindings/numbers.h"

namespace internet::math {

inline void bind_anchor_affine(py::module_& m) {
  m.def("kept_determinant", [](double det) { return kept_determinant(det); });
  m.def("anchor_affine", [](const Numbers& row) {
    return with_axes(row, anchor_size, [&](auto n) { return numbers_of(anchor_affine(anchor_of<n>(row))); });
  });
  m.def("anchor_affine_vjp", [](const Numbers& row, const Numbers& grad) {
    return with_axes(row, anchor_size, [&](auto n) {
      return numbers_of(anchor_affine_vjp(anchor_of<n>(row), affine_of<n>(grad)));
    });
  });
  // At z, by way of the map along the row that z is in.
  m.def("moved", [](const Numbers& affine, const Numbers& z) {
    return with_axes(affine, affine_size,
                     [&](auto n) { return numbers_of(affine_of<n>(affine).row(point_of<n>(z)).at(z[0])); });
  });
  m.def("affine_pull", [](const Numbers& grad, const Numbers& z) {
    return with_axes_of(z, [&](auto n) {
      Affine<double, n> sum{};
      sum.add_pull(point_of<n>(grad), point_of<n>(z));
      return numbers_of(sum);
    });
  });
  // The background, its map row by row as `affine_of` has it.
  m.def("projected", [](const Numbers& projective, const Numbers& z) {
    return with_axes_of(z, [&](auto n) {
      const auto row = affine_of<n, n + 1>(projective).row(point_of<n>(z));
      return numbers_of(from_homogeneous(row.at(z[0])));
    });
  });
  m.def("projected_vjp", [](const Numbers& projective, const Numbers& z, const Numbers& grad) {
    return with_axes_of(z, [&](auto n) {
      const auto row = affine_of<n, n + 1>(projective).row(point_of<n>(z));
      Projective<double, n> sum{};
      sum.add_pull(from_homogeneous_vjp(row.at(z[0]), point_of<n>(grad)), point_of<n>(z));
      return numbers_of(sum);
    });
  });
}

}  // namespace internet::math
