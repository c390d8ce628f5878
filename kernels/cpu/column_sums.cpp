// Sums down the columns of a matrix. A task owns some columns and takes all rows in order. Blocks of rows are
// summed first and then added up, which keeps fp32 accurate over many tokens.
#include "kernels/checks.hpp"
#include "kernels/cpu/cpu_operations.hpp"
#include "kernels/cpu/pieces.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/column_sums.cpp"
#include "hwy/foreach_target.h"

#include "kernels/cpu/vector-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace collie::HWY_NAMESPACE {

using cpu::Elements;

constexpr int64_t rows_per_block = 64;
constexpr int64_t most_columns = 64;  // per task

// out[j] (+)= sum over rows of row_term(access, row, j), for j < columns <= most_columns.
template <class RowTerm>
HWY_INLINE void sum_rows(int64_t rows, int64_t columns, Elements out, bool accumulate, RowTerm row_term) {
  HWY_ALIGN float total[most_columns] = {}, block[most_columns];
  for (int64_t first = 0; first < rows; first += rows_per_block) {
    const int64_t last = HWY_MIN(first + rows_per_block, rows);
    std::memset(block, 0, sizeof(block));
    for (int64_t row = first; row < last; ++row)
      for_each_vector(columns, [&](int64_t j, auto access) HWY_ATTR {
        access.store(row_term(access, row, j, access.load(block + j)), block + j);
      });
    for (int64_t j = 0; j < columns; ++j) total[j] += block[j];
  }
  typed(
      [&](auto* sums) HWY_ATTR {
        for (int64_t j = 0; j < columns; ++j)
          store(accumulate ? to_float(sums[j]) + total[j] : total[j], sums + j);
      },
      out);
}

void sum_columns(Elements matrix, int64_t stride, int64_t rows, int64_t columns, Elements out,
                 bool accumulate) {
  typed(
      [&](auto* x) HWY_ATTR {
        sum_rows(rows, columns, out, accumulate, [&](auto access, int64_t row, int64_t j, Vec sum) HWY_ATTR {
          return hn::Add(sum, access.load(x + row * stride + j));
        });
      },
      matrix);
}

// out[j] (+)= sum of a[row, j] b[row, j].
void sum_column_products(Elements left, int64_t a_stride, Elements right, int64_t b_stride, int64_t rows,
                         int64_t columns, Elements out, bool accumulate) {
  typed(
      [&](auto* a, auto* b) HWY_ATTR {
        sum_rows(rows, columns, out, accumulate, [&](auto access, int64_t row, int64_t j, Vec sum) HWY_ATTR {
          return hn::MulAdd(access.load(a + row * a_stride + j), access.load(b + row * b_stride + j), sum);
        });
      },
      left, right);
}

// out[j] (+)= sum of dy[row, j] x[row, j] inverse_rms[row].
void sum_norm_products(Elements gradients, int64_t dy_stride, Elements inputs, int64_t x_stride,
                       const float* inverse_rms, int64_t rows, int64_t columns, Elements out,
                       bool accumulate) {
  typed(
      [&](auto* dy, auto* x) HWY_ATTR {
        sum_rows(rows, columns, out, accumulate, [&](auto access, int64_t row, int64_t j, Vec sum) HWY_ATTR {
          const Vec normalised = hn::Mul(access.load(x + row * x_stride + j), constant(inverse_rms[row]));
          return hn::MulAdd(access.load(dy + row * dy_stride + j), normalised, sum);
        });
      },
      gradients, inputs);
}

// out[j] (+)= sum of dy[row, j] (x[row, j] - mean) r with the row's statistics {mean, r}.
void sum_centred_products(Elements gradients, int64_t dy_stride, Elements inputs, int64_t x_stride,
                          const float* statistics, int64_t rows, int64_t columns, Elements out,
                          bool accumulate) {
  typed(
      [&](auto* dy, auto* x) HWY_ATTR {
        sum_rows(rows, columns, out, accumulate, [&](auto access, int64_t row, int64_t j, Vec sum) HWY_ATTR {
          const Vec centred = hn::Sub(access.load(x + row * x_stride + j), constant(statistics[2 * row]));
          const Vec normalised = hn::Mul(centred, constant(statistics[2 * row + 1]));
          return hn::MulAdd(access.load(dy + row * dy_stride + j), normalised, sum);
        });
      },
      gradients, inputs);
}

}  // namespace collie::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace collie {

HWY_EXPORT(sum_columns);
HWY_EXPORT(sum_column_products);
HWY_EXPORT(sum_norm_products);
HWY_EXPORT(sum_centred_products);

using cpu::at;

namespace {
constexpr int64_t columns_a_task = 64;
}

void CpuOperations::column_sum(const Tensor& x, Tensor& out, bool accumulate) {
  check::column_sum(dtype(), x, out);
  const auto kernel = &HWY_DYNAMIC_DISPATCH(sum_columns);
  arena_.for_pieces(x.dim(1), columns_a_task, [&](int64_t first, int64_t last) {
    kernel(at(x, 0, first), x.row_stride(), x.dim(0), last - first, at(out, 0, first), accumulate);
  });
}

void CpuOperations::column_dots(const Tensor& a, const Tensor& b, Tensor& out, bool accumulate) {
  check::column_dots(dtype(), a, b, out);
  const auto kernel = &HWY_DYNAMIC_DISPATCH(sum_column_products);
  arena_.for_pieces(a.dim(1), columns_a_task, [&](int64_t first, int64_t last) {
    kernel(at(a, 0, first), a.row_stride(), at(b, 0, first), b.row_stride(), a.dim(0), last - first,
           at(out, 0, first), accumulate);
  });
}

void CpuOperations::rms_norm_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& inverse_rms,
                                             Tensor& d_weight, bool accumulate) {
  check::rms_norm_backward_weight(dtype(), dy, x, inverse_rms, d_weight);
  const auto kernel = &HWY_DYNAMIC_DISPATCH(sum_norm_products);
  arena_.for_pieces(x.dim(1), columns_a_task, [&](int64_t first, int64_t last) {
    kernel(at(dy, 0, first), dy.row_stride(), at(x, 0, first), x.row_stride(), inverse_rms.data<float>(),
           x.dim(0), last - first, at(d_weight, 0, first), accumulate);
  });
}

void CpuOperations::layer_norm_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& statistics,
                                               Tensor& d_weight, bool accumulate) {
  check::layer_norm_backward_weight(dtype(), dy, x, statistics, d_weight);
  const auto kernel = &HWY_DYNAMIC_DISPATCH(sum_centred_products);
  arena_.for_pieces(x.dim(1), columns_a_task, [&](int64_t first, int64_t last) {
    kernel(at(dy, 0, first), dy.row_stride(), at(x, 0, first), x.row_stride(), statistics.data<float>(),
           x.dim(0), last - first, at(d_weight, 0, first), accumulate);
  });
}

}  // namespace collie
#endif  // HWY_ONCE
