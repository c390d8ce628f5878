// A team holds its row's packs in registers between the two passes over it, so that each element is read
// once. (In rows over 16384 bfloat16 or 8192 float32 the end is read twice; backward_input: over half as
// many.) Bytes per element, float32 / bfloat16: rms_norm 8 / 4; backward_input 12 / 6 (with a residual 16 /
// 8); backward_weight 8 / 4 and at most 1/4 for the slices' sums.
#include "kernels/cuda/ops/rms_norm.hpp"

#include "kernels/cuda/ops/column_slices.hpp"
#include "kernels/cuda/ops/row_teams.hpp"
#include "kernels/weight_offset.hpp"

namespace collie::cuda {

namespace {

constexpr int forward_held = 4, backward_held = 2;  // packs per thread
constexpr unsigned most_threads = 512;

template <bool aligned, bool warp, class T>
__global__ void __launch_bounds__(warp ? teams_per_block* warp_size : most_threads)
    rms_norm_kernel(Typed<T> x, const T* weight, float offset, float eps, Typed<T> y, float* inverse_rms) {
  constexpr int V = pack_width<T>, held = forward_held;
  const int64_t row = Team<warp>::index(), width = x.width;
  if (row >= x.rows) return;
  const T* const from = x.row(row);
  T* const to = y.row(row);
  FullPack<T> packs[held];
  float squares = 0;
  for_columns<Team<warp>, held, V>(width, [&](int64_t column, int i) {
    const auto pack = read_pack<aligned>(from + column, width - column);
    if (i < held) packs[i] = pack;
#pragma unroll
    for (int j = 0; j < V; ++j) squares += to_float(pack.values[j]) * to_float(pack.values[j]);
  });
  const float mean = Team<warp>::sum(squares) / static_cast<float>(width);
  const float r = 1.0F / sqrtf(mean + eps);
  if (Team<warp>::lane() == 0) inverse_rms[row] = r;
  for_columns<Team<warp>, held, V>(width, [&](int64_t column, int i) {
    auto pack = i < held ? packs[i] : read_pack<aligned>(from + column, width - column);
    const auto w = read_pack<aligned>(weight + column, width - column);
#pragma unroll
    for (int j = 0; j < V; ++j)
      pack.values[j] = from_float<T>(to_float(pack.values[j]) * r * (to_float(w.values[j]) + offset));
    write_pack<aligned>(to + column, width - column, pack);
  });
}

// kernels/reference/rms_norm.cpp has the formula.
template <bool aligned, bool warp, class T>
__global__ void __launch_bounds__(warp ? teams_per_block* warp_size : most_threads)
    backward_input_kernel(Typed<T> dy, Typed<T> x, const T* weight, float offset, const float* inverse_rms,
                          Typed<T> dx, Typed<T> d_residual) {
  constexpr int V = pack_width<T>, held = backward_held;
  const int64_t row = Team<warp>::index(), width = x.width;
  if (row >= x.rows) return;
  FullPack<T> dy_packs[held], x_packs[held];
  float dot = 0;
  for_columns<Team<warp>, held, V>(width, [&](int64_t column, int i) {
    const auto d = read_pack<aligned>(dy.row(row) + column, width - column);
    const auto v = read_pack<aligned>(x.row(row) + column, width - column);
    const auto w = read_pack<aligned>(weight + column, width - column);
    if (i < held) {
      dy_packs[i] = d;
      x_packs[i] = v;
    }
#pragma unroll
    for (int j = 0; j < V; ++j)
      dot += to_float(d.values[j]) * (to_float(w.values[j]) + offset) * to_float(v.values[j]);
  });
  const float r = inverse_rms[row];
  const float along = Team<warp>::sum(dot) * r * r * r / static_cast<float>(width);
  for_columns<Team<warp>, held, V>(width, [&](int64_t column, int i) {
    const auto d = i < held ? dy_packs[i] : read_pack<aligned>(dy.row(row) + column, width - column);
    const auto v = i < held ? x_packs[i] : read_pack<aligned>(x.row(row) + column, width - column);
    const auto w = read_pack<aligned>(weight + column, width - column);
    FullPack<T> out;
    const bool adds = d_residual.data != nullptr;
    if (adds) out = read_pack<aligned>(d_residual.row(row) + column, width - column);
#pragma unroll
    for (int j = 0; j < V; ++j) {
      const float change =
          r * (to_float(w.values[j]) + offset) * to_float(d.values[j]) - to_float(v.values[j]) * along;
      out.values[j] = from_float<T>(adds ? to_float(out.values[j]) + change : change);
    }
    write_pack<aligned>(dx.row(row) + column, width - column, out);
  });
}

template <bool aligned, class T>
struct WeightTerm {
  Typed<T> dy, x;
  const float* inverse_rms;
  __device__ void operator()(int64_t row, int64_t column, int64_t left, float (&sums)[pack_width<T>]) const {
    const auto d = read_pack<aligned>(dy.row(row) + column, left);
    const auto v = read_pack<aligned>(x.row(row) + column, left);
    const float r = inverse_rms[row];
#pragma unroll
    for (int i = 0; i < pack_width<T>; ++i) sums[i] += to_float(d.values[i]) * to_float(v.values[i]) * r;
  }
};

}  // namespace

void rms_norm(cudaStream_t stream, const Matrix& x, const void* weight, double weight_offset, float eps,
              const Matrix& y, float* inverse_rms) {
  with_type(x.element, [&](auto type) {
    using T = decltype(type);
    const unsigned size = team_size(divide_up(x.width, pack_width<T>), forward_held, most_threads);
    with_alignment<T>({x, y, row_view(weight, x.element, x.width)}, [&](auto aligned) {
      with_teams(x.rows, size, [&](auto warp, const LaunchShape& shape) {
        launch(stream, shape, "rms_norm", rms_norm_kernel<aligned, warp, T>, typed<T>(x),
               static_cast<const T*>(weight), addend_of<float>(weight_offset), eps, typed<T>(y), inverse_rms);
      });
    });
  });
}

void rms_norm_backward_input(cudaStream_t stream, const Matrix& dy, const Matrix& x, const void* weight,
                             double weight_offset, const float* inverse_rms, const Matrix* d_residual,
                             const Matrix& dx) {
  with_type(x.element, [&](auto type) {
    using T = decltype(type);
    const unsigned size = team_size(divide_up(x.width, pack_width<T>), backward_held, most_threads);
    const Matrix& beside = d_residual != nullptr ? *d_residual : dx;
    const Typed<T> added = d_residual != nullptr ? typed<T>(*d_residual) : Typed<T>{};
    with_alignment<T>({dy, x, dx, beside, row_view(weight, x.element, x.width)}, [&](auto aligned) {
      with_teams(x.rows, size, [&](auto warp, const LaunchShape& shape) {
        launch(stream, shape, "rms_norm_backward_input", backward_input_kernel<aligned, warp, T>,
               typed<T>(dy), typed<T>(x), static_cast<const T*>(weight), addend_of<float>(weight_offset),
               inverse_rms, typed<T>(dx), added);
      });
    });
  });
}

void rms_norm_backward_weight(cudaStream_t stream, const Matrix& dy, const Matrix& x,
                              const float* inverse_rms, void* d_weight, Element out_element, bool accumulate,
                              float* workspace) {
  with_type(x.element, [&](auto type) {
    using T = decltype(type);
    with_alignment<T>({dy, x}, [&](auto aligned) {
      sum_in_slices<pack_width<T>>(stream, "rms_norm_backward_weight",
                                   WeightTerm<aligned, T>{typed<T>(dy), typed<T>(x), inverse_rms}, x.rows,
                                   x.width, workspace);
    });
  });
  sum_slices(stream, workspace, column_slices(x.rows, x.width), x.width, d_weight, out_element, accumulate);
}

}  // namespace collie::cuda
