#include "cpu/simd/nchw_nhwc.h"

namespace internet::cpu::INTERNET_ISA {

INTERNET_ALL_NCHW_NHWC()

}  // namespace internet::cpu::INTERNET_ISA
