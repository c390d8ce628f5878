// Sums over the ranks that share a device.
#pragma once

#include <cstdint>

struct CUstream_st;

namespace collie::cuda {

enum class Summand : uint8_t { f32, f64, bf16 };

struct SummedArrays {
  static constexpr int most = 64;
  const void* in[most];
  void* out[most];
  int ins = 0, outs = 0;
};

// Queues out[k][i] = ((in[0][i] + in[1][i]) + in[2][i]) + ..., for every k and 0 <= i < count. bf16 is summed
// in float and rounded once. An array of `out` may be one of `in`. `in` has at least one array.
void rank_order_sum(CUstream_st* stream, Summand type, const SummedArrays& arrays, int64_t count);

}  // namespace collie::cuda
