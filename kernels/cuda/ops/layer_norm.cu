// Rows are held in registers between the passes over them, as in rms_norm.cu: the variance is taken about the
// mean, because a difference of sums of squares would cancel where the mean is large. Bytes per element,
// float32 / bfloat16: layer_norm 8 / 4 (with a residual 16 / 8); backward_input 12 / 6 (with a residual 16 /
// 8); backward_weight 8 / 4 and at most 1/4 for the slices' sums.
#include "kernels/cuda/ops/layer_norm.hpp"

#include "kernels/cuda/ops/column_slices.hpp"
#include "kernels/cuda/ops/row_teams.hpp"

namespace collie::cuda {

namespace {

constexpr int forward_held = 4, backward_held = 2;  // packs per thread
constexpr unsigned most_threads = 512;

// Without a residual (no data), `sum` is x, and is only read.
template <bool aligned, bool warp, class T>
__global__ void __launch_bounds__(warp ? teams_per_block* warp_size : most_threads)
    layer_norm_kernel(Typed<T> x, Typed<T> residual, const T* weight, const T* bias, float eps, Typed<T> sum,
                      Typed<T> y, float* statistics) {
  constexpr int V = pack_width<T>, held = forward_held;
  const int64_t row = Team<warp>::index(), width = x.width;
  if (row >= x.rows) return;
  FullPack<T> packs[held];
  float total = 0;
  for_columns<Team<warp>, held, V>(width, [&](int64_t column, int i) {
    auto pack = read_pack<aligned>(x.row(row) + column, width - column);
    if (residual.data != nullptr) {
      const auto more = read_pack<aligned>(residual.row(row) + column, width - column);
#pragma unroll
      for (int j = 0; j < V; ++j)
        pack.values[j] = from_float<T>(to_float(pack.values[j]) + to_float(more.values[j]));
      write_pack<aligned>(sum.row(row) + column, width - column, pack);
    }
#pragma unroll
    for (int j = 0; j < V; ++j) total += to_float(pack.values[j]);  // past the end it is 0
    if (i < held) packs[i] = pack;
  });
  const float mean = Team<warp>::sum(total) / static_cast<float>(width);
  float squares = 0;
  for_columns<Team<warp>, held, V>(width, [&](int64_t column, int i) {
    const auto pack = i < held ? packs[i] : read_pack<aligned>(sum.row(row) + column, width - column);
#pragma unroll
    for (int j = 0; j < V; ++j) {
      const float centred = to_float(pack.values[j]) - mean;
      if (aligned || column + j < width) squares += centred * centred;
    }
  });
  const float r = 1.0F / sqrtf(Team<warp>::sum(squares) / static_cast<float>(width) + eps);
  if (Team<warp>::lane() == 0) {
    statistics[2 * row] = mean;
    statistics[2 * row + 1] = r;
  }
  for_columns<Team<warp>, held, V>(width, [&](int64_t column, int i) {
    auto pack = i < held ? packs[i] : read_pack<aligned>(sum.row(row) + column, width - column);
    const auto w = read_pack<aligned>(weight + column, width - column);
    FullPack<T> shift{};
    if (bias != nullptr) shift = read_pack<aligned>(bias + column, width - column);
#pragma unroll
    for (int j = 0; j < V; ++j)
      pack.values[j] = from_float<T>((to_float(pack.values[j]) - mean) * r * to_float(w.values[j]) +
                                     to_float(shift.values[j]));
    write_pack<aligned>(y.row(row) + column, width - column, pack);
  });
}

// kernels/reference/layer_norm.cpp has the formula.
template <bool aligned, bool warp, class T>
__global__ void __launch_bounds__(warp ? teams_per_block* warp_size : most_threads)
    layer_norm_backward_kernel(Typed<T> dy, Typed<T> x, const T* weight, const float* statistics, Typed<T> dx,
                               Typed<T> d_residual) {
  constexpr int V = pack_width<T>, held = backward_held;
  const int64_t row = Team<warp>::index(), width = x.width;
  if (row >= x.rows) return;
  const float mean = statistics[2 * row], r = statistics[2 * row + 1];
  FullPack<T> dy_packs[held], x_packs[held];
  float sum = 0, dot = 0;
  for_columns<Team<warp>, held, V>(width, [&](int64_t column, int i) {
    const auto d = read_pack<aligned>(dy.row(row) + column, width - column);
    const auto v = read_pack<aligned>(x.row(row) + column, width - column);
    const auto w = read_pack<aligned>(weight + column, width - column);
    if (i < held) {
      dy_packs[i] = d;
      x_packs[i] = v;
    }
#pragma unroll
    for (int j = 0; j < V; ++j) {
      const float g = to_float(d.values[j]) * to_float(w.values[j]);  // past the end it is 0
      sum += g;
      dot += g * ((to_float(v.values[j]) - mean) * r);
    }
  });
  const float mean_g = Team<warp>::sum(sum) / static_cast<float>(width);
  const float along = Team<warp>::sum(dot) / static_cast<float>(width);
  for_columns<Team<warp>, held, V>(width, [&](int64_t column, int i) {
    const auto d = i < held ? dy_packs[i] : read_pack<aligned>(dy.row(row) + column, width - column);
    const auto v = i < held ? x_packs[i] : read_pack<aligned>(x.row(row) + column, width - column);
    const auto w = read_pack<aligned>(weight + column, width - column);
    FullPack<T> out;
    const bool adds = d_residual.data != nullptr;
    if (adds) out = read_pack<aligned>(d_residual.row(row) + column, width - column);
#pragma unroll
    for (int j = 0; j < V; ++j) {
      const float g = to_float(d.values[j]) * to_float(w.values[j]);
      const float change = r * (g - mean_g - (to_float(v.values[j]) - mean) * r * along);
      out.values[j] = from_float<T>(adds ? to_float(out.values[j]) + change : change);
    }
    write_pack<aligned>(dx.row(row) + column, width - column, out);
  });
}

template <bool aligned, class T>
struct LayerNormWeightTerm {
  Typed<T> dy, x;
  const float* statistics;
  __device__ void operator()(int64_t row, int64_t column, int64_t left, float (&sums)[pack_width<T>]) const {
    const auto d = read_pack<aligned>(dy.row(row) + column, left);
    const auto v = read_pack<aligned>(x.row(row) + column, left);
    const float mean = statistics[2 * row], r = statistics[2 * row + 1];
#pragma unroll
    for (int i = 0; i < pack_width<T>; ++i)
      sums[i] += to_float(d.values[i]) * ((to_float(v.values[i]) - mean) * r);
  }
};

// residual: nullptr if there is none; then sum is x.
void launch_layer_norm(cudaStream_t stream, const char* name, const Matrix& x, const Matrix* residual,
                       const void* weight, const void* bias, float eps, const Matrix& sum, const Matrix& y,
                       float* statistics) {
  with_type(x.element, [&](auto type) {
    using T = decltype(type);
    const unsigned size = team_size(divide_up(x.width, pack_width<T>), forward_held, most_threads);
    const Matrix& beside = residual != nullptr ? *residual : x;
    const Typed<T> added = residual != nullptr ? typed<T>(*residual) : Typed<T>{};
    const Matrix w = row_view(weight, x.element, x.width),
                 b = row_view(bias != nullptr ? bias : weight, x.element, x.width);
    with_alignment<T>({x, beside, sum, y, w, b}, [&](auto aligned) {
      with_teams(x.rows, size, [&](auto warp, const LaunchShape& shape) {
        launch(stream, shape, name, layer_norm_kernel<aligned, warp, T>, typed<T>(x), added,
               static_cast<const T*>(weight), static_cast<const T*>(bias), eps, typed<T>(sum), typed<T>(y),
               statistics);
      });
    });
  });
}

}  // namespace

void layer_norm(cudaStream_t stream, const Matrix& x, const void* weight, const void* bias, float eps,
                const Matrix& y, float* statistics) {
  launch_layer_norm(stream, "layer_norm", x, nullptr, weight, bias, eps, x, y, statistics);
}

void add_layer_norm(cudaStream_t stream, const Matrix& x, const Matrix& residual, const void* weight,
                    const void* bias, float eps, const Matrix& sum, const Matrix& y, float* statistics) {
  launch_layer_norm(stream, "add_layer_norm", x, &residual, weight, bias, eps, sum, y, statistics);
}

void layer_norm_backward_input(cudaStream_t stream, const Matrix& dy, const Matrix& x, const void* weight,
                               const float* statistics, const Matrix* d_residual, const Matrix& dx) {
  with_type(x.element, [&](auto type) {
    using T = decltype(type);
    const unsigned size = team_size(divide_up(x.width, pack_width<T>), backward_held, most_threads);
    const Matrix& beside = d_residual != nullptr ? *d_residual : dx;
    const Typed<T> added = d_residual != nullptr ? typed<T>(*d_residual) : Typed<T>{};
    with_alignment<T>({dy, x, dx, beside, row_view(weight, x.element, x.width)}, [&](auto aligned) {
      with_teams(x.rows, size, [&](auto warp, const LaunchShape& shape) {
        launch(stream, shape, "layer_norm_backward_input", layer_norm_backward_kernel<aligned, warp, T>,
               typed<T>(dy), typed<T>(x), static_cast<const T*>(weight), statistics, typed<T>(dx), added);
      });
    });
  });
}

void layer_norm_backward_weight(cudaStream_t stream, const Matrix& dy, const Matrix& x,
                                const float* statistics, void* d_weight, Element out_element, bool accumulate,
                                float* workspace) {
  with_type(x.element, [&](auto type) {
    using T = decltype(type);
    with_alignment<T>({dy, x}, [&](auto aligned) {
      sum_in_slices<pack_width<T>>(stream, "layer_norm_backward_weight",
                                   LayerNormWeightTerm<aligned, T>{typed<T>(dy), typed<T>(x), statistics},
                                   x.rows, x.width, workspace);
    });
  });
  sum_slices(stream, workspace, column_slices(x.rows, x.width), x.width, d_weight, out_element, accumulate);
}

}  // namespace collie::cuda
