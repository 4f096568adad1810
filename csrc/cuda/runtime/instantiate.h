// instantiate(T) for each storage type; and, for templates that serve images and volumes, instantiate(T,
// number of axes) for each storage type or for each arithmetic type.
#pragma once

#include "cuda/runtime/storage.h"

#define INTERNET_EACH_STORAGE(instantiate) \
  instantiate(float) instantiate(double) instantiate(__half) instantiate(__nv_bfloat16)

#define INTERNET_EACH_OPMATH_AND_AXES(instantiate) \
  instantiate(float, 2) instantiate(float, 3) instantiate(double, 2) instantiate(double, 3)

#define INTERNET_EACH_STORAGE_AND_AXES(instantiate) \
  INTERNET_EACH_OPMATH_AND_AXES(instantiate)        \
  instantiate(__half, 2) instantiate(__half, 3) instantiate(__nv_bfloat16, 2) instantiate(__nv_bfloat16, 3)
