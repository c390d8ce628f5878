#include "kernels/check_parts.hpp"

#include <cmath>

#include "base/error.hpp"
#include "kernels/tree_sum.hpp"

namespace collie::check::parts {

void of_dtype(std::string_view operation, std::string_view what, const Tensor& x, DType dtype) {
  COLLIE_ASSERT(x.defined(), "{}: {} is an empty tensor", operation, what);
  COLLIE_ASSERT(x.dtype() == dtype, "{}: {} {} is {}, must be {}", operation, what, x.shape().to_string(),
                name(x.dtype()), name(dtype));
}

DType accumulation_dtype(DType dtype) {
  return dtype == DType::bf16 ? DType::f32 : dtype;
}

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
  COLLIE_ASSERT(spans.past_keys == 0 || (spans.past_keys > 0 && spans.past_keys < spans.window),
                "attention: queries {} tokens past the keys with a window of {}; must be fewer, so that the "
                "last query sees a key",
                spans.past_keys, spans.window);
  for (size_t i = 0; i + 1 < spans.query_starts.size(); ++i) {
    const int32_t queries = spans.query_starts[i + 1] - spans.query_starts[i];
    const int32_t keys = spans.key_starts[i + 1] - spans.key_starts[i];
    COLLIE_ASSERT(queries >= 0 && keys >= 0, "attention: document {} has {} queries and {} keys", i, queries,
                  keys);
    COLLIE_ASSERT(!spans.causal || keys + spans.past_keys >= queries,
                  "attention: document {} has {} queries and {} keys, the last query {} tokens past the last "
                  "key; no query may stand before the first key",
                  i, queries, keys, spans.past_keys);
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

void doubles(std::string_view operation, std::string_view what, const Tensor& x) {
  of_rank(operation, what, x, 1, DType::f64);
  contiguous(operation, what, x);
}
void doubles(std::string_view operation, std::string_view what, const Tensor& x, int64_t count) {
  of_shape(operation, what, x, Shape{count}, DType::f64);
  contiguous(operation, what, x);
}

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

}  // namespace collie::check::parts
