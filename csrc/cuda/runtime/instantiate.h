// instantiate(T) for each type that data is stored in; or, of what there is for images and volumes,
// instantiate(T, number of axes) for each of these types, or of those that arithmetic is done in.
#pragma once

#include "cuda/runtime/storage.h"

#define INTERNET_EACH_STORAGE(instantiate) \
  instantiate(float) instantiate(double) instantiate(__half) instantiate(__nv_bfloat16)

#define INTERNET_EACH_OPMATH_AND_AXES(instantiate) \
  instantiate(float, 2) instantiate(float, 3) instantiate(double, 2) instantiate(double, 3)

#define INTERNET_EACH_STORAGE_AND_AXES(instantiate) \
  INTERNET_EACH_OPMATH_AND_AXES(instantiate)        \
  instantiate(__half, 2) instantiate(__half, 3) instantiate(__nv_bfloat16, 2) instantiate(__nv_bfloat16, 3)
