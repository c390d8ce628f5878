// Flash attention forward in float32 (Dao, arXiv 2307.08691). A block of 256 threads takes 64 queries of one
// head and goes over the keys 64 at a time. Keys and values take turns in one buffer.
//
// Cost per 64 × 64 pairs: 4 · 64 · 64 · D flops (2.1 M at D = 128) on 64 KiB from L2. Each step of four
// columns has 64 multiply-adds per thread for eight 16-byte reads of shared memory. Shared memory per block:
// D = 32, 35 KiB; 64, 51 KiB; 128, 83 KiB; 256, 147 KiB. Registers (nvcc 13, sm_80): 116, 128, 128, 172. So a
// multiprocessor of sm_80 should hold 2, 2, 1 and 1 blocks of 8 warps, of sm_90 4, 2, 2 and 1.
#include "kernels/cuda/attention/products.hpp"
#include "kernels/cuda/attention/score_rules.hpp"

namespace collie::cuda {

namespace {

constexpr int query_rows = 64, key_rows = 64, per_thread = 4;

struct Forward {
  HeadRows<const float> q, k, v;  // of head 0
  HeadRows<float> out;
  float* log_sum_exp;
  const AttentionTile* tiles;
  int heads, group;
  int window;
  float score_scale;
  ScoreRules rules;
};

// The maximum over the 16 threads of a row.
__device__ __forceinline__ float row_max(float value) {
  for (int bits = 8; bits > 0; bits /= 2) value = fmaxf(value, __shfl_xor_sync(all_lanes, value, bits));
  return value;
}
__device__ __forceinline__ float row_sum(float value) {
  for (int bits = 8; bits > 0; bits /= 2) value += __shfl_xor_sync(all_lanes, value, bits);
  return value;
}

template <int D, bool plain>
__global__ void __launch_bounds__(product_threads) forward_kernel(Forward x) {
  const AttentionTile tile = x.tiles[blockIdx.x / static_cast<unsigned>(x.heads)];
  const int head = static_cast<int>(blockIdx.x % static_cast<unsigned>(x.heads));
  const Visible<Side::queries> visible{tile, x.window};
  const int y = threadIdx.x / 16, column = threadIdx.x % 16, depth = (x.q.head_dim + 3) / 4 * 4;
  x.q.data += int64_t{head} * x.q.head_dim;
  x.k.data += int64_t{head / x.group} * x.k.head_dim;
  x.v.data += int64_t{head / x.group} * x.v.head_dim;
  x.out.data += int64_t{head} * x.out.head_dim;
  auto* shared = static_cast<float*>(dynamic_shared());
  const FloatRows<D> own{shared}, others{own.row(query_rows)};
  const FloatRows<key_rows> weights{others.row(key_rows)};

  load_rows<D, query_rows>(own, x.q, tile.own_first, tile.own_count);
  RowSums<per_thread, D> out;
  float largest[per_thread], sums[per_thread] = {};
  for (float& each : largest) each = -INFINITY;
  for (int key = 0; key < tile.other_count; key += key_rows) {
    __syncthreads();  // the values before are free
    load_rows<D, key_rows>(others, x.k, tile.other_first + int64_t{key}, tile.other_count - key);
    __syncthreads();
    float scores[per_thread][key_rows / 16] = {};
    multiply_transposed(scores, own, others, depth);
#pragma unroll
    for (int i = 0; i < per_thread; ++i) {
      float best = largest[i];
#pragma unroll
      for (int j = 0; j < key_rows / 16; ++j) {
        // The score is rounded as in the backward: if one score outweighs all, its weight is 1 to the last
        // bit.
        float score = __fmul_rn(scores[i][j], x.score_scale);
        [[maybe_unused]] float slope;
        if constexpr (!plain) score = capped(x.rules, score, slope);
        scores[i][j] = visible.meet(y + 16 * i, key + column + 16 * j) ? score : -INFINITY;
        best = fmaxf(best, scores[i][j]);
      }
      best = row_max(best);
      const float base = best == -INFINITY ? 0 : best;  // a row that has seen nothing yet
      const float factor = expf(largest[i] - base);
      largest[i] = best;
      sums[i] *= factor;
#pragma unroll
      for (int j = 0; j < key_rows / 16; ++j) {
        float weight = expf(scores[i][j] - base);
        sums[i] += weight;
        if constexpr (!plain)
          weight *= factor_of_pair<Side::queries>(x.rules, tile, y + 16 * i, key + column + 16 * j, head);
        weights.row(y + 16 * i)[column + 16 * j] = weight;
      }
#pragma unroll
      for (auto& pack : out.at[i])
#pragma unroll
        for (float& each : pack) each *= factor;
    }
    __syncthreads();  // the keys are free
    load_rows<D, key_rows>(others, x.v, tile.other_first + int64_t{key}, tile.other_count - key);
    __syncthreads();
    multiply_add(out, weights, others);
  }

  float inverse[per_thread];
#pragma unroll
  for (int i = 0; i < per_thread; ++i) {
    const float sum = row_sum(sums[i]);
    inverse[i] = 1 / sum;
    if (column == 0 && y + 16 * i < tile.own_count)
      x.log_sum_exp[(tile.own_first + int64_t{y} + 16 * i) * x.heads + head] = largest[i] + logf(sum);
  }
  store_rows(out, inverse, x.out, tile.own_first, tile.own_count);
}

template <int D>
void run(cudaStream_t stream, const Forward& x, int64_t tiles) {
  constexpr int floats =
      (query_rows + key_rows) * FloatRows<D>::stride + query_rows * FloatRows<key_rows>::stride;
  launch(stream,
         {{static_cast<unsigned>(tiles * x.heads)},
          {product_threads},
          static_cast<size_t>(floats) * sizeof(float)},
         "attention", x.rules.plain() ? forward_kernel<D, true> : forward_kernel<D, false>, x);
}

}  // namespace

void attention_float(cudaStream_t stream, const AttentionViews& views, const TilesOnDevice& tiles) {
  const int64_t dim = views.head_dim;
  const Forward x{head_rows<const float>(views.q, dim),
                  head_rows<const float>(views.k, dim),
                  head_rows<const float>(views.v, dim),
                  head_rows<float>(views.out, dim),
                  views.log_sum_exp,
                  tiles.data,
                  static_cast<int>(views.heads),
                  static_cast<int>(views.heads / views.kv_heads),
                  tiles.window,
                  views.score_scale,
                  views.rules};
  if (dim <= 32)
    run<32>(stream, x, tiles.count);
  else if (dim <= 64)
    run<64>(stream, x, tiles.count);
  else if (dim <= 128)
    run<128>(stream, x, tiles.count);
  else
    run<256>(stream, x, tiles.count);
}

}  // namespace collie::cuda
