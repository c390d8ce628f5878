// There is one block per sum. Its threads share a node's values in equal subtrees. They add their own
// subtrees first and then each other's: of 250,000 values (one matrix of 1e9 elements) each thread adds some
// 1,000.
#include "kernels/cuda/ops/tree_sums.hpp"

#include "kernels/cuda/launch.hpp"
#include "kernels/tree_sum.hpp"

namespace collie::cuda {

namespace {

constexpr unsigned most_threads = 256;
constexpr int64_t few_values = 256;  // in a node: a warp adds them as fast

// The tree over `count` values, for thread 0.
__device__ __forceinline__ double sum_of_node(const double* values, int64_t count, double* held) {
  int64_t subtree = 1;  // values per thread
  while (subtree * blockDim.x < count) subtree *= 2;
  const auto used = static_cast<int>(divide_up(count, subtree)), thread = static_cast<int>(threadIdx.x);
  if (thread < used) {
    const int64_t first = thread * subtree, rest = count - first;
    held[thread] = tree_sum(values + first, rest < subtree ? rest : subtree);
  }
  for (int half = 1; half < used; half *= 2) {
    __syncthreads();
    if (thread % (2 * half) == 0 && thread + half < used) held[thread] += held[thread + half];
  }
  const double sum = used > 0 ? held[0] : 0;
  __syncthreads();  // `held` is free again
  return sum;
}

__global__ void __launch_bounds__(most_threads)
    tree_sums_kernel(const double* values, const int32_t* words, int64_t nodes, double* sums) {
  __shared__ double held[most_threads];
  // Used by thread 0: trees that have no neighbour yet, each lower than the one before.
  double left[most_tree_height] = {};
  int heights[most_tree_height] = {};
  int size = 0;
  const int32_t* const starts = words;
  const int32_t* const firsts = words + gridDim.x + 1;
  for (int32_t node = starts[blockIdx.x]; node < starts[blockIdx.x + 1]; ++node) {
    double sum = sum_of_node(values + firsts[node], firsts[nodes + node], held);
    if (threadIdx.x != 0) continue;
    int height = firsts[2 * nodes + node];
    for (; size > 0 && heights[size - 1] == height; ++height) sum = left[--size] + sum;
    left[size] = sum;
    heights[size++] = height;
  }
  if (threadIdx.x != 0) return;
  double sum = size > 0 ? left[--size] : 0;
  while (size > 0) sum = left[--size] + sum;
  sums[blockIdx.x] = sum;
}

}  // namespace

void tree_sums(cudaStream_t stream, const double* values, const int32_t* words, int64_t nodes, int64_t count,
               int64_t largest, double* sums) {
  const unsigned threads = largest <= few_values ? warp_size : most_threads;
  launch(stream, {{static_cast<unsigned>(count)}, {threads}}, "tree_sums", tree_sums_kernel, values, words,
         nodes, sums);
}

}  // namespace collie::cuda
