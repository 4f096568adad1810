#include "arguments/pyramid_warp.h"
#include "cpu/confidence_warp/level.h"

namespace internet::cpu {

STABLE_TORCH_LIBRARY_IMPL(internet, CPU, m) {
  m.impl("pyramid_warp", TORCH_BOX(&PyramidWarpOperator<WarpLevel>::forward));
  m.impl("pyramid_warp_backward", TORCH_BOX(&PyramidWarpOperator<WarpLevel>::backward));
}

}  // namespace internet::cpu
