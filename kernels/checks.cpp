#include "kernels/checks.hpp"

#include <cmath>
#include <string_view>

#include "base/divide.hpp"
#include "kernels/rules/scalar_formulas.hpp"
#include "kernels/tree_sum.hpp"

namespace collie::check {

namespace {

void of_dtype(std::string_view operation, std::string_view what, const Tensor& x, DType dtype) {
  COLLIE_ASSERT(x.defined(), "{}: {} is an empty tensor", operation, what);
  COLLIE_ASSERT(x.dtype() == dtype, "{}: {} {} is {}, must be {}", operation, what, x.shape().to_string(),
                name(x.dtype()), name(dtype));
}

DType accumulation_dtype(DType dtype) {
  return dtype == DType::bf16 ? DType::f32 : dtype;
}

// x has dtype or its accumulation dtype.
void of_either_dtype(std::string_view operation, std::string_view what, const Tensor& x, DType dtype) {
  COLLIE_ASSERT(x.defined(), "{}: {} is an empty tensor", operation, what);
  COLLIE_ASSERT(x.dtype() == dtype || x.dtype() == accumulation_dtype(dtype),
                "{}: {} {} is {}, must be {} or {}", operation, what, x.shape().to_string(), name(x.dtype()),
                name(dtype), name(accumulation_dtype(dtype)));
}

void of_shape(std::string_view operation, std::string_view what, const Tensor& x, const Shape& shape,
              DType dtype) {
  of_dtype(operation, what, x, dtype);
  COLLIE_ASSERT(x.shape() == shape, "{}: {} has shape {}, must be {}", operation, what, x.shape().to_string(),
                shape.to_string());
}

// x has the same shape as another operand, which the message names.
void like(std::string_view operation, std::string_view what, const Tensor& x, std::string_view other_what,
          const Tensor& other, DType dtype) {
  of_dtype(operation, what, x, dtype);
  COLLIE_ASSERT(x.shape() == other.shape(), "{}: {} has shape {}, but {} has shape {}", operation, what,
                x.shape().to_string(), other_what, other.shape().to_string());
}

void of_rank(std::string_view operation, std::string_view what, const Tensor& x, int rank, DType dtype) {
  of_dtype(operation, what, x, dtype);
  COLLIE_ASSERT(x.shape().rank() == rank, "{}: {} has shape {}, must have {} dimensions", operation, what,
                x.shape().to_string(), rank);
}

void contiguous(std::string_view operation, std::string_view what, const Tensor& x) {
  COLLIE_ASSERT(x.contiguous(), "{}: {} {} has rows {} elements apart, must be contiguous", operation, what,
                x.shape().to_string(), x.row_stride());
}

// x is a contiguous vector of `size`, which is the size of `other`.
void vector_for(std::string_view operation, std::string_view what, const Tensor& x, int64_t size,
                std::string_view other_what, const Tensor& other, DType dtype) {
  of_dtype(operation, what, x, dtype);
  COLLIE_ASSERT(x.shape() == Shape{size}, "{}: {} has shape {}, must be [{}] to fit {} {}", operation, what,
                x.shape().to_string(), size, other_what, other.shape().to_string());
  contiguous(operation, what, x);
}

void host_values(std::string_view operation, std::string_view what, size_t count, const Tensor& x) {
  COLLIE_ASSERT(static_cast<int64_t>(count) == x.dim(0), "{}: {} {} for a tensor of shape {}", operation,
                count, what, x.shape().to_string());
}

void starts(std::string_view what, const std::vector<int32_t>& offsets, int64_t tokens, const Tensor& x) {
  COLLIE_ASSERT(!offsets.empty() && offsets.front() == 0 && offsets.back() == tokens,
                "attention: {} must run from 0 to {}, the tokens of a tensor of shape {}", what, tokens,
                x.shape().to_string());
}

void spans_fit(const AttentionSpans& spans, const Tensor& q, const Tensor& k) {
  starts("query_starts", spans.query_starts, q.dim(0), q);
  starts("key_starts", spans.key_starts, k.dim(0), k);
  COLLIE_ASSERT(spans.query_starts.size() == spans.key_starts.size(),
                "attention: {} query_starts but {} key_starts", spans.query_starts.size(),
                spans.key_starts.size());
  COLLIE_ASSERT(spans.more_keys.empty() || spans.more_keys.size() + 1 == spans.key_starts.size(),
                "attention: more_keys of {} documents, there are {}", spans.more_keys.size(),
                spans.key_starts.size() - 1);
  COLLIE_ASSERT(spans.window == 0 || (spans.window > 0 && spans.causal),
                "attention: a window of {} keys, {}; must be 0, or positive and causal", spans.window,
                spans.causal ? "causal" : "not causal");
  for (size_t i = 0; i + 1 < spans.query_starts.size(); ++i) {
    const int32_t queries = spans.query_starts[i + 1] - spans.query_starts[i];
    const int32_t keys = spans.key_starts[i + 1] - spans.key_starts[i];
    COLLIE_ASSERT(queries >= 0 && keys >= 0, "attention: document {} has {} queries and {} keys", i, queries,
                  keys);
    COLLIE_ASSERT(!spans.causal || keys >= queries,
                  "attention: document {} has {} queries and {} keys; a query's own key must be there", i,
                  queries, keys);
    COLLIE_ASSERT(keys > 0 || queries == 0,
                  "attention: document {} has {} queries and no key; each must see one", i, queries);
  }
}

void scores_fit(const AttentionScores& scores, const AttentionSpans& spans, const Tensor& q) {
  COLLIE_ASSERT(scores.soft_cap >= 0 && std::isfinite(scores.soft_cap),
                "attention: a soft cap of {}, must be 0 or positive", scores.soft_cap);
  COLLIE_ASSERT(scores.dropout >= 0 && scores.dropout <= 1, "attention: a dropout of {}, must be from 0 to 1",
                scores.dropout);
  if (scores.dropout == 0) return;
  COLLIE_ASSERT(static_cast<int64_t>(scores.query_rows.size()) == q.dim(0),
                "attention: dropout with {} query_rows for a tensor of shape {}", scores.query_rows.size(),
                q.shape().to_string());
  COLLIE_ASSERT(scores.first_keys.size() + 1 == spans.key_starts.size(),
                "attention: dropout with {} first_keys, there are {} documents", scores.first_keys.size(),
                spans.key_starts.size() - 1);
  for (const uint64_t first : scores.first_keys)
    COLLIE_ASSERT(first < uint64_t{1} << 31, "attention: dropout with a first key of {}, must be below 2^31",
                  first);
  COLLIE_ASSERT(scores.first_head >= 0, "attention: the first head is {}", scores.first_head);
}

// x has doubles in one dimension.
void doubles(std::string_view operation, std::string_view what, const Tensor& x) {
  of_rank(operation, what, x, 1, DType::f64);
  contiguous(operation, what, x);
}
void doubles(std::string_view operation, std::string_view what, const Tensor& x, int64_t count) {
  of_shape(operation, what, x, Shape{count}, DType::f64);
  contiguous(operation, what, x);
}

// `starts` [sums + 1] delimits runs of the values.
void runs_fit(std::string_view op, const std::vector<int32_t>& starts, const std::vector<int32_t>& firsts,
              const std::vector<int32_t>& counts, const Tensor& values, const Tensor& sums) {
  const auto count = static_cast<int64_t>(firsts.size());
  COLLIE_ASSERT(counts.size() == firsts.size(), "{}: {} firsts but {} counts", op, firsts.size(),
                counts.size());
  COLLIE_ASSERT(static_cast<int64_t>(starts.size()) == sums.dim(0) + 1,
                "{}: {} starts for sums of shape {}, must be {}", op, starts.size(), sums.shape().to_string(),
                sums.dim(0) + 1);
  COLLIE_ASSERT(starts.front() == 0 && starts.back() == count,
                "{}: starts go from {} to {}, must go from 0 to {}, the number of runs", op, starts.front(),
                starts.back(), count);
  for (size_t i = 0; i + 1 < starts.size(); ++i)
    COLLIE_ASSERT(starts[i] <= starts[i + 1], "{}: start {} is {}, but start {} is {}", op, i, starts[i],
                  i + 1, starts[i + 1]);
  for (size_t i = 0; i < firsts.size(); ++i) {
    const int64_t first = firsts[i], end = first + counts[i];
    COLLIE_ASSERT(first >= 0 && counts[i] >= 0 && end <= values.dim(0),
                  "{}: run {} is of {} values from {} on, of values of shape {}", op, i, counts[i], first,
                  values.shape().to_string());
  }
}

// Adds each sum's nodes as they come. No tree that is left may be higher than the one before.
void heights_fit(const TreeRuns& runs) {
  COLLIE_ASSERT(runs.heights.size() == runs.firsts.size(), "tree_sums: {} firsts but {} heights",
                runs.firsts.size(), runs.heights.size());
  for (size_t sum = 0; sum + 1 < runs.starts.size(); ++sum) {
    std::vector<int32_t> left;
    for (auto node = static_cast<size_t>(runs.starts[sum]); node < static_cast<size_t>(runs.starts[sum + 1]);
         ++node) {
      int32_t height = runs.heights[node];
      COLLIE_ASSERT(height >= 0 && height < most_tree_height, "tree_sums: node {} has height {}", node,
                    height);
      for (; !left.empty() && left.back() == height; left.pop_back()) ++height;
      COLLIE_ASSERT(left.empty() || left.back() > height,
                    "tree_sums: sum {}: node {}, with what it is added to of height {}, stands right of one "
                    "of height {}",
                    sum, node, height, left.back());
      left.push_back(height);
    }
  }
}

// The size of the vocabulary is not known here.
void shard_of_logits(std::string_view operation, DType dtype, const Tensor& logits,
                     std::span<const int32_t> labels, int64_t first) {
  of_rank(operation, "logits", logits, 2, dtype);
  host_values(operation, "labels", labels.size(), logits);
  COLLIE_ASSERT(first >= 0, "{}: a shard of logits {} that starts at id {}", operation,
                logits.shape().to_string(), first);
  for (size_t i = 0; i < labels.size(); ++i)
    COLLIE_ASSERT(labels[i] == ignored_label || labels[i] >= 0, "{}: label {} at token {}", operation,
                  labels[i], i);
}

}  // namespace

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

void block_sums_of_squares(DType dtype, const Tensor& x, const Tensor& sums) {
  of_either_dtype("block_sums_of_squares", "x", x, dtype);
  contiguous("block_sums_of_squares", "x", x);
  vector_for("block_sums_of_squares", "sums", sums, divide_up(x.numel(), reduction_block), "x", x,
             DType::f64);
}

void ordered_sums(const Tensor& values, const OrderedRuns& runs, const Tensor& sums) {
  doubles("ordered_sums", "values", values);
  doubles("ordered_sums", "sums", sums);
  runs_fit("ordered_sums", runs.starts, runs.firsts, runs.counts, values, sums);
}

void tree_sums(const Tensor& values, const TreeRuns& runs, const Tensor& sums) {
  doubles("tree_sums", "values", values);
  doubles("tree_sums", "sums", sums);
  runs_fit("tree_sums", runs.starts, runs.firsts, runs.counts, values, sums);
  heights_fit(runs);
}

void keep_if_finite(const Tensor& factor, const Tensor& value, const Tensor& kept) {
  doubles("keep_if_finite", "factor", factor, 1);
  doubles("keep_if_finite", "value", value, 1);
  doubles("keep_if_finite", "kept", kept, 1);
}

void step_outcome(const Tensor& loss_sum, const Tensor& sum_of_squares, const Tensor& outcome) {
  doubles("step_outcome", "loss_sum", loss_sum, 1);
  doubles("step_outcome", "sum_of_squares", sum_of_squares, 1);
  doubles("step_outcome", "outcome", outcome, 3);
}

namespace {

// States are of one dtype, which may be bfloat16, but for the wide ones, which never are.
void check_states(DType dtype, const UpdateTensors& range, const FormulaProperties& formula) {
  const Tensor* narrow = nullptr;
  for (size_t i = 0; i < range.states.size(); ++i) {
    const Tensor& state = range.states[i];
    const bool wide = (formula.wide_states >> i & 1U) != 0;
    if (dtype != DType::f32 || wide || !state.defined() || state.dtype() != DType::bf16)
      of_either_dtype(formula.name, "a state", state, wide ? accumulation_dtype(dtype) : dtype);
    contiguous(formula.name, "a state", state);
    COLLIE_ASSERT(state.numel() == range.weight.numel(), "{}: a state has shape {}, but weight has shape {}",
                  formula.name, state.shape().to_string(), range.weight.shape().to_string());
    if (wide) continue;
    if (narrow == nullptr) narrow = &state;
    COLLIE_ASSERT(state.dtype() == narrow->dtype(), "{}: states are {} and {}", formula.name,
                  name(narrow->dtype()), name(state.dtype()));
  }
}

}  // namespace

void update(DType dtype, std::span<const UpdateTensors> ranges, const ElementwiseUpdate& step) {
  const FormulaProperties formula = formula_properties(step.formula);
  if (step.gradient_factor.defined()) doubles(formula.name, "gradient_factor", step.gradient_factor, 1);
  for (const UpdateTensors& range : ranges) {
    const auto fits = [&](std::string_view what, const Tensor& x) {
      of_either_dtype(formula.name, what, x, dtype);
      contiguous(formula.name, what, x);
      COLLIE_ASSERT(x.numel() == range.weight.numel(), "{}: {} has shape {}, but weight has shape {}",
                    formula.name, what, x.shape().to_string(), range.weight.shape().to_string());
    };
    fits("weight", range.weight);
    fits("gradient", range.gradient);
    COLLIE_ASSERT(range.states.size() == static_cast<size_t>(formula.states),
                  "{}: {} states, there must be {}", formula.name, range.states.size(), formula.states);
    check_states(dtype, range, formula);
    if (!range.rounded.defined()) continue;
    fits("rounded", range.rounded);
    of_dtype(formula.name, "rounded", range.rounded, dtype);
  }
}

void update_quantised(DType dtype, std::span<const QuantisedTensors> ranges, const ElementwiseUpdate& step) {
  constexpr std::string_view op = "update_quantised";
  COLLIE_ASSERT(step.formula == scalar::index_of<scalar::AdamW>,
                "{}: by the formula {}, there is AdamW's alone", op, formula_properties(step.formula).name);
  if (step.gradient_factor.defined()) doubles(op, "gradient_factor", step.gradient_factor, 1);
  for (const QuantisedTensors& range : ranges) {
    const auto fits = [&](std::string_view what, const Tensor& x) {
      of_either_dtype(op, what, x, dtype);
      contiguous(op, what, x);
      COLLIE_ASSERT(x.numel() == range.weight.numel(), "{}: {} has shape {}, but weight has shape {}", op,
                    what, x.shape().to_string(), range.weight.shape().to_string());
    };
    fits("weight", range.weight);
    fits("gradient", range.gradient);
    for (const Tensor& codes : range.codes) {
      of_shape(op, "codes", codes, Shape{range.weight.numel()}, DType::u8);
      contiguous(op, "codes", codes);
    }
    for (const Tensor& absmax : range.absmax) {
      of_shape(op, "absmax", absmax, Shape{divide_up(range.weight.numel(), quantisation_block)},
               accumulation_dtype(dtype));
      contiguous(op, "absmax", absmax);
    }
    if (!range.rounded.defined()) continue;
    fits("rounded", range.rounded);
    of_dtype(op, "rounded", range.rounded, dtype);
  }
}

namespace {

// A vector of lines is of any length; `first` to first + count must be in it.
void vector_of_lines(std::string_view op, std::string_view what, const Tensor& x, DType dtype) {
  of_rank(op, what, x, 1, dtype);
  contiguous(op, what, x);
}
void lines_fit(std::string_view op, std::string_view what, int64_t first, int64_t count,
               const Tensor& lines) {
  COLLIE_ASSERT(first >= -1 && (first == -1 || first + count <= lines.dim(0)),
                "{}: {} lines {} to {} of a vector of {}", op, what, first, first + count, lines.dim(0));
}

void tiles_fit(std::string_view op, DType dtype, std::span<const MatrixTile> tiles, const Tensor& factor,
               const Tensor& lines) {
  if (factor.defined()) doubles(op, "factor", factor, 1);
  for (const MatrixTile& tile : tiles) {
    of_either_dtype(op, "a tile", tile.values, dtype);
    of_rank(op, "a tile", tile.values, 2, tile.values.dtype());
    contiguous(op, "a tile", tile.values);
    lines_fit(op, "rows'", tile.row_line, tile.values.dim(0), lines);
    lines_fit(op, "columns'", tile.column_line, tile.values.dim(1), lines);
  }
}

void matrices_fit(std::string_view op, std::span<const FactoredMatrix> matrices, const Tensor* lines,
                  const Tensor& rows) {
  for (const FactoredMatrix& matrix : matrices) {
    if (lines != nullptr)
      lines_fit(op, "a matrix's", matrix.first_line, matrix.rows + matrix.columns, *lines);
    lines_fit(op, "a matrix's rows'", matrix.first_row, matrix.rows, rows);
  }
}

}  // namespace

void line_maxima(DType dtype, std::span<const MatrixTile> tiles, const Tensor& factor, const Tensor& maxima) {
  vector_of_lines("line_maxima", "maxima", maxima, accumulation_dtype(dtype));
  tiles_fit("line_maxima", dtype, tiles, factor, maxima);
}

void line_sums_of_squares(DType dtype, std::span<const MatrixTile> tiles, const Tensor& factor,
                          const Tensor& scales, const Tensor& bounds, const Tensor& sums) {
  constexpr std::string_view op = "line_sums_of_squares";
  doubles(op, "sums", sums);
  vector_for(op, "bounds", bounds, sums.dim(0), "sums", sums, accumulation_dtype(dtype));
  tiles_fit(op, dtype, tiles, factor, sums);
  if (scales.defined()) vector_of_lines(op, "scales", scales, accumulation_dtype(dtype));
  for (const MatrixTile& tile : tiles) {
    COLLIE_ASSERT(scales.defined() || (tile.row_scale == -1 && tile.column_scale == -1),
                  "{}: a tile has scales, but there are none", op);
    if (!scales.defined()) continue;
    lines_fit(op, "scales of rows,", tile.row_scale, tile.values.dim(0), scales);
    lines_fit(op, "scales of columns,", tile.column_scale, tile.values.dim(1), scales);
  }
}

void factored_moments(DType dtype, std::span<const FactoredMatrix> matrices, const Tensor& factor,
                      const Tensor& maxima, const Tensor& sums, const Tensor& scales, const Tensor& bounds) {
  constexpr std::string_view op = "factored_moments";
  const DType wide = accumulation_dtype(dtype);
  if (factor.defined()) doubles(op, "factor", factor, 1);
  doubles(op, "sums", sums);
  vector_for(op, "maxima", maxima, sums.dim(0), "sums", sums, wide);
  vector_for(op, "scales", scales, sums.dim(0), "sums", sums, wide);
  vector_of_lines(op, "bounds", bounds, wide);
  matrices_fit(op, matrices, &sums, bounds);
  for (const FactoredMatrix& matrix : matrices) {
    of_shape(op, "column_moments", matrix.column_moments, Shape{matrix.columns}, wide);
    COLLIE_ASSERT(matrix.row_moments.defined() || matrix.rows == 1, "{}: {} rows without moments", op,
                  matrix.rows);
    if (matrix.row_moments.defined())
      of_shape(op, "row_moments", matrix.row_moments, Shape{matrix.rows}, wide);
  }
}

void factored_rates(DType dtype, std::span<const FactoredMatrix> matrices, const Tensor& directions,
                    const Tensor& weights, const Tensor& rates) {
  constexpr std::string_view op = "factored_rates";
  doubles(op, "directions", directions);
  doubles(op, "weights", weights, directions.dim(0));
  of_shape(op, "rates", rates, Shape{static_cast<int64_t>(matrices.size()), 2}, accumulation_dtype(dtype));
  contiguous(op, "rates", rates);
  matrices_fit(op, matrices, nullptr, directions);
}

void factored_update(DType dtype, std::span<const FactoredTile> tiles, const FactoredStep& step,
                     const Tensor& factor, const Tensor& scales, const Tensor& rates) {
  constexpr std::string_view op = "factored_update";
  if (factor.defined()) doubles(op, "factor", factor, 1);
  vector_of_lines(op, "scales", scales, accumulation_dtype(dtype));
  of_rank(op, "rates", rates, 2, accumulation_dtype(dtype));
  for (const FactoredTile& tile : tiles) {
    const auto fits = [&](std::string_view what, const Tensor& x) {
      of_either_dtype(op, what, x, dtype);
      contiguous(op, what, x);
      like(op, what, x, "weight", tile.weight, x.dtype());
    };
    of_rank(op, "weight", tile.weight, 2, tile.weight.dtype());
    fits("weight", tile.weight);
    fits("gradient", tile.gradient);
    COLLIE_ASSERT(tile.momentum.defined() == (step.momentum != 0), "{}: {} of momentum {}", op,
                  tile.momentum.defined() ? "a state" : "no state", step.momentum);
    if (tile.momentum.defined()) {
      contiguous(op, "momentum", tile.momentum);
      if (dtype == DType::f64 || tile.momentum.dtype() != DType::bf16)
        of_either_dtype(op, "momentum", tile.momentum, dtype);
      like(op, "momentum", tile.momentum, "weight", tile.weight, tile.momentum.dtype());
    }
    lines_fit(op, "scales of rows,", tile.row_scale, tile.weight.dim(0), scales);
    lines_fit(op, "scales of columns,", tile.column_scale, tile.weight.dim(1), scales);
    COLLIE_ASSERT(tile.matrix >= 0 && tile.matrix < rates.dim(0), "{}: matrix {} of {}", op, tile.matrix,
                  rates.dim(0));
    if (!tile.rounded.defined()) continue;
    fits("rounded", tile.rounded);
    of_dtype(op, "rounded", tile.rounded, dtype);
  }
}

}  // namespace collie::check
