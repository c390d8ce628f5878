// RMSNorm with the residual connection before it. Rows are held in registers as in rms_norm.cu. Bytes per
// element, float32 / bfloat16: 16 / 8 (separate add and rms_norm: 20 / 10).
#include "kernels/cuda/ops/rms_norm.hpp"
#include "kernels/cuda/ops/row_teams.hpp"
#include "kernels/weight_offset.hpp"

namespace collie::cuda {

namespace {

constexpr int forward_held = 4;
constexpr unsigned most_threads = 512;

template <bool aligned, bool warp, class T>
__global__ void __launch_bounds__(warp ? teams_per_block* warp_size : most_threads)
    forward_kernel(Typed<T> x, Typed<T> residual, const T* weight, float offset, float eps, Typed<T> sum,
                   Typed<T> y, float* inverse_rms) {
  constexpr int V = pack_width<T>, held = forward_held;
  const int64_t row = Team<warp>::index(), width = x.width;
  if (row >= x.rows) return;
  FullPack<T> packs[held];
  float squares = 0;
  for_columns<Team<warp>, held, V>(width, [&](int64_t column, int i) {
    auto pack = read_pack<aligned>(x.row(row) + column, width - column);
    const auto more = read_pack<aligned>(residual.row(row) + column, width - column);
#pragma unroll
    for (int j = 0; j < V; ++j) {
      pack.values[j] = from_float<T>(to_float(pack.values[j]) + to_float(more.values[j]));
      squares += to_float(pack.values[j]) * to_float(pack.values[j]);
    }
    write_pack<aligned>(sum.row(row) + column, width - column, pack);
    if (i < held) packs[i] = pack;
  });
  const float mean = Team<warp>::sum(squares) / static_cast<float>(width);
  const float r = 1.0F / sqrtf(mean + eps);
  if (Team<warp>::lane() == 0) inverse_rms[row] = r;
  for_columns<Team<warp>, held, V>(width, [&](int64_t column, int i) {
    auto pack = i < held ? packs[i] : read_pack<aligned>(sum.row(row) + column, width - column);
    const auto w = read_pack<aligned>(weight + column, width - column);
#pragma unroll
    for (int j = 0; j < V; ++j)
      pack.values[j] = from_float<T>(to_float(pack.values[j]) * r * (to_float(w.values[j]) + offset));
    write_pack<aligned>(y.row(row) + column, width - column, pack);
  });
}

}  // namespace

void add_rms_norm(cudaStream_t stream, const Matrix& x, const Matrix& residual, const void* weight,
                  double weight_offset, float eps, const Matrix& sum, const Matrix& y, float* inverse_rms) {
  with_type(x.element, [&](auto type) {
    using T = decltype(type);
    const unsigned size = team_size(divide_up(x.width, pack_width<T>), forward_held, most_threads);
    with_alignment<T>({x, residual, sum, y, row_view(weight, x.element, x.width)}, [&](auto aligned) {
      with_teams(x.rows, size, [&](auto warp, const LaunchShape& shape) {
        launch(stream, shape, "add_rms_norm", forward_kernel<aligned, warp, T>, typed<T>(x),
               typed<T>(residual), static_cast<const T*>(weight), addend_of<float>(weight_offset), eps,
               typed<T>(sum), typed<T>(y), inverse_rms);
      });
    });
  });
}

}  // namespace collie::cuda
