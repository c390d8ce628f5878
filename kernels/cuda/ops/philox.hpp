// The counter-based generator of base/random.hpp (Philox4x32-10, Salmon et al., SC 2011) on the device, with
// the same bits. For .cu files only.
#pragma once

#include "kernels/cuda/api.hpp"

namespace collie::cuda {

// The 128 bits at `counter` under `key`.
__device__ __forceinline__ uint4 philox(uint64_t key, uint4 counter) {
  unsigned key0 = static_cast<unsigned>(key), key1 = static_cast<unsigned>(key >> 32);
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const unsigned high0 = __umulhi(0xD2511F53U, counter.x), low0 = 0xD2511F53U * counter.x;
    const unsigned high1 = __umulhi(0xCD9E8D57U, counter.z), low1 = 0xCD9E8D57U * counter.z;
    counter = {high1 ^ counter.y ^ key0, low1, high0 ^ counter.w ^ key1, low0};
    key0 += 0x9E3779B9U;
    key1 += 0xBB67AE85U;
  }
  return counter;
}

// The word of 32 bits at `which` % 4.
__device__ __forceinline__ unsigned word_of(uint4 bits, unsigned which) {
  which %= 4;
  return which == 0 ? bits.x : which == 1 ? bits.y : which == 2 ? bits.z : bits.w;
}

// The 128 bits at `index` of the stream with `key`, which are those of RandomStream(key) on the host.
__device__ __forceinline__ uint4 philox(uint64_t key, uint64_t index) {
  return philox(key, uint4{static_cast<unsigned>(index), static_cast<unsigned>(index >> 32), 0, 0});
}

}  // namespace collie::cuda
