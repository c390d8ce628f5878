// Bytes per element of x: 4 (float32) or 2 (bfloat16). Squares are added in double, with one fused
// multiply-add per element. If double runs at 1/64 of float's rate, that and not memory bounds bfloat16.
#include "kernels/cuda/ops/reductions.hpp"

#include "kernels/cuda/ops/packs.hpp"

namespace collie::cuda {

namespace {

constexpr int64_t block_elements = 4096;  // kernels/operations.hpp: reduction_block
constexpr unsigned threads = 256;

template <bool aligned, class T>
__global__ void __launch_bounds__(threads) sums_of_squares_kernel(const T* x, int64_t count, double* out) {
  constexpr int V = pack_width<T>, packs = block_elements / (threads * V);
  __shared__ double slots[warp_size];
  FullPack<T> held[packs];
#pragma unroll
  for (int i = 0; i < packs; ++i) {
    const int64_t at = blockIdx.x * block_elements + (i * int64_t{threads} + threadIdx.x) * V;
    held[i] = at + V <= count ? read_pack<aligned>(x + at, V) : read_pack<false>(x + at, count - at);
  }
  double sum = 0;
#pragma unroll
  for (int i = 0; i < packs; ++i)
#pragma unroll
    for (int j = 0; j < V; ++j) {
      const auto value = static_cast<double>(to_float(held[i].values[j]));
      sum += value * value;
    }
  sum = block_sum(sum, slots);
  if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

constexpr unsigned sum_threads = 1024;

__global__ void __launch_bounds__(sum_threads)
    add_sum_kernel(const double* values, int64_t count, double* total) {
  __shared__ double slots[warp_size];
  double sum = 0;
#pragma unroll 8
  for (int64_t i = threadIdx.x; i < count; i += sum_threads) sum += values[i];
  sum = block_sum(sum, slots);
  if (threadIdx.x == 0) *total += sum;
}

}  // namespace

void block_sums_of_squares(cudaStream_t stream, const void* x, Element element, int64_t count, double* out) {
  const LaunchShape shape{{static_cast<unsigned>(divide_up(count, block_elements))}, {threads}};
  with_type(element, [&](auto type) {
    using T = decltype(type);
    const auto run = [&](auto aligned) {
      launch(stream, shape, "block_sums_of_squares", sums_of_squares_kernel<aligned, T>,
             static_cast<const T*>(x), count, out);
    };
    if (reinterpret_cast<uintptr_t>(x) % 16 == 0)
      run(std::true_type{});
    else
      run(std::false_type{});
  });
}

void add_sum(cudaStream_t stream, const double* values, int64_t count, double* total) {
  launch(stream, {{1}, {sum_threads}}, "add_sum", add_sum_kernel, values, count, total);
}

}  // namespace collie::cuda
