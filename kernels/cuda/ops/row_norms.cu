// Bytes per element of x: 4 (float32) or 2 (bfloat16).
#include "kernels/cuda/ops/row_norms.hpp"

#include "kernels/cuda/ops/row_teams.hpp"

namespace collie::cuda {

namespace {

constexpr int packs_each = 4;  // per thread, of a row that its team takes at once
constexpr unsigned most_threads_of_row = 512;

template <bool aligned, bool warp, class T>
__global__ void __launch_bounds__(warp ? teams_per_block* warp_size : most_threads_of_row)
    row_sums_of_squares_kernel(Typed<T> x, float* sums) {
  constexpr int V = pack_width<T>;
  const int64_t row = Team<warp>::index(), width = x.width;
  if (row >= x.rows) return;
  const T* const from = x.row(row);
  float squares = 0;
  for_columns<Team<warp>, packs_each, V>(width, [&](int64_t column, int) {
    const auto pack = read_pack<aligned>(from + column, width - column);
#pragma unroll
    for (int j = 0; j < V; ++j) squares += to_float(pack.values[j]) * to_float(pack.values[j]);
  });
  const float sum = Team<warp>::sum(squares);
  if (Team<warp>::lane() == 0) sums[row] = sum;
}

__global__ void inverse_roots_kernel(float* x, int64_t count) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < count) x[i] = x[i] == 0 ? 0 : 1 / sqrtf(x[i]);
}

}  // namespace

void row_sums_of_squares(cudaStream_t stream, const Matrix& x, float* sums) {
  with_type(x.element, [&](auto type) {
    using T = decltype(type);
    const unsigned size = team_size(divide_up(x.width, pack_width<T>), packs_each, most_threads_of_row);
    with_alignment<T>({x}, [&](auto aligned) {
      with_teams(x.rows, size, [&](auto warp, const LaunchShape& shape) {
        launch(stream, shape, "row_sums_of_squares", row_sums_of_squares_kernel<aligned, warp, T>,
               typed<T>(x), sums);
      });
    });
  });
}

void inverse_roots(cudaStream_t stream, float* x, int64_t count) {
  constexpr unsigned threads = 256;
  const LaunchShape shape{{static_cast<unsigned>(divide_up(count, int64_t{threads}))}, {threads}};
  launch(stream, shape, "inverse_roots", inverse_roots_kernel, x, count);
}

}  // namespace collie::cuda
