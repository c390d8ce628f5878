// A block goes over a row. Each thread takes four vocabulary indices at a time, which share a Philox block,
// and computes logarithms only of what may be its largest. Bytes per logit: 4 (float32) or 2 (bfloat16).
#include "kernels/cuda/ops/gumbel_max.hpp"

#include "kernels/cuda/ops/packs.hpp"
#include "kernels/cuda/ops/philox.hpp"

namespace collie::cuda {

namespace {

constexpr unsigned threads = 256;

// The larger number, and of equal ones that of the lower index. An index of a vocabulary is exact in double.
struct Best {
  double value = -INFINITY, id = INFINITY;

  __device__ __forceinline__ void take(double other, double other_id) {
    if (other > value || (other == value && other_id < id)) {
      value = other;
      id = other_id;
    }
  }
};

// The formulas of kernels/gumbel.hpp.
__device__ __forceinline__ double noise_of(unsigned word) {
  return -log(-log((static_cast<double>(word) + 0.5) * 0x1p-32));
}
__device__ __forceinline__ double bound_of(unsigned word) {
  return (1 + __clz(static_cast<int>(~word))) * 0.6931472;
}

template <class T>
__global__ void __launch_bounds__(threads)
    gumbel_max_kernel(Typed<T> logits, int64_t first, uint64_t key, const int32_t* rows, double* best) {
  const int64_t token = blockIdx.x;
  const T* const row = logits.row(token);
  const auto low = static_cast<unsigned>(rows[2 * token]), high = static_cast<unsigned>(rows[2 * token + 1]);
  Best mine;
  for (int64_t group = first / 4 + threadIdx.x; 4 * group < first + logits.width; group += threads) {
    const uint4 bits = philox(key, uint4{low, high, static_cast<unsigned>(group), 0});
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int64_t id = 4 * group + i;
      if (id < first || id >= first + logits.width) continue;
      const unsigned word = word_of(bits, static_cast<unsigned>(i));
      const auto logit = static_cast<double>(to_float(row[id - first]));
      if (logit + bound_of(word) < mine.value) continue;
      mine.take(logit + noise_of(word), static_cast<double>(id));
    }
  }
  __shared__ double values[warp_size], ids[warp_size];
  const double value = block_max(mine.value, values);
  // Where no number is larger than -infinity, as of logits that are not numbers, the first index is taken.
  const double own = mine.value == value && value > -INFINITY ? -mine.id : -INFINITY;
  const double id = -block_max(own, ids);
  if (threadIdx.x > 0) return;
  best[2 * token] = value;
  best[2 * token + 1] = value > -INFINITY ? id : static_cast<double>(first);
}

}  // namespace

void gumbel_max(cudaStream_t stream, const Matrix& logits, int64_t first, uint64_t key, const int32_t* rows,
                double* best) {
  with_type(logits.element, [&](auto type) {
    using T = decltype(type);
    launch(stream, LaunchShape{{static_cast<unsigned>(logits.rows)}, {threads}}, "gumbel_max",
           gumbel_max_kernel<T>, typed<T>(logits), first, key, rows, best);
  });
}

}  // namespace collie::cuda
