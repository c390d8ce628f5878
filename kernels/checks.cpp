#include "kernels/checks.hpp"

#include <cmath>
#include <string_view>

#include "base/divide.hpp"
#include "kernels/check_parts.hpp"

namespace collie::check {

using namespace parts;

void transfer(size_t values, const Tensor& x) {
  COLLIE_ASSERT(static_cast<int64_t>(values) == x.numel(), "{} host values for a tensor of shape {}", values,
                x.shape().to_string());
}

void copy(const Tensor& from, const Tensor& to) {
  COLLIE_ASSERT(from.defined(), "copy: from is an empty tensor");
  like("copy", "to", to, "from", from, from.dtype());
}

void convert(DType dtype, const Tensor& from, const Tensor& to) {
  of_either_dtype("convert", "from", from, dtype);
  of_either_dtype("convert", "to", to, dtype);
  like("convert", "to", to, "from", from, to.dtype());
}

void from_host(const Tensor& values, const Tensor& x) {
  copy(values, x);
  COLLIE_ASSERT(values.device() == DeviceKind::cpu, "from_host: {} are not in host memory",
                values.shape().to_string());
  contiguous("from_host", "values", values);
}

void read(const Tensor& values) {
  doubles("read", "values", values);
}

void add(DType dtype, const Tensor& a, const Tensor& b, const Tensor& out) {
  of_either_dtype("add", "a", a, dtype);
  like("add", "b", b, "a", a, a.dtype());
  like("add", "out", out, "a", a, a.dtype());
}

void scale(DType dtype, const Tensor& x) {
  of_either_dtype("scale", "x", x, dtype);
}

void divide_by_root(DType dtype, const Tensor& x, const Tensor& square) {
  of_either_dtype("divide_by_root", "x", x, dtype);
  doubles("divide_by_root", "square", square, 1);
}

void clamp(DType dtype, const Tensor& x, double limit) {
  of_either_dtype("clamp", "x", x, dtype);
  COLLIE_ASSERT(limit >= 0, "clamp: a limit of {}; at least 0 is right", limit);
}

void add_row(DType dtype, const Tensor& x, const Tensor& row) {
  of_rank("add_row", "x", x, 2, dtype);
  vector_for("add_row", "row", row, x.dim(1), "x", x, dtype);
}

void column_sum(DType dtype, const Tensor& x, const Tensor& out) {
  of_rank("column_sum", "x", x, 2, dtype);
  of_either_dtype("column_sum", "out", out, dtype);
  vector_for("column_sum", "out", out, x.dim(1), "x", x, out.dtype());
}

void scale_columns(DType dtype, const Tensor& x, const Tensor& factors, const Tensor& out) {
  of_rank("scale_columns", "x", x, 2, dtype);
  of_either_dtype("scale_columns", "factors", factors, dtype);
  vector_for("scale_columns", "factors", factors, x.dim(1), "x", x, factors.dtype());
  like("scale_columns", "out", out, "x", x, dtype);
}

void column_dots(DType dtype, const Tensor& a, const Tensor& b, const Tensor& out) {
  of_rank("column_dots", "a", a, 2, dtype);
  like("column_dots", "b", b, "a", a, dtype);
  of_either_dtype("column_dots", "out", out, dtype);
  vector_for("column_dots", "out", out, a.dim(1), "a", a, out.dtype());
}

void row_sums_of_squares(DType dtype, const Tensor& x, const Tensor& sums) {
  of_rank("row_sums_of_squares", "x", x, 2, dtype);
  vector_for("row_sums_of_squares", "sums", sums, x.dim(0), "x", x, accumulation_dtype(dtype));
}

void inverse_roots(DType dtype, const Tensor& x) {
  of_rank("inverse_roots", "x", x, 1, accumulation_dtype(dtype));
  contiguous("inverse_roots", "x", x);
}

GemmSizes gemm(DType dtype, GemmForm form, const Tensor& a, const Tensor& b, const Tensor& c) {
  of_either_dtype("gemm", "a", a, dtype);
  of_rank("gemm", "a", a, 2, a.dtype());
  of_rank("gemm", "b", b, 2, a.dtype());
  of_either_dtype("gemm", "c", c, a.dtype());
  of_rank("gemm", "c", c, 2, c.dtype());
  const bool a_transposed = form == GemmForm::tn, b_transposed = form == GemmForm::nt;
  const int64_t m = a.dim(a_transposed ? 1 : 0), k = a.dim(a_transposed ? 0 : 1);
  const int64_t n = b.dim(b_transposed ? 0 : 1), k_of_b = b.dim(b_transposed ? 1 : 0);
  const char* form_name = form == GemmForm::nn ? "nn" : form == GemmForm::nt ? "nt" : "tn";
  COLLIE_ASSERT(k == k_of_b, "gemm {}: a {} and b {} do not share a dimension", form_name,
                a.shape().to_string(), b.shape().to_string());
  COLLIE_ASSERT(c.dim(0) == m && c.dim(1) == n, "gemm {}: a {} and b {} give [{}, {}], but c is {}",
                form_name, a.shape().to_string(), b.shape().to_string(), m, n, c.shape().to_string());
  return {m, n, k};
}

GemmSizes gemm_add_row(DType dtype, GemmForm form, const Tensor& a, const Tensor& b, const Tensor& row,
                       const Tensor& c) {
  of_dtype("gemm_add_row", "c", c, dtype);
  const GemmSizes sizes = gemm(dtype, form, a, b, c);
  vector_for("gemm_add_row", "row", row, sizes.n, "c", c, dtype);
  return sizes;
}

namespace {

void codes_fit(const QuantisedMatrix& matrix) {
  constexpr std::string_view op = "dequantise";
  const Quantisation& quantisation = matrix.quantisation;
  COLLIE_ASSERT(quantisation.is_there(), "{}: a matrix {} that is not quantised", op, matrix.rows);
  of_shape(op, "codes", matrix.codes,
           Shape{matrix.rows, QuantisedMatrix::code_bytes(quantisation, matrix.columns)}, DType::u8);
  of_rank(op, "scales", matrix.scales, 2, quantisation.double_quant ? DType::u8 : DType::f32);
  COLLIE_ASSERT(matrix.scales.dim(0) == matrix.rows, "{}: scales {} of {} rows", op,
                matrix.scales.shape().to_string(), matrix.rows);
  if (quantisation.double_quant) of_rank(op, "nested", matrix.nested, 1, DType::f32);
  if (!quantisation.is_in_blocks()) return;
  COLLIE_ASSERT(quantisation.block_size > 0 && quantisation.block_size % 2 == 0, "{}: blocks of {}", op,
                quantisation.block_size);
  of_shape(op, "places", matrix.places, Shape{matrix.rows, 2}, DType::i32);
  for (const Tensor* x : {&matrix.codes, &matrix.scales, &matrix.places}) contiguous(op, "a part", *x);
}

}  // namespace

void dequantise(DType dtype, const QuantisedMatrix& matrix, int64_t first_row, int64_t first_column,
                const Tensor& tile) {
  codes_fit(matrix);
  of_rank("dequantise", "tile", tile, 2, dtype);
  COLLIE_ASSERT(first_row >= 0 && first_row + tile.dim(0) <= matrix.rows && first_column >= 0 &&
                    first_column + tile.dim(1) <= matrix.columns,
                "dequantise: tile {} from row {} and column {} of [{}, {}]", tile.shape().to_string(),
                first_row, first_column, matrix.rows, matrix.columns);
}

void embedding(DType dtype, const Tensor& table, std::span<const int32_t> ids, const Tensor& out) {
  of_either_dtype("embedding", "table", table, dtype);  // its gradient may have the accumulation dtype
  of_rank("embedding", "table", table, 2, table.dtype());
  of_rank("embedding", "out", out, 2, dtype);
  COLLIE_ASSERT(table.dim(1) == out.dim(1), "embedding: table {} and out {} differ in width",
                table.shape().to_string(), out.shape().to_string());
  host_values("embedding", "ids", ids.size(), out);
  for (size_t i = 0; i < ids.size(); ++i)
    COLLIE_ASSERT(ids[i] == absent_id || (ids[i] >= 0 && ids[i] < table.dim(0)),
                  "embedding: id {} at token {} for a table of shape {}", ids[i], i,
                  table.shape().to_string());
}

void rms_norm(DType dtype, const Tensor& x, const Tensor& weight, const Tensor& y,
              const Tensor& inverse_rms) {
  of_rank("rms_norm", "x", x, 2, dtype);
  vector_for("rms_norm", "weight", weight, x.dim(1), "x", x, dtype);
  like("rms_norm", "y", y, "x", x, dtype);
  vector_for("rms_norm", "inverse_rms", inverse_rms, x.dim(0), "x", x, accumulation_dtype(dtype));
}

void rms_norm_backward_input(DType dtype, const Tensor& dy, const Tensor& x, const Tensor& weight,
                             const Tensor& inverse_rms, const Tensor& d_residual, const Tensor& dx) {
  constexpr std::string_view op = "rms_norm_backward_input";
  of_rank(op, "x", x, 2, dtype);
  like(op, "dy", dy, "x", x, dtype);
  vector_for(op, "weight", weight, x.dim(1), "x", x, dtype);
  vector_for(op, "inverse_rms", inverse_rms, x.dim(0), "x", x, accumulation_dtype(dtype));
  if (d_residual.defined()) like(op, "d_residual", d_residual, "x", x, dtype);
  like(op, "dx", dx, "x", x, dtype);
}

void add_rms_norm(DType dtype, const Tensor& x, const Tensor& residual, const Tensor& weight,
                  const Tensor& sum, const Tensor& y, const Tensor& inverse_rms) {
  like("add_rms_norm", "residual", residual, "x", x, dtype);
  like("add_rms_norm", "sum", sum, "x", x, dtype);
  rms_norm(dtype, x, weight, y, inverse_rms);
}

void rms_norm_backward_weight(DType dtype, const Tensor& dy, const Tensor& x, const Tensor& inverse_rms,
                              const Tensor& d_weight) {
  constexpr std::string_view op = "rms_norm_backward_weight";
  of_rank(op, "x", x, 2, dtype);
  like(op, "dy", dy, "x", x, dtype);
  vector_for(op, "inverse_rms", inverse_rms, x.dim(0), "x", x, accumulation_dtype(dtype));
  of_either_dtype(op, "d_weight", d_weight, dtype);
  vector_for(op, "d_weight", d_weight, x.dim(1), "x", x, d_weight.dtype());
}

namespace {

// Of a LayerNorm of x: the mean and the inverse deviation of each row.
void statistics_of_rows(std::string_view operation, const Tensor& statistics, const Tensor& x, DType dtype) {
  of_shape(operation, "statistics", statistics, Shape{x.dim(0), 2}, accumulation_dtype(dtype));
  contiguous(operation, "statistics", statistics);
}

}  // namespace

void layer_norm(DType dtype, const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& y,
                const Tensor& statistics) {
  constexpr std::string_view op = "layer_norm";
  of_rank(op, "x", x, 2, dtype);
  vector_for(op, "weight", weight, x.dim(1), "x", x, dtype);
  if (bias.defined()) vector_for(op, "bias", bias, x.dim(1), "x", x, dtype);
  like(op, "y", y, "x", x, dtype);
  statistics_of_rows(op, statistics, x, dtype);
}

void add_layer_norm(DType dtype, const Tensor& x, const Tensor& residual, const Tensor& weight,
                    const Tensor& bias, const Tensor& sum, const Tensor& y, const Tensor& statistics) {
  like("add_layer_norm", "residual", residual, "x", x, dtype);
  like("add_layer_norm", "sum", sum, "x", x, dtype);
  layer_norm(dtype, x, weight, bias, y, statistics);
}

void layer_norm_backward_input(DType dtype, const Tensor& dy, const Tensor& x, const Tensor& weight,
                               const Tensor& statistics, const Tensor& d_residual, const Tensor& dx) {
  constexpr std::string_view op = "layer_norm_backward_input";
  of_rank(op, "x", x, 2, dtype);
  like(op, "dy", dy, "x", x, dtype);
  vector_for(op, "weight", weight, x.dim(1), "x", x, dtype);
  statistics_of_rows(op, statistics, x, dtype);
  if (d_residual.defined()) like(op, "d_residual", d_residual, "x", x, dtype);
  like(op, "dx", dx, "x", x, dtype);
}

void layer_norm_backward_weight(DType dtype, const Tensor& dy, const Tensor& x, const Tensor& statistics,
                                const Tensor& d_weight) {
  constexpr std::string_view op = "layer_norm_backward_weight";
  of_rank(op, "x", x, 2, dtype);
  like(op, "dy", dy, "x", x, dtype);
  statistics_of_rows(op, statistics, x, dtype);
  of_either_dtype(op, "d_weight", d_weight, dtype);
  vector_for(op, "d_weight", d_weight, x.dim(1), "x", x, d_weight.dtype());
}

void rope(DType dtype, const Tensor& x, const Tensor& cosines, const Tensor& sines,
          std::span<const int32_t> positions) {
  of_rank("rope", "x", x, 3, dtype);
  of_rank("rope", "cosines", cosines, 2, accumulation_dtype(dtype));
  like("rope", "sines", sines, "cosines", cosines, accumulation_dtype(dtype));
  COLLIE_ASSERT(x.dim(2) >= 2 * cosines.dim(1),
                "rope: x {} does not fit cosines {}: head_dim must be twice {} at least",
                x.shape().to_string(), cosines.shape().to_string(), cosines.dim(1));
  host_values("rope", "positions", positions.size(), x);
  for (size_t i = 0; i < positions.size(); ++i)
    COLLIE_ASSERT(positions[i] >= 0 && positions[i] < cosines.dim(0),
                  "rope: position {} of token {} for cosines of shape {}", positions[i], i,
                  cosines.shape().to_string());
}

AttentionSizes attention(DType dtype, const Tensor& q, const Tensor& k, const Tensor& v,
                         const AttentionSpans& spans, const AttentionScores& scores, const Tensor& out,
                         const Tensor& log_sum_exp) {
  of_rank("attention", "q", q, 3, dtype);
  of_rank("attention", "k", k, 3, dtype);
  like("attention", "v", v, "k", k, dtype);
  COLLIE_ASSERT(q.dim(2) == k.dim(2), "attention: q {} and k {} differ in head_dim", q.shape().to_string(),
                k.shape().to_string());
  COLLIE_ASSERT(k.dim(1) > 0 && q.dim(1) % k.dim(1) == 0,
                "attention: the heads of q {} are no multiple of those of k {}", q.shape().to_string(),
                k.shape().to_string());
  like("attention", "out", out, "q", q, dtype);
  of_shape("attention", "log_sum_exp", log_sum_exp, Shape{q.dim(0), q.dim(1)}, accumulation_dtype(dtype));
  contiguous("attention", "log_sum_exp", log_sum_exp);
  spans_fit(spans, q, k);
  scores_fit(scores, spans, q);
  return {q.dim(0), k.dim(0), q.dim(1),
          k.dim(1), q.dim(2), static_cast<int64_t>(spans.query_starts.size()) - 1};
}

void attention_gradients(DType dtype, const Tensor& q, const Tensor& k, const Tensor& d_out, const Tensor& dq,
                         const Tensor& dk, const Tensor& dv) {
  like("attention_backward", "d_out", d_out, "q", q, dtype);
  like("attention_backward", "dq", dq, "q", q, dtype);
  like("attention_backward", "dk", dk, "k", k, dtype);
  like("attention_backward", "dv", dv, "k", k, dtype);
}

void merge_attention(DType dtype, const Tensor& out, const Tensor& log_sum_exp, const Tensor& part,
                     const Tensor& part_log_sum_exp) {
  constexpr std::string_view op = "merge_attention";
  of_rank(op, "out", out, 3, dtype);
  like(op, "part", part, "out", out, dtype);
  const Shape sums{out.dim(0), out.dim(1)};
  of_shape(op, "log_sum_exp", log_sum_exp, sums, accumulation_dtype(dtype));
  of_shape(op, "part_log_sum_exp", part_log_sum_exp, sums, accumulation_dtype(dtype));
  contiguous(op, "log_sum_exp", log_sum_exp);
  contiguous(op, "part_log_sum_exp", part_log_sum_exp);
}

void gated(DType dtype, const Tensor& gate, const Tensor& up, const Tensor& out) {
  of_rank("gated", "gate", gate, 2, dtype);
  like("gated", "up", up, "gate", gate, dtype);
  like("gated", "out", out, "gate", gate, dtype);
}

void gated_backward(DType dtype, const Tensor& gate, const Tensor& up, const Tensor& d_out,
                    const Tensor& d_gate, const Tensor& d_up) {
  constexpr std::string_view op = "gated_backward";
  of_rank(op, "gate", gate, 2, dtype);
  like(op, "up", up, "gate", gate, dtype);
  like(op, "d_out", d_out, "gate", gate, dtype);
  like(op, "d_gate", d_gate, "gate", gate, dtype);
  like(op, "d_up", d_up, "gate", gate, dtype);
}

void activate(DType dtype, const Tensor& x, const Tensor& out) {
  of_rank("activate", "x", x, 2, dtype);
  like("activate", "out", out, "x", x, dtype);
}

void activate_backward(DType dtype, const Tensor& x, const Tensor& d_out, const Tensor& dx) {
  constexpr std::string_view op = "activate_backward";
  of_rank(op, "x", x, 2, dtype);
  like(op, "d_out", d_out, "x", x, dtype);
  like(op, "dx", dx, "x", x, dtype);
}

void dropout(DType dtype, const Tensor& x, double rate, std::span<const uint64_t> rows, int64_t first_column,
             const Tensor& out) {
  of_rank("dropout", "x", x, 2, dtype);
  COLLIE_ASSERT(rate >= 0 && rate <= 1, "dropout: a rate of {}, must be from 0 to 1", rate);
  COLLIE_ASSERT(first_column >= 0, "dropout: a first column of {}, must be at least 0", first_column);
  host_values("dropout", "rows", rows.size(), x);
  like("dropout", "out", out, "x", x, dtype);
}

void cross_entropy(DType dtype, const Tensor& logits, std::span<const int32_t> labels,
                   const Tensor& loss_sum) {
  of_rank("cross_entropy", "logits", logits, 2, dtype);
  host_values("cross_entropy", "labels", labels.size(), logits);
  for (size_t i = 0; i < labels.size(); ++i)
    COLLIE_ASSERT(labels[i] == ignored_label || (labels[i] >= 0 && labels[i] < logits.dim(1)),
                  "cross_entropy: label {} at token {} for logits of shape {}", labels[i], i,
                  logits.shape().to_string());
  doubles("cross_entropy", "loss_sum", loss_sum, 1);
}

void gumbel_max(DType dtype, const Tensor& logits, int64_t first, std::span<const uint64_t> rows,
                const Tensor& best) {
  of_rank("gumbel_max", "logits", logits, 2, dtype);
  host_values("gumbel_max", "rows", rows.size(), logits);
  COLLIE_ASSERT(first >= 0, "gumbel_max: a shard of logits {} that starts at id {}",
                logits.shape().to_string(), first);
  of_shape("gumbel_max", "best", best, Shape{logits.dim(0), 2}, DType::f64);
  contiguous("gumbel_max", "best", best);
}

void softmax_statistics(DType dtype, const Tensor& logits, std::span<const int32_t> labels, int64_t first,
                        const Tensor& statistics) {
  shard_of_logits("softmax_statistics", dtype, logits, labels, first);
  of_shape("softmax_statistics", "statistics", statistics, Shape{logits.dim(0), 3}, DType::f64);
  contiguous("softmax_statistics", "statistics", statistics);
}

void cross_entropy_from_statistics(DType dtype, const Tensor& logits, std::span<const int32_t> labels,
                                   int64_t first, const Tensor& statistics, const Tensor& loss_sum) {
  constexpr std::string_view op = "cross_entropy_from_statistics";
  shard_of_logits(op, dtype, logits, labels, first);
  of_rank(op, "statistics", statistics, 3, DType::f64);
  COLLIE_ASSERT(statistics.dim(0) >= 1, "{}: statistics {} are of no shard", op,
                statistics.shape().to_string());
  of_shape(op, "statistics", statistics, Shape{statistics.dim(0), logits.dim(0), 3}, DType::f64);
  contiguous(op, "statistics", statistics);
  doubles(op, "loss_sum", loss_sum, 1);
}

}  // namespace collie::check
