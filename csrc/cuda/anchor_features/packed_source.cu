// A thread for each pack of each pixel.
#include "cuda/anchor_features/packed_source.h"
#include "cuda/runtime/instantiate.h"
#include "cuda/runtime/launch.h"
#include "cuda/runtime/vectors.h"

namespace internet::cuda {
namespace {

template <class T, int N>
__global__ void pack_kernel(PackSource<T, N> p) {
  constexpr int n = channels_of_a_pack<T>;
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  int64_t line = i, at = 0;
  INTERNET_UNROLL
  for (int axis = N - 1; axis >= 0; --axis) {
    const int64_t next = line / p.size[axis];
    at += (line - next * p.size[axis]) * p.source.stride[2 + axis];
    line = next;
  }
  const int64_t image = line / p.packs(), first = (line - image * p.packs()) * n;
  if (image >= p.batch) return;
  const T* channel = p.source.data + image * p.source.stride[0] + first * p.source.stride[1] + at;
  Pack<T, n> pack;
#pragma unroll
  for (int c = 0; c < n; ++c) {
    pack.value[c] = first + c < p.channels ? channel[c * p.source.stride[1]] : narrow<T>(0);
  }
  reinterpret_cast<Pack<T, n>*>(p.packed)[i] = pack;
}

}  // namespace

template <class T, int N>
cudaError_t pack_source(const PackSource<T, N>& p, cudaStream_t stream) {
  int64_t packs = p.batch * p.packs();
  for (int axis = 0; axis < N; ++axis) packs *= p.size[axis];
  return launch_each(pack_kernel<T, N>, packs, stream, p);
}

#define INSTANTIATE(T, N) template cudaError_t pack_source(const PackSource<T, N>&, cudaStream_t);
INTERNET_EACH_STORAGE_AND_AXES(INSTANTIATE)

}  // namespace internet::cuda
