// Backward of flash attention by tensor cores, with the algorithm in backward.hpp. A block takes 64 own rows
// of one head, a warp 16 of them. `first` is fetched one step ahead, `second` while the last product of the
// step before runs.
//
// Cost per 64 × 64 pairs: 6 · 64 · 64 · D flops for queries, 8 for keys (3.1 M and 4.2 M at D = 128) on 32
// KiB from L2. Shared memory per block: D = 64, 41 KiB; 128, 81 KiB; 256 (32 others at a time), 112 KiB.
// Registers (nvcc 13, sm_90a): queries 130, 168, 230; keys 168, 247, 230, where dk and dv of D = 256 are two
// blocks, each of 128 columns. So on sm_80 and sm_90 three blocks of four warps fit on a multiprocessor at D
// = 64, two at 128 and one (sm_90: two) at 256.
#include "kernels/cuda/attention/backward.hpp"
#include "kernels/cuda/attention/fragments.hpp"

namespace collie::cuda {

namespace {

constexpr int own_rows = fragment_warps * 16;

using Backward = BackwardOperands<bfloat16>;

// log_sum_exp and delta of a step's queries, for a block of keys.
template <int N>
struct Statistics {
  float log_sum_exp[N], deltas[N];
};

// Starts to copy them for queries [first, first + count).
template <int N>
__device__ __forceinline__ void load_statistics(Statistics<N>& to, const Backward& x, int head, int64_t first,
                                                int count) {
  const int i = static_cast<int>(threadIdx.x);
  if (i >= N) return;
  const int64_t index = (first + (i < count ? i : 0)) * x.heads + head;
  copy_4_async(&to.log_sum_exp[i], x.log_sum_exp + index, i < count);
  copy_4_async(&to.deltas[i], x.deltas + index, i < count);
}

template <int D, int C, int N, Side side, bool plain>
__global__ void __launch_bounds__(fragment_threads) backward_kernel(Backward x) {
  const int own_head = static_cast<int>(blockIdx.x % static_cast<unsigned>(x.own_heads));
  const AttentionTile tile = x.tiles[blockIdx.x / static_cast<unsigned>(x.own_heads)];
  const int first_chunk = static_cast<int>(blockIdx.y) * (C / 8);
  const Visible<side> visible{tile, x.window};
  const BackwardSteps<side, N> steps{own_head, x.group, (tile.other_count + N - 1) / N};
  const int lane = threadIdx.x % 32, row = static_cast<int>(threadIdx.x / 32) * 16;

  auto* shared = static_cast<bfloat16*>(dynamic_shared());
  const SharedRows<D> own{shared}, own_d{shared + own_rows * D}, second{shared + 2 * own_rows * D};
  const auto firsts = [&](int step) {
    return SharedRows<D>{shared + (2 * own_rows + (1 + step % 2) * N) * D};
  };
  auto* statistics = reinterpret_cast<Statistics<N>*>(shared + (2 * own_rows + 3 * N) * D);

  const int64_t head_columns = int64_t{own_head} * x.own.head_dim;
  x.own.data += head_columns;
  x.own_d.data += head_columns;
  load_rows<D, own_rows>(own, x.own, tile.own_first, tile.own_count);
  load_rows<D, own_rows>(own_d, x.own_d, tile.own_first, tile.own_count);
  const auto load = [&](SharedRows<D> to, HeadRows<const bfloat16> from, int step) {
    from.data += int64_t{steps.head(step)} * from.head_dim;
    load_rows<D, N>(to, from, tile.other_first + int64_t{steps.other(step)},
                    tile.other_count - steps.other(step));
  };
  const auto load_first = [&](int step) {
    if (step >= steps.count()) return;
    load(firsts(step), x.first, step);
    if constexpr (side == Side::keys)
      load_statistics(statistics[step % 2], x, steps.head(step),
                      tile.other_first + int64_t{steps.other(step)}, tile.other_count - steps.other(step));
  };
  const auto load_second = [&](int step) {
    if (step < steps.count()) load(second, x.second, step);
  };
  load_first(0);
  load_second(0);

  float own_log_sum_exp[2] = {}, own_deltas[2] = {};
  if constexpr (side == Side::queries) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int query = row + half * 8 + lane / 4;
      if (query >= tile.own_count) continue;
      const int64_t index = (tile.own_first + int64_t{query}) * x.heads + own_head;
      own_log_sum_exp[half] = x.log_sum_exp[index];
      own_deltas[half] = x.deltas[index];
    }
  }

  Accumulator<1, C> sums;
  [[maybe_unused]] Accumulator<1, side == Side::keys ? C : 16> sums_d;
  for (int step = 0; step < steps.count(); ++step) {
    const int other = steps.other(step);
    const SharedRows<D> first = firsts(step);
    wait_for_copies();
    __syncthreads();  // this step's rows are here, and the first rows of the step before are free
    load_first(step + 1);
    const bool busy = visible.any(row, 16, other, N);
    Accumulator<1, N> weights, d_scores;
    if (busy) {
      const bool whole = visible.all(row, 16, other, N);
      multiply_transposed(weights, own, row, first);
      multiply_transposed(d_scores, own_d, row, second);
#pragma unroll
      for (int n = 0; n < N / 8; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int column = n * 8 + lane % 4 * 2 + i % 2;
          const bool seen = whole || visible.meet(row + i / 2 * 8 + lane / 4, other + column);
          const auto& of_queries = statistics[step % 2];
          const float log_sum_exp =
              side == Side::keys ? of_queries.log_sum_exp[column] : own_log_sum_exp[i / 2];
          const float delta = side == Side::keys ? of_queries.deltas[column] : own_deltas[i / 2];
          float& weight = weights.at[0][n][i];
          float& d_score = d_scores.at[0][n][i];
          // If all pairs see each other, a query has more keys than one.
          const bool alone = !whole && visible.alone(row + i / 2 * 8 + lane / 4, other + column);
          if constexpr (plain) {
            weight = seen ? approximate_exp2((weight * x.score_scale - log_sum_exp) * log2_e) : 0;
            d_score = alone ? 0 : weight * (d_score - delta);
          } else {
            float slope;
            const float score = capped(x.rules, weight * x.score_scale, slope);
            const float factor =
                factor_of_pair<side>(x.rules, tile, row + i / 2 * 8 + lane / 4, other + column,
                                     side == Side::queries ? own_head : steps.head(step));
            weight = seen ? approximate_exp2((score - log_sum_exp) * log2_e) : 0;
            d_score = alone ? 0 : weight * (factor * d_score - delta) * slope;
            weight *= factor;
          }
        }
      if constexpr (side == Side::keys) multiply_add<D>(sums_d, weights, second, first_chunk);
    }
    __syncthreads();  // the second rows are free
    load_second(step + 1);
    if (busy) multiply_add<D>(sums, d_scores, first, first_chunk);
  }

  wait_for_copies();
  __syncthreads();  // also needed if there was no step
  x.sums.data += head_columns;
  put_rows(own, row, sums, {{x.score_scale, x.score_scale}}, first_chunk);
  if constexpr (side == Side::keys) put_rows(own_d, row, sums_d, {{1, 1}}, first_chunk);
  __syncthreads();
  store_rows<D, own_rows, C>(own, x.sums, tile.own_first, tile.own_count, first_chunk);
  if constexpr (side == Side::keys) {
    x.sums_d.data += head_columns;
    store_rows<D, own_rows, C>(own_d, x.sums_d, tile.own_first, tile.own_count, first_chunk);
  }
}

template <int D, int C, int N, Side side>
void run(cudaStream_t stream, const Backward& x, int64_t tiles) {
  launch(stream,
         {{static_cast<unsigned>(tiles * x.own_heads), D / C},
          {fragment_threads},
          static_cast<size_t>(2 * own_rows + 3 * N) * D * sizeof(bfloat16) + 2 * sizeof(Statistics<N>)},
         "attention_backward",
         x.rules.plain() ? backward_kernel<D, C, N, side, true> : backward_kernel<D, C, N, side, false>, x);
}

}  // namespace

void attention_backward_bfloat16(cudaStream_t stream, const AttentionViews& views,
                                 const AttentionGradients& gradients, const TilesOnDevice& tiles, Side side) {
  const int64_t dim = views.head_dim;
  const Backward x = backward_operands<bfloat16>(views, gradients, tiles, side);
  if (side == Side::queries) {
    if (dim <= 64)
      run<64, 64, 64, Side::queries>(stream, x, tiles.count);
    else if (dim <= 128)
      run<128, 128, 64, Side::queries>(stream, x, tiles.count);
    else
      run<256, 256, 32, Side::queries>(stream, x, tiles.count);
  } else {
    if (dim <= 64)
      run<64, 64, 64, Side::keys>(stream, x, tiles.count);
    else if (dim <= 128)
      run<128, 128, 64, Side::keys>(stream, x, tiles.count);
    else
      run<256, 128, 32, Side::keys>(stream, x, tiles.count);
  }
}

}  // namespace collie::cuda
