// There is one warp per sum. The additions wait for each other, some eight cycles each, so the longest sum
// decides the time. A piece of its values comes to shared memory while those of the piece before are added.
#include "kernels/cuda/ops/ordered_sums.hpp"

#include "kernels/cuda/attention/mma.hpp"
#include "kernels/cuda/launch.hpp"

namespace collie::cuda {

namespace {

constexpr int piece = 256;  // values

// The remaining values of a sum, the same on every lane.
struct Rest {
  const double* values;
  const int32_t *firsts, *counts;
  int32_t run, runs;             // the next run, and the end of the runs
  int32_t first = 0, count = 0;  // of the run that has begun
};

// Begins to copy the next values, and returns how many: a piece, or the last ones. It does so however short
// the runs are.
__device__ __forceinline__ int copy_piece(Rest& rest, double* to) {
  int copied = 0;
  while (copied < piece) {
    if (rest.count == 0) {
      if (rest.run == rest.runs) break;
      rest.first = rest.firsts[rest.run];
      rest.count = rest.counts[rest.run];
      ++rest.run;
    }
    const int some = rest.count < piece - copied ? rest.count : piece - copied;
    for (int i = static_cast<int>(threadIdx.x); i < some; i += warp_size)
      copy_8_async(to + copied + i, rest.values + rest.first + i);
    copied += some;
    rest.first += some;
    rest.count -= some;
  }
  return copied;
}

__global__ void __launch_bounds__(warp_size)
    ordered_sums_kernel(const double* values, const int32_t* words, int64_t runs, double* sums) {
  __shared__ double held[2][piece];
  const int32_t* const starts = words;
  const int32_t* const firsts = words + gridDim.x + 1;
  Rest rest{values, firsts, firsts + runs, starts[blockIdx.x], starts[blockIdx.x + 1]};
  double sum = 0;
  int count = copy_piece(rest, held[0]);
  for (int now = 0; count > 0; now ^= 1) {
    wait_for_copies();
    __syncwarp();  // every lane's values are there, and all lanes are done with the other piece
    const int next = copy_piece(rest, held[now ^ 1]);
#pragma unroll 16
    for (int i = 0; i < count; ++i) sum += held[now][i];
    count = next;
  }
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

}  // namespace

void ordered_sums(cudaStream_t stream, const double* values, const int32_t* words, int64_t runs,
                  int64_t count, double* sums) {
  launch(stream, {{static_cast<unsigned>(count)}, {warp_size}}, "ordered_sums", ordered_sums_kernel, values,
         words, runs, sums);
}

}  // namespace collie::cuda
