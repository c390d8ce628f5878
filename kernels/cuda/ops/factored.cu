// A warp works on 128 columns of a row, a block on 64 rows of such a strip. Bytes per element: the maxima and
// the two sums read the gradient, the first two the weight as well; the update reads gradient and weight and
// writes the weight. So float32 takes 28 bytes, bfloat16 weights and gradients 14, as much as AdamW's update.
//
// What blocks find of a line is combined by atomics. Maxima and rounded sums have the same bits in any order
// (kernels/exact_sum.hpp).
#include "kernels/cuda/ops/factored.hpp"

#include <cmath>

#include "kernels/cuda/elements.hpp"
#include "kernels/cuda/ops/philox.hpp"
#include "kernels/cuda/ops/stochastic.hpp"
#include "kernels/exact_sum.hpp"

namespace collie::cuda {

namespace {

constexpr int list_length = 32;  // so that the list fits the 4 KB of a kernel's parameters
constexpr int per_lane = 4;
constexpr int strip = static_cast<int>(warp_size) * per_lane;  // columns of a block
constexpr int warps = 8, rows_per_warp = 8, rows_per_block = warps * rows_per_warp;

template <class Tile>
struct Tiles {
  Tile each[list_length];
  unsigned first_block[list_length];
  int count;
};
static_assert(sizeof(Tiles<LineTile>) + 5 * sizeof(void*) <= 4096);
static_assert(sizeof(Tiles<UpdateTile>) + 5 * sizeof(void*) + sizeof(Rounding) <= 4096);

// Calls start(tiles, shape) for the tiles, as many at a time as a launch takes.
template <class Tile, class Start>
void in_launches(std::span<const Tile> list, Start start) {
  while (!list.empty()) {
    Tiles<Tile> tiles{};
    unsigned blocks = 0;
    for (; !list.empty() && tiles.count < list_length; list = list.subspan(1)) {
      const Tile& tile = list.front();
      if (tile.rows * tile.columns == 0) continue;
      tiles.first_block[tiles.count] = blocks;
      tiles.each[tiles.count++] = tile;
      blocks += static_cast<unsigned>(divide_up(tile.rows, rows_per_block) * divide_up(tile.columns, strip));
    }
    start(tiles, LaunchShape{{blocks}, {warps * warp_size}});
  }
}

// Where this thread works: rows row, row + warps, ... below last_row, and columns column, column + warp_size,
// ... below columns, per_lane of them.
struct Place {
  int which;
  int64_t row, last_row, column;
};
template <class Tile>
__device__ __forceinline__ Place place_in(const Tiles<Tile>& tiles) {
  int which = 0;
  while (which + 1 < tiles.count && tiles.first_block[which + 1] <= blockIdx.x) ++which;
  const Tile& tile = tiles.each[which];
  const int64_t block = blockIdx.x - tiles.first_block[which], strips = divide_up(tile.columns, strip);
  const int64_t first_row = block / strips * rows_per_block, end = first_row + rows_per_block;
  return {which, first_row + threadIdx.x / warp_size, end < tile.rows ? end : tile.rows,
          block % strips * strip + threadIdx.x % warp_size};
}

__device__ __forceinline__ float value_at(const void* x, Element element, int64_t at) {
  return element == Element::bf16 ? to_float(static_cast<const bfloat16*>(x)[at])
                                  : static_cast<const float*>(x)[at];
}

// Not negative: the bits of such numbers are in their order.
__device__ __forceinline__ void raise(float* to, float value) {
  atomicMax(reinterpret_cast<int*>(to), static_cast<int>(__float_as_uint(value)));
}

// Puts together what the warps of a block found of the strip's columns, and passes (column, value) on.
template <class T, class Combine, class Pass>
__device__ __forceinline__ void combine_columns(T (*slots)[strip], const T (&found)[per_lane], int64_t column,
                                                int64_t columns, Combine combine, Pass pass) {
  const int warp = static_cast<int>(threadIdx.x / warp_size),
            lane = static_cast<int>(threadIdx.x % warp_size);
#pragma unroll
  for (int i = 0; i < per_lane; ++i) slots[warp][lane + i * static_cast<int>(warp_size)] = found[i];
  __syncthreads();
  if (warp != 0) return;
#pragma unroll
  for (int i = 0; i < per_lane; ++i) {
    const int at = lane + i * static_cast<int>(warp_size);
    T all = slots[0][at];
    for (int other = 1; other < warps; ++other) all = combine(all, slots[other][at]);
    if (column + i * int64_t{warp_size} < columns) pass(column + i * int64_t{warp_size}, all);
  }
}

__global__ void __launch_bounds__(warps* warp_size)
    line_maxima_kernel(const __grid_constant__ Tiles<LineTile> tiles, const double* factor, float* maxima) {
  __shared__ float slots[warps][strip];
  const Place place = place_in(tiles);
  const LineTile& tile = tiles.each[place.which];
  const float clip = factor == nullptr || !tile.clipped ? 1.0F : static_cast<float>(*factor);
  float of_columns[per_lane] = {};
  for (int64_t row = place.row; row < place.last_row; row += warps) {
    float most = 0;
#pragma unroll
    for (int i = 0; i < per_lane; ++i) {
      const int64_t column = place.column + i * int64_t{warp_size};
      if (column >= tile.columns) continue;
      const float size = fabsf(value_at(tile.values, tile.element, row * tile.columns + column) * clip);
      most = size > most ? size : most;
      of_columns[i] = size > of_columns[i] ? size : of_columns[i];
    }
    most = warp_max(most);
    if (tile.row_line >= 0 && threadIdx.x % warp_size == 0) raise(maxima + tile.row_line + row, most);
  }
  if (tile.column_line < 0) return;
  combine_columns(
      slots, of_columns, place.column, tile.columns, [](float a, float b) { return a > b ? a : b; },
      [&](int64_t column, float most) { raise(maxima + tile.column_line + column, most); });
}

__global__ void __launch_bounds__(warps* warp_size)
    line_sums_kernel(const __grid_constant__ Tiles<LineTile> tiles, const double* factor, const float* scales,
                     const float* bounds, double* sums) {
  __shared__ double slots[warps][strip];
  const Place place = place_in(tiles);
  const LineTile& tile = tiles.each[place.which];
  const float clip = factor == nullptr || !tile.clipped ? 1.0F : static_cast<float>(*factor);
  double anchors[per_lane], of_columns[per_lane] = {};
  float column_scales[per_lane];
#pragma unroll
  for (int i = 0; i < per_lane; ++i) {
    const int64_t column = place.column + i * int64_t{warp_size};
    const bool there = column < tile.columns;
    anchors[i] = there && tile.column_line >= 0
                     ? rounding_anchor(bounds[tile.column_line + column], tile.column_elements)
                     : 0;
    column_scales[i] = there && tile.column_scale >= 0 ? scales[tile.column_scale + column] : 1.0F;
  }
  for (int64_t row = place.row; row < place.last_row; row += warps) {
    const double anchor =
        tile.row_line >= 0 ? rounding_anchor(bounds[tile.row_line + row], tile.row_elements) : 0;
    const float row_scale = tile.row_scale >= 0 ? scales[tile.row_scale + row] : 1.0F;
    double sum = 0;
#pragma unroll
    for (int i = 0; i < per_lane; ++i) {
      const int64_t column = place.column + i * int64_t{warp_size};
      if (column >= tile.columns) continue;
      const float value = value_at(tile.values, tile.element, row * tile.columns + column) * clip *
                          row_scale * column_scales[i];
      const double square = static_cast<double>(value) * static_cast<double>(value);
      sum += rounded_term(square, anchor);
      of_columns[i] += rounded_term(square, anchors[i]);
    }
    sum = warp_sum(sum);
    if (tile.row_line >= 0 && threadIdx.x % warp_size == 0) atomicAdd(sums + tile.row_line + row, sum);
  }
  if (tile.column_line < 0) return;
  combine_columns(
      slots, of_columns, place.column, tile.columns, [](double a, double b) { return a + b; },
      [&](int64_t column, double sum) { atomicAdd(sums + tile.column_line + column, sum); });
}

// --- vectors of lines: a block per matrix

constexpr int matrix_list = 32;
constexpr unsigned vector_threads = 512;
struct Matrices {
  MomentMatrix each[matrix_list];
};

template <class Start>
void in_lists(std::span<const MomentMatrix> list, Start start) {
  for (size_t first = 0; first < list.size(); first += matrix_list) {
    Matrices matrices{};
    const size_t count = list.size() - first < matrix_list ? list.size() - first : matrix_list;
    for (size_t i = 0; i < count; ++i) matrices.each[i] = list[first + i];
    start(matrices, LaunchShape{{static_cast<unsigned>(count)}, {vector_threads}}, first);
  }
}

__device__ __forceinline__ float moved(const MomentStep& step, bool moves, float moment, double sum,
                                       int64_t count) {
  if (!moves) return moment;
  return static_cast<float>(step.beta * moment +
                            (1 - step.beta) * (sum / static_cast<double>(count) + step.eps));
}

__global__ void __launch_bounds__(vector_threads)
    factored_moments_kernel(const __grid_constant__ Matrices matrices, const MomentStep step,
                            const double* factor, const float* maxima, const double* sums, float* scales,
                            float* bounds) {
  __shared__ double slots[warp_size];
  const MomentMatrix& matrix = matrices.each[blockIdx.x];
  const bool moves = factor == nullptr || !std::isnan(*factor);
  const int64_t columns_at = matrix.first_line + matrix.rows;
  double largest = 0, largest_scale = 0;
  for (int64_t j = threadIdx.x; j < matrix.columns; j += vector_threads) {
    const float moment = moved(step, moves, matrix.column_moments[j], sums[columns_at + j], matrix.rows);
    matrix.column_moments[j] = moment;
    const auto scale = static_cast<float>(1 / sqrt(static_cast<double>(moment)));
    scales[columns_at + j] = scale;
    const double bound = static_cast<double>(maxima[columns_at + j]) * scale;
    largest = bound > largest ? bound : largest;
    largest_scale = scale > largest_scale ? scale : largest_scale;
  }
  largest = block_max(largest, slots);
  largest_scale = block_max(largest_scale, slots);
  double mean = 0;
  if (matrix.row_moments != nullptr) {
    for (int64_t i = threadIdx.x; i < matrix.rows; i += vector_threads) {
      const float moment =
          moved(step, moves, matrix.row_moments[i], sums[matrix.first_line + i], matrix.columns);
      matrix.row_moments[i] = moment;
      mean += moment;
    }
    mean = block_sum(mean, slots) / static_cast<double>(matrix.rows);
  }
  constexpr double slack = 1.0001;  // for the rounding of directions
  for (int64_t i = threadIdx.x; i < matrix.rows; i += vector_threads) {
    const double scale =
        matrix.row_moments == nullptr ? 1 : sqrt(mean / static_cast<double>(matrix.row_moments[i]));
    scales[matrix.first_line + i] = static_cast<float>(scale);
    const double by_columns = scale * largest, by_row = scale * maxima[matrix.first_line + i] * largest_scale;
    bounds[matrix.first_row + i] = static_cast<float>((by_columns < by_row ? by_columns : by_row) * slack);
  }
}

__device__ __forceinline__ double root_mean_square(const MomentMatrix& matrix, const double* squares,
                                                   double* slots) {
  double sum = 0;
  for (int64_t i = threadIdx.x; i < matrix.rows; i += vector_threads) sum += squares[matrix.first_row + i];
  return sqrt(block_sum(sum, slots) / static_cast<double>(matrix.rows * matrix.columns));
}

__global__ void __launch_bounds__(vector_threads)
    factored_rates_kernel(const __grid_constant__ Matrices matrices, const MomentStep step,
                          const double* directions, const double* weights, float* rates) {
  __shared__ double slots[warp_size];
  const MomentMatrix& matrix = matrices.each[blockIdx.x];
  const double of_weights = root_mean_square(matrix, weights, slots);
  const double too_large = root_mean_square(matrix, directions, slots) / step.clip_threshold;
  if (threadIdx.x != 0) return;
  const double scale = step.least_scale < 0            ? 1
                       : step.least_scale > of_weights ? step.least_scale
                                                       : of_weights;
  const double rate = step.rate * scale;
  rates[2 * blockIdx.x] = static_cast<float>(1 - rate * step.weight_decay);
  rates[2 * blockIdx.x + 1] = static_cast<float>(too_large > 1 ? rate / too_large : rate);
}

// --- the update

__device__ __forceinline__ void put(void* to, Element element, int64_t at, float value, bool stochastic,
                                    unsigned random) {
  if (element == Element::f32)
    static_cast<float*>(to)[at] = value;
  else
    static_cast<bfloat16*>(to)[at] = stochastic ? round_by(value, random) : from_float<bfloat16>(value);
}

__global__ void __launch_bounds__(warps* warp_size)
    factored_update_kernel(const __grid_constant__ Tiles<UpdateTile> tiles, float kept, const double* factor,
                           const float* scales, const float* rates, const Rounding rounding) {
  const double wide_clip = factor == nullptr ? 1 : *factor;
  if (std::isnan(wide_clip)) return;
  const auto clip = static_cast<float>(wide_clip);
  const Place place = place_in(tiles);
  const UpdateTile& tile = tiles.each[place.which];
  const float decay = rates[2 * tile.matrix], rate = rates[2 * tile.matrix + 1];
  for (int64_t row = place.row; row < place.last_row; row += warps) {
    const float row_scale = scales[tile.row_scale + row];
#pragma unroll
    for (int i = 0; i < per_lane; ++i) {
      const int64_t column = place.column + i * int64_t{warp_size};
      if (column >= tile.columns) continue;
      const int64_t at = row * tile.columns + column;
      const float direction = value_at(tile.gradient, tile.gradient_element, at) * clip * row_scale *
                              scales[tile.column_scale + column];
      const uint64_t index = tile.first_index + static_cast<uint64_t>(at);
      uint4 bits{};
      if (rounding.stochastic) bits = philox(rounding.key, index / 2);
      // Two numbers are rounded, so one word of the block is enough (kernels/cuda/ops/update.cu).
      const unsigned random = index % 2 == 1 ? bits.z : bits.x;
      float change = direction * rate;
      if (tile.momentum != nullptr) {
        change = (1 - kept) * change + kept * value_at(tile.momentum, tile.momentum_element, at);
        put(tile.momentum, tile.momentum_element, at, change, rounding.stochastic, random >> 16);
      }
      const float weight = value_at(tile.weight, tile.weight_element, at) * decay - change;
      put(tile.weight, tile.weight_element, at, weight, rounding.stochastic, random);
      if (tile.rounded != nullptr)
        put(tile.rounded, tile.rounded_element, at, weight,
            rounding.stochastic && tile.rounded_element == tile.weight_element, random);
    }
  }
}

}  // namespace

void line_maxima(cudaStream_t stream, std::span<const LineTile> tiles, const double* factor, float* maxima) {
  in_launches(tiles, [&](const Tiles<LineTile>& list, const LaunchShape& shape) {
    launch(stream, shape, "line_maxima", line_maxima_kernel, list, factor, maxima);
  });
}

void line_sums_of_squares(cudaStream_t stream, std::span<const LineTile> tiles, const double* factor,
                          const float* scales, const float* bounds, double* sums) {
  in_launches(tiles, [&](const Tiles<LineTile>& list, const LaunchShape& shape) {
    launch(stream, shape, "line_sums_of_squares", line_sums_kernel, list, factor, scales, bounds, sums);
  });
}

void factored_moments(cudaStream_t stream, std::span<const MomentMatrix> matrices, const MomentStep& step,
                      const double* factor, const float* maxima, const double* sums, float* scales,
                      float* bounds) {
  in_lists(matrices, [&](const Matrices& list, const LaunchShape& shape, size_t) {
    launch(stream, shape, "factored_moments", factored_moments_kernel, list, step, factor, maxima, sums,
           scales, bounds);
  });
}

void factored_rates(cudaStream_t stream, std::span<const MomentMatrix> matrices, const MomentStep& step,
                    const double* directions, const double* weights, float* rates) {
  in_lists(matrices, [&](const Matrices& list, const LaunchShape& shape, size_t first) {
    launch(stream, shape, "factored_rates", factored_rates_kernel, list, step, directions, weights,
           rates + 2 * first);
  });
}

void factored_update(cudaStream_t stream, std::span<const UpdateTile> tiles, float momentum,
                     const double* factor, const float* scales, const float* rates,
                     const Rounding& rounding) {
  in_launches(tiles, [&](const Tiles<UpdateTile>& list, const LaunchShape& shape) {
    launch(stream, shape, "factored_update", factored_update_kernel, list, momentum, factor, scales, rates,
           rounding);
  });
}

}  // namespace collie::cuda
