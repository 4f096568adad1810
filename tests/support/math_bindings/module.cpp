// The scalar arithmetic of csrc/math for Python, in double: scalar_math.py compiles this, and the tests
// compare values with the equations and vector-Jacobian products with finite differences.
#include "math_bindings/affine_mixture.h"
#include "math_bindings/anchor_affine.h"
#include "math_bindings/anchor_features.h"
#include "math_bindings/bilinear.h"
#include "math_bindings/confidence_warp.h"
#include "math_bindings/flow_confidence.h"
#include "math_bindings/interpolate.h"
#include "math_bindings/masked_backwarp_loss.h"
#include "math_bindings/soft_argmax.h"
#include "math_bindings/upsample_motion.h"
#include "math_bindings/value.h"
#include "math_bindings/volume_warp.h"

using namespace internet::math;

PYBIND11_MODULE(math_bindings, m) {
  bind_value(m);
  bind_bilinear(m);
  bind_upsample_motion(m);
  bind_interpolate(m);
  bind_anchor_affine(m);
  bind_affine_mixture(m);
  bind_confidence_warp(m);
  bind_volume_warp(m);
  bind_masked_backwarp_loss(m);
  bind_flow_confidence(m);
  bind_soft_argmax(m);
  bind_anchor_features(m);
}
