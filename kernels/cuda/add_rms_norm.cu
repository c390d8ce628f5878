// RMSNorm with the residual connection before it. Rows are held in registers as in rms_norm.cu (backward: up
// to 8192 elements; of longer rows the end is read twice, and its sums stay in the workspace). Bytes an
// element, float32 / bfloat16: forward 16 / 8 (add and rms_norm apart: 20 / 10); backward 16 / 8 and at most
// 1 for the slices' sums (apart: 24 / 12).
#include "kernels/cuda/column_sums.hpp"
#include "kernels/cuda/rms_norm.hpp"
#include "kernels/cuda/row_teams.hpp"

namespace collie::cuda {

namespace {

constexpr int forward_held = 4;
// Of backward, whose threads also have a sum for every element they hold: 16 elements.
template <class T>
constexpr int backward_held = 16 / pack_width<T>;
constexpr unsigned most_threads = 512;

template <bool aligned, bool warp, class T>
__global__ void __launch_bounds__(warp ? teams_a_block* warp_size : most_threads)
    forward_kernel(Typed<T> x, Typed<T> residual, const T* weight, float eps, Typed<T> sum, Typed<T> y,
                   float* inverse_rms) {
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
      pack.values[j] = from_float<T>(to_float(pack.values[j]) * r * to_float(w.values[j]));
    write_pack<aligned>(y.row(row) + column, width - column, pack);
  });
}

// Rows are cut into slices, one a team, which sums the slice's d_weight: in registers for the packs that it
// holds, in `partials` [slices, width] for those beyond.
template <bool aligned, bool warp, class T>
__global__ void __launch_bounds__(warp ? teams_a_block* warp_size : most_threads)
    backward_kernel(Typed<T> dy, Typed<T> x, const T* weight, const float* inverse_rms, Typed<T> d_residual,
                    Typed<T> dx, float* partials, int64_t slices, int64_t rows_each) {
  constexpr int V = pack_width<T>, held = backward_held<T>;
  const int64_t slice = Team<warp>::index(), width = x.width;
  if (slice >= slices) return;
  const int64_t first = slice * rows_each, last = first + rows_each < x.rows ? first + rows_each : x.rows;
  float* const beyond = partials + slice * width;
  float d_weight[held][V] = {};
  for_columns<Team<warp>, held, V>(width, [&](int64_t column, int i) {
    if (i < held) return;
    for (int j = 0; j < V && column + j < width; ++j) beyond[column + j] = 0;
  });
  for (int64_t row = first; row < last; ++row) {
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
        dot += to_float(d.values[j]) * to_float(w.values[j]) * to_float(v.values[j]);
    });
    const float r = inverse_rms[row];
    const float along = Team<warp>::sum(dot) * r * r * r / static_cast<float>(width);
    for_columns<Team<warp>, held, V>(width, [&](int64_t column, int i) {
      const auto d = i < held ? dy_packs[i] : read_pack<aligned>(dy.row(row) + column, width - column);
      const auto v = i < held ? x_packs[i] : read_pack<aligned>(x.row(row) + column, width - column);
      const auto w = read_pack<aligned>(weight + column, width - column);
      auto out = read_pack<aligned>(d_residual.row(row) + column, width - column);
#pragma unroll
      for (int j = 0; j < V; ++j) {
        const float dj = to_float(d.values[j]), xj = to_float(v.values[j]);
        out.values[j] =
            from_float<T>(to_float(out.values[j]) + (r * to_float(w.values[j]) * dj - xj * along));
        if (i < held)
          d_weight[i][j] += dj * xj * r;
        else if (column + j < width)
          beyond[column + j] += dj * xj * r;
      }
      write_pack<aligned>(dx.row(row) + column, width - column, out);
    });
  }
  for_columns<Team<warp>, held, V>(width, [&](int64_t column, int i) {
    if (i == held) return;
#pragma unroll
    for (int j = 0; j < V; ++j)
      if (column + j < width) beyond[column + j] = d_weight[i][j];
  });
}

struct Slices {
  unsigned team;
  int64_t count, rows_each;
};
// As many teams as a large GPU runs at once, 8 rows each or more.
Slices slices_of(const Matrix& x) {
  unsigned team = 0;
  with_type(x.element, [&](auto type) {
    using T = decltype(type);
    team = team_size(divide_up(x.width, pack_width<T>), backward_held<T>, most_threads);
  });
  const int64_t most = 2048 * int64_t{warp_size} / team, wanted = divide_up(x.rows, 8);
  if (wanted == 0) return {team, 0, 0};
  const int64_t rows_each = divide_up(x.rows, wanted < most ? wanted : most);
  return {team, divide_up(x.rows, rows_each), rows_each};
}

}  // namespace

void add_rms_norm(cudaStream_t stream, const Matrix& x, const Matrix& residual, const void* weight, float eps,
                  const Matrix& sum, const Matrix& y, float* inverse_rms) {
  with_type(x.element, [&](auto type) {
    using T = decltype(type);
    const unsigned size = team_size(divide_up(x.width, pack_width<T>), forward_held, most_threads);
    with_alignment<T>({x, residual, sum, y, row_view(weight, x.element, x.width)}, [&](auto aligned) {
      with_teams(x.rows, size, [&](auto warp, const LaunchShape& shape) {
        launch(stream, shape, "add_rms_norm", forward_kernel<aligned, warp, T>, typed<T>(x),
               typed<T>(residual), static_cast<const T*>(weight), eps, typed<T>(sum), typed<T>(y),
               inverse_rms);
      });
    });
  });
}

int64_t add_rms_norm_backward_workspace(const Matrix& sum) {
  return slices_of(sum).count * sum.width;
}

void add_rms_norm_backward(cudaStream_t stream, const Matrix& dy, const Matrix& sum, const void* weight,
                           const float* inverse_rms, const Matrix& d_residual, const Matrix& d_sum,
                           void* d_weight, Element out_element, bool accumulate_weight, float* workspace) {
  const Slices slices = slices_of(sum);
  with_type(sum.element, [&](auto type) {
    using T = decltype(type);
    const Matrix w = row_view(weight, sum.element, sum.width);
    with_alignment<T>({dy, sum, d_residual, d_sum, w}, [&](auto aligned) {
      with_teams(slices.count, slices.team, [&](auto warp, const LaunchShape& shape) {
        launch(stream, shape, "add_rms_norm_backward", backward_kernel<aligned, warp, T>, typed<T>(dy),
               typed<T>(sum), static_cast<const T*>(weight), inverse_rms, typed<T>(d_residual),
               typed<T>(d_sum), workspace, slices.count, slices.rows_each);
      });
    });
  });
  sum_slices(stream, workspace, slices.count, sum.width, d_weight, out_element, accumulate_weight);
}

}  // namespace collie::cuda
