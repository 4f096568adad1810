#include "arguments/pyramid_warp.h"
#include "cuda/confidence_warp/level.h"

namespace internet::cuda {

STABLE_TORCH_LIBRARY_IMPL(internet, CUDA, m) {
  m.impl("pyramid_warp", TORCH_BOX(&PyramidWarpOperator<WarpLevel>::forward));
  m.impl("pyramid_warp_backward", TORCH_BOX(&PyramidWarpOperator<WarpLevel>::backward));
}

}  // namespace internet::cuda
