// The checks of dtypes and shapes that every implementation of the operation table makes before it touches
// memory, one function per operation. Each throws a std::logic_error (COLLIE_ASSERT) that names the operation
// and the shapes that do not fit.
#pragma once

#include "kernels/operations.hpp"

namespace collie::check {

struct GemmSizes {
  int64_t m, n, k;
};

struct AttentionSizes {
  int64_t queries, keys, heads, kv_heads, head_dim, documents;
};

// There must be as many host values as elements.
void transfer(size_t values, const Tensor& x);
// Shapes and dtypes must be equal.
void copy(const Tensor& from, const Tensor& to);
// One side has `dtype`, the other its accumulation dtype. Shapes must be equal.
void convert(DType dtype, const Tensor& from, const Tensor& to);
// `values` must be in host memory and match x.
void from_host(const Tensor& values, const Tensor& x);
// The values must be f64, one-dimensional and contiguous.
void read(const Tensor& values);
void add(DType dtype, const Tensor& a, const Tensor& b, const Tensor& out);
void scale(DType dtype, const Tensor& x);
void divide_by_root(DType dtype, const Tensor& x, const Tensor& square);
void clamp(DType dtype, const Tensor& x, double limit);
void add_row(DType dtype, const Tensor& x, const Tensor& row);
void scale_columns(DType dtype, const Tensor& x, const Tensor& factors, const Tensor& out);
void column_dots(DType dtype, const Tensor& a, const Tensor& b, const Tensor& out);
void row_sums_of_squares(DType dtype, const Tensor& x, const Tensor& sums);
void inverse_roots(DType dtype, const Tensor& x);
void column_sum(DType dtype, const Tensor& x, const Tensor& out);
GemmSizes gemm(DType dtype, GemmForm form, const Tensor& a, const Tensor& b, const Tensor& c);
GemmSizes gemm_add_row(DType dtype, GemmForm form, const Tensor& a, const Tensor& b, const Tensor& row,
                       const Tensor& c);
void dequantise(DType dtype, const QuantisedMatrix& matrix, int64_t first_row, int64_t first_column,
                const Tensor& tile);
void embedding(DType dtype, const Tensor& table, std::span<const int32_t> ids, const Tensor& out);
void rms_norm(DType dtype, const Tensor& x, const Tensor& weight, const Tensor& y, const Tensor& inverse_rms);
void rms_norm_backward_input(DType dtype, const Tensor& dy, const Tensor& x, const Tensor& weight,
                             const Tensor& inverse_rms, const Tensor& d_residual, const Tensor& dx);
void add_rms_norm(DType dtype, const Tensor& x, const Tensor& residual, const Tensor& weight,
                  const Tensor& sum, const Tensor& y, const Tensor& inverse_rms);
void rms_norm_backward_weight(DType dtype, const Tensor& dy, const Tensor& x, const Tensor& inverse_rms,
                              const Tensor& d_weight);
void layer_norm(DType dtype, const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& y,
                const Tensor& statistics);
void add_layer_norm(DType dtype, const Tensor& x, const Tensor& residual, const Tensor& weight,
                    const Tensor& bias, const Tensor& sum, const Tensor& y, const Tensor& statistics);
void layer_norm_backward_input(DType dtype, const Tensor& dy, const Tensor& x, const Tensor& weight,
                               const Tensor& statistics, const Tensor& d_residual, const Tensor& dx);
void layer_norm_backward_weight(DType dtype, const Tensor& dy, const Tensor& x, const Tensor& statistics,
                                const Tensor& d_weight);
void rope(DType dtype, const Tensor& x, const Tensor& cosines, const Tensor& sines,
          std::span<const int32_t> positions);
AttentionSizes attention(DType dtype, const Tensor& q, const Tensor& k, const Tensor& v,
                         const AttentionSpans& spans, const AttentionScores& scores, const Tensor& out,
                         const Tensor& log_sum_exp);
void attention_gradients(DType dtype, const Tensor& q, const Tensor& k, const Tensor& d_out, const Tensor& dq,
                         const Tensor& dk, const Tensor& dv);
void merge_attention(DType dtype, const Tensor& out, const Tensor& log_sum_exp, const Tensor& part,
                     const Tensor& part_log_sum_exp);
void gated(DType dtype, const Tensor& gate, const Tensor& up, const Tensor& out);
void gated_backward(DType dtype, const Tensor& gate, const Tensor& up, const Tensor& d_out,
                    const Tensor& d_gate, const Tensor& d_up);
void activate(DType dtype, const Tensor& x, const Tensor& out);
void activate_backward(DType dtype, const Tensor& x, const Tensor& d_out, const Tensor& dx);
void dropout(DType dtype, const Tensor& x, double rate, std::span<const uint64_t> rows, int64_t first_column,
             const Tensor& out);
void cross_entropy(DType dtype, const Tensor& logits, std::span<const int32_t> labels,
                   const Tensor& loss_sum);
void gumbel_max(DType dtype, const Tensor& logits, int64_t first, std::span<const uint64_t> rows,
                const Tensor& best);
void softmax_statistics(DType dtype, const Tensor& logits, std::span<const int32_t> labels, int64_t first,
                        const Tensor& statistics);
void cross_entropy_from_statistics(DType dtype, const Tensor& logits, std::span<const int32_t> labels,
                                   int64_t first, const Tensor& statistics, const Tensor& loss_sum);
void block_sums_of_squares(DType dtype, const Tensor& x, const Tensor& sums);
void ordered_sums(const Tensor& values, const OrderedRuns& runs, const Tensor& sums);
void tree_sums(const Tensor& values, const TreeRuns& runs, const Tensor& sums);
void step_outcome(const Tensor& loss_sum, const Tensor& sum_of_squares, const Tensor& outcome);
void keep_if_finite(const Tensor& factor, const Tensor& value, const Tensor& kept);
void update(DType dtype, std::span<const UpdateTensors> ranges, const ElementwiseUpdate& step);
void update_quantised(DType dtype, std::span<const QuantisedTensors> ranges, const ElementwiseUpdate& step);
void line_maxima(DType dtype, std::span<const MatrixTile> tiles, const Tensor& factor, const Tensor& maxima);
void line_sums_of_squares(DType dtype, std::span<const MatrixTile> tiles, const Tensor& factor,
                          const Tensor& scales, const Tensor& bounds, const Tensor& sums);
void factored_moments(DType dtype, std::span<const FactoredMatrix> matrices, const Tensor& factor,
                      const Tensor& maxima, const Tensor& sums, const Tensor& scales, const Tensor& bounds);
void factored_rates(DType dtype, std::span<const FactoredMatrix> matrices, const Tensor& directions,
                    const Tensor& weights, const Tensor& rates);
void factored_update(DType dtype, std::span<const FactoredTile> tiles, const FactoredStep& step,
                     const Tensor& factor, const Tensor& scales, const Tensor& rates);

}  // namespace collie::check
