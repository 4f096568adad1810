// The heat maps of anchor_features, as kernels access them. S is float or double; there are N axes.
#pragma once

#include "arguments/anchor_views.h"
#include "math/anchor_features.h"

namespace internet {

template <class S, int N>
struct HeatMapViews {
  AnchorViews<S, N> anchors;
  Strided<const S, 4> covariance_source, covariance_driving;  // (B, K, N, N); no data: one variance for all
  double variance;

  INTERNET_MEMBER bool has_covariances() const { return covariance_source.data != nullptr; }

  // The heat map of anchor k of image b, in double like its motion.
  INTERNET_MEMBER math::HeatMap<double, N> at(int64_t b, int64_t k) const {
    const math::Anchor<double, N> anchor = anchors.at(b, k);
    return {gaussian(anchor.driving, covariance_driving, b, k),
            gaussian(anchor.source, covariance_source, b, k)};
  }

  // Adds to the gradients with respect to the two key points the part that comes through the heat map.
  INTERNET_MEMBER void add_point_gradients(int64_t b, int64_t k,
                                           const math::HeatMapMoments<double, N>& moments,
                                           math::KeyPoints<double, N>& grad) const {
    const math::HeatMap<double, N> heat_map = at(b, k);
    math::add_point_gradient(heat_map.driving, moments.driving, grad.driving);
    math::add_point_gradient(heat_map.source, moments.source, grad.source);
  }
  // The gradients with respect to the two covariances.
  INTERNET_MEMBER math::Matrix<double, N> source_covariance_gradient(
      int64_t b, int64_t k, const math::HeatMapMoments<double, N>& moments) const {
    return covariance_gradient(covariance_source, b, k, moments.source);
  }
  INTERNET_MEMBER math::Matrix<double, N> driving_covariance_gradient(
      int64_t b, int64_t k, const math::HeatMapMoments<double, N>& moments) const {
    return covariance_gradient(covariance_driving, b, k, moments.driving);
  }

 private:
  INTERNET_MEMBER math::Gaussian<double, N> gaussian(const double* point,
                                                     const Strided<const S, 4>& covariance, int64_t b,
                                                     int64_t k) const {
    if (!has_covariances()) return math::isotropic_gaussian<N>(point, variance);
    double matrix[N][N];
    AnchorViews<S, N>::matrix(covariance, b, k, matrix);
    return math::covariance_gaussian(point, matrix);
  }
  INTERNET_MEMBER static math::Matrix<double, N> covariance_gradient(
      const Strided<const S, 4>& covariance, int64_t b, int64_t k,
      const math::GaussianMoments<double, N>& moments) {
    double matrix[N][N];
    AnchorViews<S, N>::matrix(covariance, b, k, matrix);
    return math::covariance_gradient(matrix, moments);
  }
};

}  // namespace internet
