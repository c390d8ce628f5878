// Backward of flash attention in float32, with the algorithm in backward.hpp. A block of 256 threads takes M
// = 64 own rows of one head (32 if head_dim > 128) and goes over the other side 32 rows at a time.
//
// Cost per 64 × 32 pairs: 6 · 64 · 32 · D flops for queries, 8 for keys (1.6 M and 2.1 M at D = 128) on 32
// KiB from L2. Shared memory per block: D = 32, 36 KiB; 64, 60 KiB; 128, 108 KiB; 256, 134 KiB. Registers
// (nvcc 13): 76 to 156. So a multiprocessor should hold one block of 8 warps, or two up to D = 64 (sm_90:
// 128).
#include "kernels/cuda/attention/backward.hpp"
#include "kernels/cuda/attention/products.hpp"

namespace collie::cuda {

namespace {

constexpr int other_rows = 32, columns = other_rows / 16;

using Backward = BackwardOperands<float>;

template <int D, int M, Side side, bool plain>
__global__ void __launch_bounds__(product_threads) backward_kernel(Backward x) {
  constexpr int rows = M / 16;
  const AttentionTile tile = x.tiles[blockIdx.x / static_cast<unsigned>(x.own_heads)];
  const int own_head = static_cast<int>(blockIdx.x % static_cast<unsigned>(x.own_heads));
  const Visible<side> visible{tile, x.window};
  const BackwardSteps<side, other_rows> steps{own_head, x.group,
                                              (tile.other_count + other_rows - 1) / other_rows};
  const int y = threadIdx.x / 16, column = threadIdx.x % 16, depth = (x.own.head_dim + 3) / 4 * 4;
  auto* shared = static_cast<float*>(dynamic_shared());
  const FloatRows<D> own{shared}, own_d{own.row(M)}, first{own_d.row(M)}, second{first.row(other_rows)};
  const FloatRows<other_rows> shared_weights{second.row(other_rows)};

  const int64_t head_columns = int64_t{own_head} * x.own.head_dim;
  x.own.data += head_columns;
  x.own_d.data += head_columns;
  load_rows<D, M>(own, x.own, tile.own_first, tile.own_count);
  load_rows<D, M>(own_d, x.own_d, tile.own_first, tile.own_count);
  RowSums<rows, D> sums;
  [[maybe_unused]] RowSums<rows, side == Side::keys ? D : 32> sums_d;
  const auto put = [&](const float(&values)[rows][columns]) {
#pragma unroll
    for (int i = 0; i < rows; ++i)
#pragma unroll
      for (int j = 0; j < columns; ++j) shared_weights.row(y + 16 * i)[column + 16 * j] = values[i][j];
  };

  for (int step = 0; step < steps.count(); ++step) {
    const int other = steps.other(step), head = steps.head(step);
    const auto load = [&](FloatRows<D> to, HeadRows<const float> from) {
      from.data += int64_t{head} * from.head_dim;
      load_rows<D, other_rows>(to, from, tile.other_first + int64_t{other}, tile.other_count - other);
    };
    __syncthreads();  // the rows before are free
    load(first, x.first);
    load(second, x.second);
    __syncthreads();
    float weights[rows][columns] = {}, d_scores[rows][columns] = {};
    multiply_transposed(weights, own, first, depth);
    multiply_transposed(d_scores, own_d, second, depth);
#pragma unroll
    for (int i = 0; i < rows; ++i)
#pragma unroll
      for (int j = 0; j < columns; ++j) {
        const int own_row = y + 16 * i, other_row = other + column + 16 * j;
        float weight = 0, delta = 0, factor = 1, slope = 1;
        if (own_row < tile.own_count && visible.meet(own_row, other_row)) {
          const int64_t query = side == Side::queries ? tile.own_first + int64_t{own_row}
                                                      : tile.other_first + int64_t{other_row};
          const int64_t index = query * x.heads + (side == Side::queries ? own_head : head);
          float score = __fmul_rn(weights[i][j], x.score_scale);
          if constexpr (!plain) {
            score = capped(x.rules, score, slope);
            factor = factor_of_pair<side>(x.rules, tile, own_row, other_row,
                                          side == Side::queries ? own_head : head);
          }
          weight = expf(score - x.log_sum_exp[index]);
          delta = x.deltas[index];
        }
        float d_score = weight * (plain ? d_scores[i][j] - delta : factor * d_scores[i][j] - delta);
        if constexpr (!plain) {
          d_score *= slope;
          weight *= factor;
        }
        weights[i][j] = weight;
        d_scores[i][j] = visible.alone(own_row, other_row) ? 0 : d_score;
      }
    if constexpr (side == Side::keys) {
      put(weights);
      __syncthreads();
      multiply_add(sums_d, shared_weights, second);
      __syncthreads();
    }
    put(d_scores);
    __syncthreads();
    multiply_add(sums, shared_weights, first);
  }

  float factors[rows];
  for (float& factor : factors) factor = x.score_scale;
  x.sums.data += head_columns;
  store_rows(sums, factors, x.sums, tile.own_first, tile.own_count);
  if constexpr (side == Side::keys) {
    for (float& factor : factors) factor = 1;
    x.sums_d.data += head_columns;
    store_rows(sums_d, factors, x.sums_d, tile.own_first, tile.own_count);
  }
}

template <int D, int M, bool plain>
void run_kernel(cudaStream_t stream, const Backward& x, int64_t tiles, Side side) {
  constexpr int floats = 2 * (M + other_rows) * FloatRows<D>::stride + M * FloatRows<other_rows>::stride;
  launch(stream,
         {{static_cast<unsigned>(tiles * x.own_heads)},
          {product_threads},
          static_cast<size_t>(floats) * sizeof(float)},
         "attention_backward",
         side == Side::queries ? backward_kernel<D, M, Side::queries, plain>
                               : backward_kernel<D, M, Side::keys, plain>,
         x);
}

template <int D, int M>
void run(cudaStream_t stream, const Backward& x, int64_t tiles, Side side) {
  if (x.rules.plain())
    run_kernel<D, M, true>(stream, x, tiles, side);
  else
    run_kernel<D, M, false>(stream, x, tiles, side);
}

}  // namespace

void attention_backward_float(cudaStream_t stream, const AttentionViews& views,
                              const AttentionGradients& gradients, const TilesOnDevice& tiles, Side side) {
  const int64_t dim = views.head_dim;
  const Backward x = backward_operands<float>(views, gradients, tiles, side);
  if (dim <= 32)
    run<32, 64>(stream, x, tiles.count, side);
  else if (dim <= 64)
    run<64, 64>(stream, x, tiles.count, side);
  else if (dim <= 128)
    run<128, 64>(stream, x, tiles.count, side);
  else
    run<256, 32>(stream, x, tiles.count, side);
}

}  // namespace collie::cuda
