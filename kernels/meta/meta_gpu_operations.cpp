#include "kernels/meta/meta_gpu_operations.hpp"

#include "kernels/checks.hpp"
#include "kernels/cuda/attention/kernels.hpp"
#include "kernels/cuda/memory/workspaces.hpp"
#include "kernels/cuda/ops/dropout.hpp"
#include "kernels/cuda/ops/embedding.hpp"
#include "kernels/cuda/ops/ordered_sums.hpp"

namespace collie {

namespace {

cuda::Element element_of(DType dtype) {
  return dtype == DType::bf16 ? cuda::Element::bf16 : cuda::Element::f32;
}

// Host copies that move nothing.
class NoCopies final : public HostCopies {
 public:
  std::shared_ptr<Copy> begin_out(const std::vector<Tensor>&) override { return std::make_shared<Copy>(); }
  void begin_back(Copy&, const std::vector<Tensor>&) override {}
  void wait(Copy&) override {}
};

}  // namespace

MetaGpuOperations::MetaGpuOperations(DType dtype, std::shared_ptr<MemoryAccount> account, OnWork on_work)
    : MetaOperations(1, std::move(account), std::move(on_work), dtype),
      arrays_(
          [this](std::span<const int32_t> values) {
            return empty({static_cast<int64_t>(values.size())}, DType::i32, Category::workspace);
          },
          cuda::most_index_arrays),
      matmul_workspace_(floats(cuda::matmul_workspace_bytes / 4)),
      offloader_(*this, std::make_unique<NoCopies>()) {}

int64_t MetaGpuOperations::head_chunk(int64_t vocab) const {
  return cuda::head_chunk(vocab);
}

void MetaGpuOperations::hold_dense_copy(const Tensor& x) {
  if (!x.contiguous()) empty(x.shape(), x.dtype(), Category::workspace);
}

void MetaGpuOperations::upload(std::span<const float> values, Tensor& x) {
  MetaOperations::upload(values, x);
  hold_dense_copy(x);
}
void MetaGpuOperations::download(const Tensor& x, std::span<float> values) {
  MetaOperations::download(x, values);
  hold_dense_copy(x);
}
Tensor MetaGpuOperations::to_host(const Tensor& x, Category category) {
  hold_dense_copy(x);
  return Tensor::meta(x.shape(), x.dtype(), host_account_, category);
}
void MetaGpuOperations::from_host(const Tensor& values, Tensor& x) {
  MetaOperations::from_host(values, x);
  hold_dense_copy(x);
}

void MetaGpuOperations::column_sum(const Tensor& x, Tensor& out, bool accumulate) {
  MetaOperations::column_sum(x, out, accumulate);
  floats(cuda::column_sum_workspace(x.dim(0), x.dim(1)));
}

void MetaGpuOperations::column_dots(const Tensor& a, const Tensor& b, Tensor& out, bool accumulate) {
  MetaOperations::column_dots(a, b, out, accumulate);
  floats(cuda::column_sum_workspace(a.dim(0), a.dim(1)));
}

void MetaGpuOperations::embedding(const Tensor& table, std::span<const int32_t> ids, Tensor& out) {
  MetaOperations::embedding(table, ids, out);
  if (!ids.empty()) arrays_.find(ids);
}
void MetaGpuOperations::embedding_backward(std::span<const int32_t> ids, const Tensor& d_out, Tensor& d_table,
                                           bool accumulate) {
  MetaOperations::embedding_backward(ids, d_out, d_table, accumulate);
  const cuda::TokensById tokens = cuda::tokens_by_id(ids);
  if (tokens.ids > 0) arrays_.find(tokens.array);
}

void MetaGpuOperations::rms_norm_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& inverse_rms,
                                                 Tensor& d_weight, bool accumulate) {
  MetaOperations::rms_norm_backward_weight(dy, x, inverse_rms, d_weight, accumulate);
  floats(cuda::rms_norm_backward_weight_workspace(x.dim(0), x.dim(1)));
}

void MetaGpuOperations::layer_norm_backward_weight(const Tensor& dy, const Tensor& x,
                                                   const Tensor& statistics, Tensor& d_weight,
                                                   bool accumulate) {
  MetaOperations::layer_norm_backward_weight(dy, x, statistics, d_weight, accumulate);
  floats(cuda::column_sum_workspace(x.dim(0), x.dim(1)));
}

void MetaGpuOperations::rope(Tensor& x, const Tensor& cosines, const Tensor& sines,
                             std::span<const int32_t> positions, bool inverse, RotaryPairs pairs) {
  MetaOperations::rope(x, cosines, sines, positions, inverse, pairs);
  if (!positions.empty()) arrays_.find(positions);
}

// Holds what CudaOperations::attention_views() uploads.
void MetaGpuOperations::hold_mask(const AttentionSpans& spans, const AttentionScores& scores) {
  if (scores.dropout == 0 || scores.query_rows.empty()) return;
  arrays_.find(cuda::words_of_rows(scores.query_rows));
  arrays_.find(cuda::key_numbers(spans, scores.first_keys));
}

// Uses the cut of kernels/cuda/attention/attention.cpp.
void MetaGpuOperations::attention(const Tensor& q, const Tensor& k, const Tensor& v,
                                  const AttentionSpans& spans, const AttentionScores& scores, Tensor& out,
                                  Tensor& log_sum_exp) {
  const auto sizes = check::attention(dtype(), q, k, v, spans, scores, out, log_sum_exp);
  hold_mask(spans, scores);
  const auto tiles = cuda::tiles_of_queries(cuda::documents_of(spans),
                                            cuda::forward_queries(element_of(dtype()), sizes.head_dim));
  if (sizes.heads > 0 && sizes.head_dim > 0 && !tiles.empty()) arrays_.find(cuda::words_of(tiles));
}
void MetaGpuOperations::attention_backward(const Tensor& q, const Tensor& k, const Tensor& v,
                                           const AttentionSpans& spans, const AttentionScores& scores,
                                           const Tensor& out, const Tensor& log_sum_exp, const Tensor& d_out,
                                           Tensor& dq, Tensor& dk, Tensor& dv) {
  const auto sizes = check::attention(dtype(), q, k, v, spans, scores, out, log_sum_exp);
  check::attention_gradients(dtype(), q, k, d_out, dq, dk, dv);
  hold_mask(spans, scores);
  const Tensor deltas = floats(cuda::attention_backward_workspace(sizes.queries, sizes.heads));
  if (sizes.heads == 0 || sizes.head_dim == 0) return;
  const int64_t rows = cuda::backward_rows(element_of(dtype()), sizes.head_dim);
  for (const auto& tiles : {cuda::tiles_of_queries(cuda::documents_of(spans), rows),
                            cuda::tiles_of_keys(cuda::documents_of(spans), rows)})
    if (!tiles.empty()) arrays_.find(cuda::words_of(tiles));
}

void MetaGpuOperations::dropout(const Tensor& x, double rate, uint64_t key, std::span<const uint64_t> rows,
                                int64_t first_column, Tensor& out) {
  MetaOperations::dropout(x, rate, key, rows, first_column, out);
  if (!rows.empty()) arrays_.find(cuda::words_of_rows(rows));
}

void MetaGpuOperations::cross_entropy(Tensor& logits, std::span<const int32_t> labels, double gradient_scale,
                                      Tensor& loss_sum) {
  MetaOperations::cross_entropy(logits, labels, gradient_scale, loss_sum);
  hold_losses(labels);
}
void MetaGpuOperations::softmax_statistics(const Tensor& logits, std::span<const int32_t> labels,
                                           int64_t first, Tensor& statistics) {
  MetaOperations::softmax_statistics(logits, labels, first, statistics);
  if (!labels.empty()) arrays_.find(labels);
}
void MetaGpuOperations::cross_entropy_from_statistics(Tensor& logits, std::span<const int32_t> labels,
                                                      int64_t first, const Tensor& statistics,
                                                      double gradient_scale, Tensor& loss_sum) {
  MetaOperations::cross_entropy_from_statistics(logits, labels, first, statistics, gradient_scale, loss_sum);
  hold_losses(labels);
}
void MetaGpuOperations::gumbel_max(const Tensor& logits, int64_t first, uint64_t key,
                                   std::span<const uint64_t> rows, Tensor& best) {
  MetaOperations::gumbel_max(logits, first, key, rows, best);
  if (!rows.empty()) arrays_.find(cuda::words_of_rows(rows));
}
void MetaGpuOperations::ordered_sums(const Tensor& values, const OrderedRuns& runs, Tensor& sums) {
  MetaOperations::ordered_sums(values, runs, sums);
  if (sums.numel() > 0) arrays_.find(cuda::words_of({runs.starts, runs.firsts, runs.counts}));
}
void MetaGpuOperations::tree_sums(const Tensor& values, const TreeRuns& runs, Tensor& sums) {
  MetaOperations::tree_sums(values, runs, sums);
  if (sums.numel() > 0) arrays_.find(cuda::words_of({runs.starts, runs.firsts, runs.counts, runs.heights}));
}

// Holds one loss per token.
void MetaGpuOperations::hold_losses(std::span<const int32_t> labels) {
  if (labels.empty()) return;
  const Tensor losses = doubles(static_cast<int64_t>(labels.size()));
  arrays_.find(labels);
}

}  // namespace collie
