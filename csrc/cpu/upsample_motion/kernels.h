// The kernels of upsample_motion. Tasks are rows: fine ones forward, coarse ones backward.
#pragma once

#include "arguments/upsample_motion_views.h"
#include "cpu/runtime/isa.h"

INTERNET_DECLARE_KERNEL(upsample_motion, UpsampleMotion)
INTERNET_DECLARE_KERNEL(upsample_motion_backward, UpsampleMotionBackward)
