// Lists every virtual function of Operations once, for tables that forward calls (forwarding_operations.hpp):
// OP(result, name, (parameters), (arguments)). tests/kernels/contracts.cpp fails if one is missing.
#pragma once

// Functions that compute, or move a tensor's values.
#define COLLIE_COMPUTING_OPERATIONS(OP)                                                                      \
  OP(Tensor, empty, (const Shape& shape, DType dtype, Category category), (shape, dtype, category))          \
  OP(Tensor, empty_on_host, (const Shape& shape, DType dtype, Category category), (shape, dtype, category))  \
  OP(void, fill, (Tensor & x, double value), (x, value))                                                     \
  OP(void, copy, (const Tensor& from, Tensor& to), (from, to))                                               \
  OP(void, convert, (const Tensor& from, Tensor& to), (from, to))                                            \
  OP(void, upload, (std::span<const float> values, Tensor & x), (values, x))                                 \
  OP(void, download, (const Tensor& x, std::span<float> values), (x, values))                                \
  OP(void, add, (const Tensor& a, const Tensor& b, Tensor& out), (a, b, out))                                \
  OP(void, scale, (Tensor & x, double factor), (x, factor))                                                  \
  OP(void, divide_by_root, (Tensor & x, const Tensor& square, double least), (x, square, least))             \
  OP(void, clamp, (Tensor & x, double limit), (x, limit))                                                    \
  OP(void, add_row, (Tensor & x, const Tensor& row), (x, row))                                               \
  OP(void, column_sum, (const Tensor& x, Tensor& out, bool accumulate), (x, out, accumulate))                \
  OP(void, scale_columns, (const Tensor& x, const Tensor& factors, Tensor& out), (x, factors, out))          \
  OP(void, column_dots, (const Tensor& a, const Tensor& b, Tensor& out, bool accumulate),                    \
     (a, b, out, accumulate))                                                                                \
  OP(void, row_sums_of_squares, (const Tensor& x, Tensor& sums), (x, sums))                                  \
  OP(void, inverse_roots, (Tensor & x), (x))                                                                 \
  OP(void, gemm, (GemmForm form, const Tensor& a, const Tensor& b, Tensor& c, bool accumulate),              \
     (form, a, b, c, accumulate))                                                                            \
  OP(void, gemm_add_row, (GemmForm form, const Tensor& a, const Tensor& b, const Tensor& row, Tensor& c),    \
     (form, a, b, row, c))                                                                                   \
  OP(void, dequantise,                                                                                       \
     (const QuantisedMatrix& matrix, int64_t first_row, int64_t first_column, Tensor& tile),                 \
     (matrix, first_row, first_column, tile))                                                                \
  OP(void, embedding, (const Tensor& table, std::span<const int32_t> ids, Tensor& out), (table, ids, out))   \
  OP(void, embedding_backward,                                                                               \
     (std::span<const int32_t> ids, const Tensor& d_out, Tensor& d_table, bool accumulate),                  \
     (ids, d_out, d_table, accumulate))                                                                      \
  OP(void, rms_norm,                                                                                         \
     (const Tensor& x, const Tensor& weight, double weight_offset, double eps, Tensor& y,                    \
      Tensor& inverse_rms),                                                                                  \
     (x, weight, weight_offset, eps, y, inverse_rms))                                                        \
  OP(void, add_rms_norm,                                                                                     \
     (const Tensor& x, const Tensor& residual, const Tensor& weight, double weight_offset, double eps,       \
      Tensor& sum, Tensor& y, Tensor& inverse_rms),                                                          \
     (x, residual, weight, weight_offset, eps, sum, y, inverse_rms))                                         \
  OP(void, rms_norm_backward_input,                                                                          \
     (const Tensor& dy, const Tensor& x, const Tensor& weight, double weight_offset,                         \
      const Tensor& inverse_rms, const Tensor& d_residual, Tensor& dx),                                      \
     (dy, x, weight, weight_offset, inverse_rms, d_residual, dx))                                            \
  OP(void, rms_norm_backward_weight,                                                                         \
     (const Tensor& dy, const Tensor& x, const Tensor& inverse_rms, Tensor& d_weight, bool accumulate),      \
     (dy, x, inverse_rms, d_weight, accumulate))                                                             \
  OP(void, layer_norm,                                                                                       \
     (const Tensor& x, const Tensor& weight, const Tensor& bias, double eps, Tensor& y, Tensor& statistics), \
     (x, weight, bias, eps, y, statistics))                                                                  \
  OP(void, add_layer_norm,                                                                                   \
     (const Tensor& x, const Tensor& residual, const Tensor& weight, const Tensor& bias, double eps,         \
      Tensor& sum, Tensor& y, Tensor& statistics),                                                           \
     (x, residual, weight, bias, eps, sum, y, statistics))                                                   \
  OP(void, layer_norm_backward_input,                                                                        \
     (const Tensor& dy, const Tensor& x, const Tensor& weight, const Tensor& statistics,                     \
      const Tensor& d_residual, Tensor& dx),                                                                 \
     (dy, x, weight, statistics, d_residual, dx))                                                            \
  OP(void, layer_norm_backward_weight,                                                                       \
     (const Tensor& dy, const Tensor& x, const Tensor& statistics, Tensor& d_weight, bool accumulate),       \
     (dy, x, statistics, d_weight, accumulate))                                                              \
  OP(void, rope,                                                                                             \
     (Tensor & x, const Tensor& cosines, const Tensor& sines, std::span<const int32_t> positions,            \
      bool inverse, RotaryPairs pairs),                                                                      \
     (x, cosines, sines, positions, inverse, pairs))                                                         \
  OP(void, attention,                                                                                        \
     (const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpans& spans,                        \
      const AttentionScores& scores, Tensor& out, Tensor& log_sum_exp),                                      \
     (q, k, v, spans, scores, out, log_sum_exp))                                                             \
  OP(void, attention_backward,                                                                               \
     (const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpans& spans,                        \
      const AttentionScores& scores, const Tensor& out, const Tensor& log_sum_exp, const Tensor& d_out,      \
      Tensor& dq, Tensor& dk, Tensor& dv),                                                                   \
     (q, k, v, spans, scores, out, log_sum_exp, d_out, dq, dk, dv))                                          \
  OP(void, merge_attention,                                                                                  \
     (Tensor & out, Tensor & log_sum_exp, const Tensor& part, const Tensor& part_log_sum_exp),               \
     (out, log_sum_exp, part, part_log_sum_exp))                                                             \
  OP(void, gated, (Activation activation, const Tensor& gate, const Tensor& up, Tensor& out),                \
     (activation, gate, up, out))                                                                            \
  OP(void, gated_backward,                                                                                   \
     (Activation activation, const Tensor& gate, const Tensor& up, const Tensor& d_out, Tensor& d_gate,      \
      Tensor& d_up),                                                                                         \
     (activation, gate, up, d_out, d_gate, d_up))                                                            \
  OP(void, activate, (Activation activation, const Tensor& x, Tensor& out), (activation, x, out))            \
  OP(void, activate_backward, (Activation activation, const Tensor& x, const Tensor& d_out, Tensor& dx),     \
     (activation, x, d_out, dx))                                                                             \
  OP(void, dropout,                                                                                          \
     (const Tensor& x, double rate, uint64_t key, std::span<const uint64_t> rows, int64_t first_column,      \
      Tensor& out),                                                                                          \
     (x, rate, key, rows, first_column, out))                                                                \
  OP(void, cross_entropy,                                                                                    \
     (Tensor & logits, std::span<const int32_t> labels, double gradient_scale, Tensor& loss_sum),            \
     (logits, labels, gradient_scale, loss_sum))                                                             \
  OP(void, softmax_statistics,                                                                               \
     (const Tensor& logits, std::span<const int32_t> labels, int64_t first, Tensor& statistics),             \
     (logits, labels, first, statistics))                                                                    \
  OP(void, cross_entropy_from_statistics,                                                                    \
     (Tensor & logits, std::span<const int32_t> labels, int64_t first, const Tensor& statistics,             \
      double gradient_scale, Tensor& loss_sum),                                                              \
     (logits, labels, first, statistics, gradient_scale, loss_sum))                                          \
  OP(void, gumbel_max,                                                                                       \
     (const Tensor& logits, int64_t first, uint64_t key, std::span<const uint64_t> rows, Tensor& best),      \
     (logits, first, key, rows, best))                                                                       \
  OP(void, block_sums_of_squares, (const Tensor& x, Tensor& sums), (x, sums))                                \
  OP(void, ordered_sums, (const Tensor& values, const OrderedRuns& runs, Tensor& sums),                      \
     (values, runs, sums))                                                                                   \
  OP(void, tree_sums, (const Tensor& values, const TreeRuns& runs, Tensor& sums), (values, runs, sums))      \
  OP(void, step_outcome,                                                                                     \
     (const Tensor& loss_sum, const Tensor& sum_of_squares, const StepBounds& bounds, Tensor& outcome),      \
     (loss_sum, sum_of_squares, bounds, outcome))                                                            \
  OP(void, keep_if_finite, (const Tensor& factor, const Tensor& value, Tensor& kept), (factor, value, kept)) \
  OP(void, update, (std::span<UpdateTensors> ranges, const ElementwiseUpdate& step), (ranges, step))         \
  OP(void, update_quantised, (std::span<QuantisedTensors> ranges, const ElementwiseUpdate& step),            \
     (ranges, step))                                                                                         \
  OP(void, line_maxima, (std::span<const MatrixTile> tiles, const Tensor& factor, Tensor& maxima),           \
     (tiles, factor, maxima))                                                                                \
  OP(void, line_sums_of_squares,                                                                             \
     (std::span<const MatrixTile> tiles, const Tensor& factor, const Tensor& scales, const Tensor& bounds,   \
      Tensor& sums),                                                                                         \
     (tiles, factor, scales, bounds, sums))                                                                  \
  OP(void, factored_moments,                                                                                 \
     (std::span<FactoredMatrix> matrices, const FactoredStep& step, const Tensor& factor,                    \
      const Tensor& maxima, const Tensor& sums, Tensor& scales, Tensor& bounds),                             \
     (matrices, step, factor, maxima, sums, scales, bounds))                                                 \
  OP(void, factored_rates,                                                                                   \
     (std::span<const FactoredMatrix> matrices, const FactoredStep& step, const Tensor& directions,          \
      const Tensor& weights, Tensor& rates),                                                                 \
     (matrices, step, directions, weights, rates))                                                           \
  OP(void, factored_update,                                                                                  \
     (std::span<FactoredTile> tiles, const FactoredStep& step, const Tensor& factor, const Tensor& scales,   \
      const Tensor& rates, const Rounding& rounding),                                                        \
     (tiles, step, factor, scales, rates, rounding))

// Functions that wait, ask, or call back.
#define COLLIE_OTHER_OPERATIONS(OP)                                                              \
  OP(std::unique_ptr<Offloaded>, offload, (std::vector<Tensor> tensors), (std::move(tensors)))   \
  OP(Tensor, to_host, (const Tensor& x, Category category), (x, category))                       \
  OP(void, from_host, (const Tensor& values, Tensor& x), (values, x))                            \
  OP(void, for_host_pieces, (int64_t count, int64_t piece, const OnPiece& f), (count, piece, f)) \
  OP(void, as_graphs, (int64_t task, const std::function<void()>& work), (task, work))           \
  OP(void, synchronize, (), ())                                                                  \
  OP(Deferred<std::vector<double>>, read, (const Tensor& values), (values))                      \
  OP(void, when_done, (std::function<void()> f), (std::move(f)))                                 \
  OP(void, check_device, (), ())                                                                 \
  OP(void, release, (Tensor & x), (x))                                                           \
  OP(Tensor, acquire, (Tensor x, Category category), (std::move(x), category))

// The same kind of functions, of constant tables.
#define COLLIE_CONSTANT_OPERATIONS(OP)              \
  OP(int64_t, head_chunk, (int64_t vocab), (vocab)) \
  OP(bool, has_values, (), ())                      \
  OP(GraphCounts, graph_counts, (), ())
