// Operations without memory and without arithmetic. They charge the account with what kernels/cuda takes on a
// GPU: its workspaces, and the arrays of whole numbers that it keeps there. Host memory is not in the
// account.
#pragma once

#include "kernels/cuda/memory/recent_arrays.hpp"
#include "kernels/meta/meta_operations.hpp"

namespace collie {

class MetaGpuOperations final : public MetaOperations {
 public:
  MetaGpuOperations(DType dtype, std::shared_ptr<MemoryAccount> account, OnWork on_work = {});

  int64_t head_chunk(int64_t vocab) const override;

  Tensor empty_on_host(const Shape& shape, DType dtype, Category category) override {
    return Tensor::meta(shape, dtype, host_account_, category);
  }
  std::unique_ptr<Offloaded> offload(std::vector<Tensor> tensors) override {
    return offloader_.offload(std::move(tensors));
  }
  void upload(std::span<const float> values, Tensor& x) override;
  void download(const Tensor& x, std::span<float> values) override;
  Tensor to_host(const Tensor& x, Category category) override;
  void from_host(const Tensor& values, Tensor& x) override;
  void column_sum(const Tensor& x, Tensor& out, bool accumulate) override;
  void column_dots(const Tensor& a, const Tensor& b, Tensor& out, bool accumulate) override;

  void embedding(const Tensor& table, std::span<const int32_t> ids, Tensor& out) override;
  void embedding_backward(std::span<const int32_t> ids, const Tensor& d_out, Tensor& d_table,
                          bool accumulate) override;
  void rms_norm_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& inverse_rms,
                                Tensor& d_weight, bool accumulate) override;
  void layer_norm_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& statistics,
                                  Tensor& d_weight, bool accumulate) override;
  void rope(Tensor& x, const Tensor& cosines, const Tensor& sines, std::span<const int32_t> positions,
            bool inverse, RotaryPairs pairs) override;
  void attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpans& spans,
                 const AttentionScores& scores, Tensor& out, Tensor& log_sum_exp) override;
  void attention_backward(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpans& spans,
                          const AttentionScores& scores, const Tensor& out, const Tensor& log_sum_exp,
                          const Tensor& d_out, Tensor& dq, Tensor& dk, Tensor& dv) override;

  void dropout(const Tensor& x, double rate, uint64_t key, std::span<const uint64_t> rows,
               int64_t first_column, Tensor& out) override;

  void cross_entropy(Tensor& logits, std::span<const int32_t> labels, double gradient_scale,
                     Tensor& loss_sum) override;
  void softmax_statistics(const Tensor& logits, std::span<const int32_t> labels, int64_t first,
                          Tensor& statistics) override;
  void cross_entropy_from_statistics(Tensor& logits, std::span<const int32_t> labels, int64_t first,
                                     const Tensor& statistics, double gradient_scale,
                                     Tensor& loss_sum) override;
  void gumbel_max(const Tensor& logits, int64_t first, uint64_t key, std::span<const uint64_t> rows,
                  Tensor& best) override;
  void ordered_sums(const Tensor& values, const OrderedRuns& runs, Tensor& sums) override;
  void tree_sums(const Tensor& values, const TreeRuns& runs, Tensor& sums) override;

 private:
  Tensor floats(int64_t count) { return empty({count}, DType::f32, Category::workspace); }
  Tensor doubles(int64_t count) { return empty({count}, DType::f64, Category::workspace); }
  void hold_dense_copy(const Tensor& x);  // of a strided tensor, on its way to or from the host
  void hold_mask(const AttentionSpans& spans, const AttentionScores& scores);
  void hold_losses(std::span<const int32_t> labels);

  std::shared_ptr<MemoryAccount> host_account_ = std::make_shared<MemoryAccount>();
  cuda::RecentArrays arrays_;
  Tensor matmul_workspace_;
  Offloader offloader_;
};

}  // namespace collie
