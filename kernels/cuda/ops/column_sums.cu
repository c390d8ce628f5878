// Bytes per element of x: 4 (float32) or 2 (bfloat16), and at most 1/4 for the slices' sums.
#include "kernels/cuda/ops/column_sums.hpp"

#include "kernels/cuda/ops/column_slices.hpp"

namespace collie::cuda {

namespace {

template <bool aligned, class T>
struct Rows {
  Typed<T> x;
  __device__ void operator()(int64_t row, int64_t column, int64_t left, float (&sums)[pack_width<T>]) const {
    const auto pack = read_pack<aligned>(x.row(row) + column, left);
#pragma unroll
    for (int i = 0; i < pack_width<T>; ++i) sums[i] += to_float(pack.values[i]);
  }
};

template <bool aligned, class T>
struct Products {
  Typed<T> a, b;
  __device__ void operator()(int64_t row, int64_t column, int64_t left, float (&sums)[pack_width<T>]) const {
    const auto x = read_pack<aligned>(a.row(row) + column, left);
    const auto y = read_pack<aligned>(b.row(row) + column, left);
#pragma unroll
    for (int i = 0; i < pack_width<T>; ++i) sums[i] += to_float(x.values[i]) * to_float(y.values[i]);
  }
};

constexpr unsigned columns = 32, slices_at_once = 32;

template <class T>
__global__ void __launch_bounds__(columns* slices_at_once)
    sum_slices_kernel(const float* partials, int64_t slices, int64_t width, T* out, bool accumulate) {
  __shared__ float shared[slices_at_once][columns];
  const int64_t column = int64_t{blockIdx.x} * columns + threadIdx.x;
  float sum = 0;
  if (column < width) {
#pragma unroll 4
    for (int64_t slice = threadIdx.y; slice < slices; slice += slices_at_once)
      sum += partials[slice * width + column];
  }
  shared[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y > 0 || column >= width) return;
  for (unsigned y = 1; y < slices_at_once; ++y) sum += shared[y][threadIdx.x];
  out[column] = from_float<T>(accumulate ? to_float(out[column]) + sum : sum);
}

}  // namespace

void sum_slices(cudaStream_t stream, const float* partials, int64_t slices, int64_t width, void* out,
                Element out_element, bool accumulate) {
  const LaunchShape shape{{static_cast<unsigned>(divide_up(width, columns))}, {columns, slices_at_once}};
  with_type(out_element, [&](auto type) {
    using T = decltype(type);
    launch(stream, shape, "sum_slices", sum_slices_kernel<T>, partials, slices, width, static_cast<T*>(out),
           accumulate);
  });
}

void column_sum(cudaStream_t stream, const Matrix& x, void* out, Element out_element, bool accumulate,
                float* workspace) {
  with_type(x.element, [&](auto type) {
    using T = decltype(type);
    with_alignment<T>({x}, [&](auto aligned) {
      sum_in_slices<pack_width<T>>(stream, "column_sum", Rows<aligned, T>{typed<T>(x)}, x.rows, x.width,
                                   workspace);
    });
  });
  sum_slices(stream, workspace, column_slices(x.rows, x.width), x.width, out, out_element, accumulate);
}

void column_dots(cudaStream_t stream, const Matrix& a, const Matrix& b, void* out, Element out_element,
                 bool accumulate, float* workspace) {
  with_type(a.element, [&](auto type) {
    using T = decltype(type);
    with_alignment<T>({a, b}, [&](auto aligned) {
      sum_in_slices<pack_width<T>>(stream, "column_dots", Products<aligned, T>{typed<T>(a), typed<T>(b)},
                                   a.rows, a.width, workspace);
    });
  });
  sum_slices(stream, workspace, column_slices(a.rows, a.width), a.width, out, out_element, accumulate);
}

}  // namespace collie::cuda
