// A team goes over its row's logits from the end to the beginning for the softmax, then from the beginning
// for the gradient. The packs that it saw last are still in registers, those before in the cache.
// Exponentials and sums are float32; double is used once per token. Bytes per logit, float32 / bfloat16:
// cross_entropy 8 / 4; softmax_statistics 4 / 2; cross_entropy_from_statistics 8 / 4. cross_entropy reads
// rows over 64 KiB a second time, from the cache if it holds the rows that are worked on at once: 17 MB on a
// GPU of 132 multiprocessors and rows of 192 KiB.
#include "kernels/cuda/ops/cross_entropy.hpp"

#include "kernels/cuda/ops/row_teams.hpp"

namespace collie::cuda {

namespace {

constexpr int held = 4;
constexpr unsigned most_threads = 1024;
constexpr int32_t ignored_label = -100;  // the value in kernels/operations.hpp
constexpr float no_logit = -INFINITY;

// The packs that one thread reads at once.
template <class T>
using Group = FullPack<T>[held];

template <class Members, class T>
constexpr __device__ int64_t group_elements() {
  return int64_t{Members::size()} * held * pack_width<T>;
}

// Calls f(column, i) for pack i of this thread in a group. Columns beyond the row are left out one pack of
// the whole team at a time, so f may see some of them.
template <class Members, class T, class F>
__device__ __forceinline__ void for_group(int64_t group, int64_t width, F f) {
  const int64_t step = int64_t{Members::size()} * pack_width<T>;
#pragma unroll
  for (int i = 0; i < held; ++i) {
    const int64_t start = (group * held + i) * step;
    if (start < width) f(start + int64_t{Members::lane()} * pack_width<T>, i);
  }
}

template <bool aligned, class Members, class T>
__device__ __forceinline__ void read_group(const T* row, int64_t group, int64_t width, Group<T>& packs) {
  for_group<Members, T>(group, width, [&](int64_t column, int i) {
    if (column < width)
      packs[i] = read_pack<aligned>(row + column, width - column, from_float<T>(no_logit));
    else
#pragma unroll
      for (T& value : packs[i].values) value = from_float<T>(no_logit);
  });
}

// The largest logit so far and the sum of exp(logit - largest): the online softmax of Milakov & Gimelshein
// (arXiv 1805.02867).
struct Softmax {
  float largest = no_logit, sum = 0;

  // The number that is subtracted. If no logit is finite, none has a part in the sum.
  __device__ float shift() const { return fmaxf(largest, -3.4028235e38F); }

  template <class Members, class T>
  __device__ __forceinline__ void add(const Group<T>& packs, int64_t group, int64_t width) {
    float most = largest;
    for_group<Members, T>(group, width, [&](int64_t, int i) {
#pragma unroll
      for (const T& value : packs[i].values) most = fmaxf(most, to_float(value));
    });
    if (most > largest) {
      sum *= __expf(largest - most);
      largest = most;
    }
    const float from = shift();
    for_group<Members, T>(group, width, [&](int64_t, int i) {
      float of_pack = 0;
#pragma unroll
      for (const T& value : packs[i].values) of_pack += __expf(to_float(value) - from);
      sum += of_pack;
    });
  }

  // The team's softmax, from those of its threads.
  template <class Members>
  __device__ __forceinline__ Softmax of_team() const {
    const float most = Members::max(largest);
    return {most, Members::sum(largest > no_logit ? sum * __expf(largest - most) : sum)};
  }
};

// The softmax of a whole row. The row's first group stays in `packs`.
template <bool aligned, class Members, class T>
__device__ __forceinline__ Softmax softmax_of(const T* row, int64_t width, Group<T>& packs) {
  Softmax softmax;
  for (int64_t group = divide_up(width, group_elements<Members, T>()) - 1; group >= 0; --group) {
    read_group<aligned, Members>(row, group, width, packs);
    softmax.template add<Members, T>(packs, group, width);
  }
  return softmax.of_team<Members>();
}

template <bool aligned, class Members, class T>
__device__ __forceinline__ void clear_row(T* row, int64_t width) {
  for_columns<Members, 1, pack_width<T>>(
      width, [&](int64_t column, int) { write_pack<aligned>(row + column, width - column, FullPack<T>{}); });
}

// The logits in `packs` become their gradients: exp(logit - largest) · factor, less `scale` for the label.
template <bool aligned, class T>
__device__ __forceinline__ void write_gradient(T* row, int64_t column, int64_t width, FullPack<T> pack,
                                               int64_t label, float largest, float factor, float scale) {
#pragma unroll
  for (int j = 0; j < pack_width<T>; ++j) {
    const float weight = __expf(to_float(pack.values[j]) - largest) * factor;
    pack.values[j] = from_float<T>(column + j == label ? weight - scale : weight);
  }
  write_pack<aligned>(row + column, width - column, pack);
}

template <bool aligned, bool warp, class T>
__global__ void __launch_bounds__(warp ? teams_per_block* warp_size : most_threads)
    cross_entropy_kernel(Typed<T> logits, const int32_t* labels, float scale, double* losses) {
  using Members = Team<warp>;
  const int64_t token = Members::index(), width = logits.width;
  if (token >= logits.rows) return;
  T* const row = logits.row(token);
  const int64_t label = labels[token];
  if (label == ignored_label) {
    clear_row<aligned, Members>(row, width);
    if (Members::lane() == 0) losses[token] = 0;
    return;
  }
  Group<T> packs;
  const Softmax softmax = softmax_of<aligned, Members>(row, width, packs);
  const float factor = scale / softmax.sum;
  const int64_t groups = divide_up(width, group_elements<Members, T>());
  for (int64_t group = 0; group < groups; ++group) {
    if (group > 0) read_group<aligned, Members>(row, group, width, packs);
    for_group<Members, T>(group, width, [&](int64_t column, int i) {
      if (column >= width) return;
      if (column <= label && label < column + pack_width<T>) {
        float target = 0;
#pragma unroll
        for (int j = 0; j < pack_width<T>; ++j)
          if (column + j == label) target = to_float(packs[i].values[j]);
        losses[token] = log(static_cast<double>(softmax.sum)) +
                        (static_cast<double>(softmax.largest) - static_cast<double>(target));
      }
      write_gradient<aligned>(row, column, width, packs[i], label, softmax.largest, factor, scale);
    });
  }
}

template <bool aligned, bool warp, class T>
__global__ void __launch_bounds__(warp ? teams_per_block* warp_size : most_threads)
    softmax_statistics_kernel(Typed<T> logits, const int32_t* labels, int64_t first, double* statistics) {
  using Members = Team<warp>;
  const int64_t token = Members::index(), width = logits.width;
  if (token >= logits.rows) return;
  const int64_t label = labels[token], column = label - first;
  double* const out = statistics + 3 * token;
  if (label == ignored_label) {
    if (Members::lane() < 3) out[Members::lane()] = 0;
    return;
  }
  Group<T> packs;
  const Softmax softmax = softmax_of<aligned, Members>(logits.row(token), width, packs);
  if (Members::lane() > 0) return;
  out[0] = static_cast<double>(softmax.largest);
  out[1] = static_cast<double>(softmax.sum);
  out[2] = column >= 0 && column < width ? static_cast<double>(to_float(logits.row(token)[column])) : 0.0;
}

// One token's softmax over all shards.
struct WholeSoftmax {
  double largest, sum, target;
};
// A whole warp computes it, with one shard per lane, and every lane gets it. `of_token` points to the first
// shard's statistics of the token.
__device__ __forceinline__ WholeSoftmax combined(const double* of_token, int64_t shards, int64_t stride) {
  WholeSoftmax softmax{-INFINITY, 0, 0};
  const int64_t lane = threadIdx.x % warp_size;
  for (int64_t r = lane; r < shards; r += warp_size)
    softmax.largest = fmax(softmax.largest, of_token[r * stride]);
  softmax.largest = warp_max(softmax.largest);
  for (int64_t r = lane; r < shards; r += warp_size) {
    const double* const shard = of_token + r * stride;
    softmax.sum = fma(shard[1], exp(shard[0] - softmax.largest), softmax.sum);
    softmax.target += shard[2];
  }
  softmax.sum = warp_sum(softmax.sum);
  softmax.target = warp_sum(softmax.target);
  return softmax;
}

template <bool aligned, bool warp, class T>
__global__ void __launch_bounds__(warp ? teams_per_block* warp_size : most_threads)
    from_statistics_kernel(Typed<T> logits, const int32_t* labels, int64_t first, const double* statistics,
                           int64_t shards, float scale, double* losses) {
  using Members = Team<warp>;
  __shared__ float of_token[teams_per_block][2];  // the largest logit, the factor
  const int64_t token = Members::index(), width = logits.width;
  if (token >= logits.rows) return;
  T* const row = logits.row(token);
  const int64_t label = labels[token];
  if (label == ignored_label) {
    clear_row<aligned, Members>(row, width);
    if (Members::lane() == 0) losses[token] = 0;
    return;
  }
  float* const shared = of_token[warp ? threadIdx.x / warp_size : 0];
  if (Members::lane() < warp_size) {
    const WholeSoftmax softmax = combined(statistics + 3 * token, shards, 3 * logits.rows);
    if (Members::lane() == 0) {
      losses[token] = log(softmax.sum) + softmax.largest - softmax.target;
      shared[0] = static_cast<float>(softmax.largest);
      shared[1] = scale / static_cast<float>(softmax.sum);
    }
  }
  if constexpr (warp)
    __syncwarp();
  else
    __syncthreads();
  const float largest = shared[0], factor = shared[1];
  for_columns<Members, 1, pack_width<T>>(width, [&](int64_t column, int) {
    const auto pack = read_pack<aligned>(row + column, width - column, from_float<T>(no_logit));
    write_gradient<aligned>(row, column, width, pack, label - first, largest, factor, scale);
  });
}

// Calls f(element type, aligned, warp, shape) for the launch with one team per row.
template <class F>
void for_rows(const Matrix& logits, F f) {
  with_type(logits.element, [&](auto type) {
    using T = decltype(type);
    const unsigned size = team_size(divide_up(logits.width, pack_width<T>), held, most_threads);
    with_alignment<T>({logits}, [&](auto aligned) {
      with_teams(logits.rows, size,
                 [&](auto warp, const LaunchShape& shape) { f(type, aligned, warp, shape); });
    });
  });
}

}  // namespace

void cross_entropy(cudaStream_t stream, const Matrix& logits, const int32_t* labels, float gradient_scale,
                   double* losses) {
  for_rows(logits, [&](auto type, auto aligned, auto warp, const LaunchShape& shape) {
    using T = decltype(type);
    launch(stream, shape, "cross_entropy", cross_entropy_kernel<aligned, warp, T>, typed<T>(logits), labels,
           gradient_scale, losses);
  });
}

void softmax_statistics(cudaStream_t stream, const Matrix& logits, const int32_t* labels, int64_t first,
                        double* statistics) {
  for_rows(logits, [&](auto type, auto aligned, auto warp, const LaunchShape& shape) {
    using T = decltype(type);
    launch(stream, shape, "softmax_statistics", softmax_statistics_kernel<aligned, warp, T>, typed<T>(logits),
           labels, first, statistics);
  });
}

void cross_entropy_from_statistics(cudaStream_t stream, const Matrix& logits, const int32_t* labels,
                                   int64_t first, const double* statistics, int64_t shards,
                                   float gradient_scale, double* losses) {
  for_rows(logits, [&](auto type, auto aligned, auto warp, const LaunchShape& shape) {
    using T = decltype(type);
    launch(stream, shape, "cross_entropy_from_statistics", from_statistics_kernel<aligned, warp, T>,
           typed<T>(logits), labels, first, statistics, shards, gradient_scale, losses);
  });
}

}  // namespace collie::cuda
