#include "cpu/simd/nchw_nhwc.h"

namespace internet::cpu::INTERNET_ISA {

INTERNET_ALL_PLANE_TILES()

}  // namespace internet::cpu::INTERNET_ISA
