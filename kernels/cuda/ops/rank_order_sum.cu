#include "kernels/cuda/ops/rank_order_sum.hpp"

#include "kernels/cuda/ops/packs.hpp"

namespace collie::cuda {

namespace {

template <class T>
struct Sum {  // the type in which elements are added
  using Type = float;
};
template <>
struct Sum<double> {
  using Type = double;
};

template <class T>
__device__ __forceinline__ typename Sum<T>::Type widened(T x) {
  if constexpr (sizeof(T) == 8)
    return x;
  else
    return to_float(x);
}
template <class T>
__device__ __forceinline__ T narrowed(typename Sum<T>::Type x) {
  if constexpr (sizeof(T) == 8)
    return x;
  else
    return from_float<T>(x);
}

// A thread reads a pack of every input before it writes any output, since they may be the same memory.
template <class T, bool aligned>
__global__ void rank_order_sum_kernel(SummedArrays arrays, int64_t count) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x * pack_width<T>;
  for (int64_t at = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * pack_width<T>; at < count;
       at += step) {
    typename Sum<T>::Type sum[pack_width<T>] = {};
    for (int rank = 0; rank < arrays.ins; ++rank) {
      const auto pack = read_pack<aligned>(static_cast<const T*>(arrays.in[rank]) + at, count - at);
#pragma unroll
      for (int i = 0; i < pack_width<T>; ++i)
        sum[i] = rank == 0 ? widened(pack.values[i]) : sum[i] + widened(pack.values[i]);
    }
    FullPack<T> result;
#pragma unroll
    for (int i = 0; i < pack_width<T>; ++i) result.values[i] = narrowed<T>(sum[i]);
    for (int rank = 0; rank < arrays.outs; ++rank)
      write_pack<aligned>(static_cast<T*>(arrays.out[rank]) + at, count - at, result);
  }
}

bool aligned_packs(const SummedArrays& arrays, int64_t bytes) {
  uintptr_t all = static_cast<uintptr_t>(bytes);
  for (int i = 0; i < arrays.ins; ++i) all |= reinterpret_cast<uintptr_t>(arrays.in[i]);
  for (int i = 0; i < arrays.outs; ++i) all |= reinterpret_cast<uintptr_t>(arrays.out[i]);
  return all % 16 == 0;
}

template <class T>
void run(cudaStream_t stream, const SummedArrays& arrays, int64_t count) {
  constexpr unsigned threads = 128;
  const int64_t blocks = divide_up(divide_up(count, pack_width<T>), threads);
  const LaunchShape shape{{static_cast<unsigned>(blocks < 4096 ? blocks : 4096)}, {threads}};
  const bool aligned = aligned_packs(arrays, count * static_cast<int64_t>(sizeof(T)));
  launch(stream, shape, "rank_order_sum",
         aligned ? rank_order_sum_kernel<T, true> : rank_order_sum_kernel<T, false>, arrays, count);
}

}  // namespace

void rank_order_sum(CUstream_st* stream, Summand type, const SummedArrays& arrays, int64_t count) {
  switch (type) {
    case Summand::f32:
      return run<float>(stream, arrays, count);
    case Summand::f64:
      return run<double>(stream, arrays, count);
    case Summand::bf16:
      return run<bfloat16>(stream, arrays, count);
  }
}

}  // namespace collie::cuda
