// Flash attention forward by tensor cores (Dao, arXiv 2307.08691). A block takes 128 queries of one head (64
// if head_dim > 128), a warp 32 (16) of them, and goes over the keys 64 (32) at a time. Keys arrive while the
// products with the values run, values while the scores are computed.
//
// Cost per 128 × 64 pairs: 4 · 128 · 64 · D flops (4.2 M at D = 128) on 32 KiB from L2. Shared memory per
// block: D = 64, 32 KiB; 128, 64 KiB; 256, 64 KiB. Registers (nvcc 13): 222 to 255; at D = 128 sm_80 spills
// 44 bytes and sm_100 16, sm_90a none. So a multiprocessor of sm_80 and sm_90 should hold two blocks of 4
// warps. Traffic: q and out are moved once, k and v once per tile of queries.
#include "kernels/cuda/attention/fragments.hpp"
#include "kernels/cuda/attention/score_rules.hpp"

namespace collie::cuda {

namespace {

struct Forward {
  HeadRows<const bfloat16> q, k, v;  // of head 0
  HeadRows<bfloat16> out;
  float* log_sum_exp;
  const AttentionTile* tiles;
  int heads, group;
  int window;
  float scale;  // of scores, to base 2
};

// The result of a row's scores so far, and each thread's share of the sums.
template <int MT>
struct OnlineSoftmax {
  float largest[MT][2], sums[MT][2];

  __device__ OnlineSoftmax() {
#pragma unroll
    for (int m = 0; m < MT; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        largest[m][half] = -INFINITY;
        sums[m][half] = 0;
      }
  }

  // Scores (to base 2) become weights relative to the largest score so far, and `out` is rescaled
  // accordingly.
  template <int N, int D>
  __device__ void step(Accumulator<MT, N>& scores, Accumulator<MT, D>& out) {
#pragma unroll
    for (int m = 0; m < MT; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float best = largest[m][half];
#pragma unroll
        for (int n = 0; n < N / 8; ++n)
          best = fmaxf(best, fmaxf(scores.at[m][n][2 * half], scores.at[m][n][2 * half + 1]));
        best = fmaxf(best, __shfl_xor_sync(all_lanes, best, 1));
        best = fmaxf(best, __shfl_xor_sync(all_lanes, best, 2));
        const float base = best == -INFINITY ? 0 : best;  // a row that has seen nothing yet
        const float factor = approximate_exp2(largest[m][half] - base);
        float sum = 0;
#pragma unroll
        for (int n = 0; n < N / 8; ++n)
#pragma unroll
          for (int i = 2 * half; i < 2 * half + 2; ++i) {
            scores.at[m][n][i] = approximate_exp2(scores.at[m][n][i] - base);
            sum += scores.at[m][n][i];
          }
        largest[m][half] = best;
        sums[m][half] = sums[m][half] * factor + sum;
#pragma unroll
        for (int n = 0; n < D / 8; ++n) {
          out.at[m][n][2 * half] *= factor;
          out.at[m][n][2 * half + 1] *= factor;
        }
      }
  }
};

template <int D, int MT, int N, bool plain>
__global__ void __launch_bounds__(fragment_threads)
    forward_kernel(Forward x, [[maybe_unused]] RulesFor<plain> rules) {
  constexpr int rows = fragment_warps * 16 * MT;
  const AttentionTile tile = x.tiles[blockIdx.x / static_cast<unsigned>(x.heads)];
  const int head = static_cast<int>(blockIdx.x % static_cast<unsigned>(x.heads));
  const Visible<Side::queries> visible{tile, x.window};
  const int lane = threadIdx.x % 32, row = static_cast<int>(threadIdx.x / 32) * 16 * MT;
  x.q.data += int64_t{head} * x.q.head_dim;
  x.k.data += int64_t{head / x.group} * x.k.head_dim;
  x.v.data += int64_t{head / x.group} * x.v.head_dim;
  x.out.data += int64_t{head} * x.out.head_dim;
  auto* shared = static_cast<bfloat16*>(dynamic_shared());
  const SharedRows<D> own{shared}, keys{shared + rows * D}, values{shared + (rows + N) * D};

  load_rows<D, rows>(own, x.q, tile.own_first, tile.own_count);
  load_rows<D, N>(keys, x.k, tile.other_first, tile.other_count);
  Accumulator<MT, D> out;
  OnlineSoftmax<MT> softmax;
  for (int key = 0; key < tile.other_count; key += N) {
    wait_for_copies();
    __syncthreads();  // the keys are here, and the values before are free
    load_rows<D, N>(values, x.v, tile.other_first + int64_t{key}, tile.other_count - key);
    const bool busy = visible.any(row, 16 * MT, key, N);
    Accumulator<MT, N> scores;
    if (busy) multiply_transposed(scores, own, row, keys);
    wait_for_copies();
    __syncthreads();  // the values are here, and the keys are free
    if (key + N < tile.other_count)
      load_rows<D, N>(keys, x.k, tile.other_first + int64_t{key} + N, tile.other_count - key - N);
    if (!busy) continue;
    const bool whole = visible.all(row, 16 * MT, key, N);
#pragma unroll
    for (int m = 0; m < MT; ++m)
#pragma unroll
      for (int n = 0; n < N / 8; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const bool seen =
              whole || visible.meet(row + m * 16 + i / 2 * 8 + lane / 4, key + n * 8 + lane % 4 * 2 + i % 2);
          if constexpr (plain) {
            scores.at[m][n][i] = seen ? scores.at[m][n][i] * x.scale : -INFINITY;
          } else {
            float slope;
            const float score = capped(rules, scores.at[m][n][i] * x.scale * ln_2, slope);
            scores.at[m][n][i] = seen ? score * log2_e : -INFINITY;
          }
        }
    softmax.step(scores, out);
    if constexpr (!plain) {
#pragma unroll
      for (int m = 0; m < MT; ++m)
#pragma unroll
        for (int n = 0; n < N / 8; ++n)
#pragma unroll
          for (int i = 0; i < 4; ++i)
            scores.at[m][n][i] *= factor_of_pair<Side::queries>(
                rules, tile, row + m * 16 + i / 2 * 8 + lane / 4, key + n * 8 + lane % 4 * 2 + i % 2, head);
    }
    multiply_add<D>(out, scores, values, 0);
  }

  float inverse[MT][2];
#pragma unroll
  for (int m = 0; m < MT; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float sum = softmax.sums[m][half];
      sum += __shfl_xor_sync(all_lanes, sum, 1);
      sum += __shfl_xor_sync(all_lanes, sum, 2);
      inverse[m][half] = 1 / sum;
      const int query = row + m * 16 + half * 8 + lane / 4;
      if (lane % 4 == 0 && query < tile.own_count)
        x.log_sum_exp[(tile.own_first + int64_t{query}) * x.heads + head] =
            (softmax.largest[m][half] + log2f(sum)) * ln_2;
    }
  put_rows(own, row, out, inverse, 0);  // each warp overwrites its own queries
  __syncthreads();
  store_rows<D, rows, D>(own, x.out, tile.own_first, tile.own_count, 0);
}

template <int D, int MT, int N>
void run(cudaStream_t stream, const Forward& x, const ScoreRules& rules, int64_t tiles) {
  constexpr int rows = fragment_warps * 16 * MT;
  const LaunchShape shape{{static_cast<unsigned>(tiles * x.heads)},
                          {fragment_threads},
                          static_cast<size_t>(rows + 2 * N) * D * sizeof(bfloat16)};
  if (rules.plain())
    launch(stream, shape, "attention", forward_kernel<D, MT, N, true>, x, NoRules{});
  else
    launch(stream, shape, "attention", forward_kernel<D, MT, N, false>, x, rules);
}

}  // namespace

void attention_bfloat16(cudaStream_t stream, const AttentionViews& views, const TilesOnDevice& tiles) {
  const int64_t dim = views.head_dim;
  const Forward x{head_rows<const bfloat16>(views.q, dim),
                  head_rows<const bfloat16>(views.k, dim),
                  head_rows<const bfloat16>(views.v, dim),
                  head_rows<bfloat16>(views.out, dim),
                  views.log_sum_exp,
                  tiles.data,
                  static_cast<int>(views.heads),
                  static_cast<int>(views.heads / views.kv_heads),
                  tiles.window,
                  views.score_scale * log2_e};
  if (dim <= 64)
    run<64, 2, 64>(stream, x, views.rules, tiles.count);
  else if (dim <= 128)
    run<128, 2, 64>(stream, x, views.rules, tiles.count);
  else
    run<256, 1, 32>(stream, x, views.rules, tiles.count);
}

}  // namespace collie::cuda
