// The operation table on one NVIDIA GPU. Work is queued on the rank's compute stream, in the order of the
// calls. Reading a value waits for the device.
#pragma once

#include "kernels/cpu/arena.hpp"
#include "kernels/cuda/attention/library.hpp"
#include "kernels/cuda/memory/device_memory.hpp"
#include "kernels/cuda/memory/host_transfers.hpp"
#include "kernels/cuda/memory/index_cache.hpp"
#include "kernels/cuda/memory/page_locked.hpp"
#include "kernels/cuda/ops/matmul.hpp"
#include "kernels/cuda/views.hpp"
#include "kernels/operations.hpp"

namespace collie {

class CudaOperations final : public Operations {
 public:
  CudaOperations(DType dtype, int device, std::shared_ptr<MemoryAccount> account);
  ~CudaOperations() override;
  const std::shared_ptr<cuda::Stream>& stream() const { return stream_; }

  int64_t head_chunk(int64_t vocab) const override;

  using Operations::empty;
  Tensor empty(const Shape& shape, DType dtype, Category category) override;
  Tensor empty_on_host(const Shape& shape, DType dtype, Category category) override;
  std::unique_ptr<Offloaded> offload(std::vector<Tensor> tensors) override;
  void fill(Tensor& x, double value) override;
  void copy(const Tensor& from, Tensor& to) override;
  void convert(const Tensor& from, Tensor& to) override;
  void upload(std::span<const float> values, Tensor& x) override;
  void download(const Tensor& x, std::span<float> values) override;
  Tensor to_host(const Tensor& x, Category category) override;
  void from_host(const Tensor& values, Tensor& x) override;

  void for_host_pieces(int64_t count, int64_t piece, const OnPiece& f) override {
    host_threads_.for_pieces(count, piece, f);
  }

  void synchronize() override { stream_->synchronize(); }
  Deferred<std::vector<double>> read(const Tensor& values) override;
  void when_done(std::function<void()> f) override { stream_->when_done(std::move(f)); }
  void check_device() override;
  void as_graphs(int64_t task, const std::function<void()>& work) override { stream_->as_graphs(task, work); }
  GraphCounts graph_counts() const override { return stream_->graphs().counts(); }
  void release(Tensor& x) override;
  Tensor acquire(Tensor x, Category category) override;

  void add(const Tensor& a, const Tensor& b, Tensor& out) override;
  void scale(Tensor& x, double factor) override;
  void divide_by_root(Tensor& x, const Tensor& square, double least) override;
  void clamp(Tensor& x, double limit) override;
  void add_row(Tensor& x, const Tensor& row) override;
  void column_sum(const Tensor& x, Tensor& out, bool accumulate) override;
  void scale_columns(const Tensor& x, const Tensor& factors, Tensor& out) override;
  void column_dots(const Tensor& a, const Tensor& b, Tensor& out, bool accumulate) override;
  void row_sums_of_squares(const Tensor& x, Tensor& sums) override;
  void inverse_roots(Tensor& x) override;

  void gemm(GemmForm form, const Tensor& a, const Tensor& b, Tensor& c, bool accumulate) override;
  void gemm_add_row(GemmForm form, const Tensor& a, const Tensor& b, const Tensor& row, Tensor& c) override;

  void dequantise(const QuantisedMatrix& matrix, int64_t first_row, int64_t first_column,
                  Tensor& tile) override;
  void embedding(const Tensor& table, std::span<const int32_t> ids, Tensor& out) override;
  void embedding_backward(std::span<const int32_t> ids, const Tensor& d_out, Tensor& d_table,
                          bool accumulate) override;

  void rms_norm(const Tensor& x, const Tensor& weight, double weight_offset, double eps, Tensor& y,
                Tensor& inverse_rms) override;
  void add_rms_norm(const Tensor& x, const Tensor& residual, const Tensor& weight, double weight_offset,
                    double eps, Tensor& sum, Tensor& y, Tensor& inverse_rms) override;
  void rms_norm_backward_input(const Tensor& dy, const Tensor& x, const Tensor& weight, double weight_offset,
                               const Tensor& inverse_rms, const Tensor& d_residual, Tensor& dx) override;
  void rms_norm_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& inverse_rms,
                                Tensor& d_weight, bool accumulate) override;

  void layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps, Tensor& y,
                  Tensor& statistics) override;
  void add_layer_norm(const Tensor& x, const Tensor& residual, const Tensor& weight, const Tensor& bias,
                      double eps, Tensor& sum, Tensor& y, Tensor& statistics) override;
  void layer_norm_backward_input(const Tensor& dy, const Tensor& x, const Tensor& weight,
                                 const Tensor& statistics, const Tensor& d_residual, Tensor& dx) override;
  void layer_norm_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& statistics,
                                  Tensor& d_weight, bool accumulate) override;

  void rope(Tensor& x, const Tensor& cosines, const Tensor& sines, std::span<const int32_t> positions,
            bool inverse, RotaryPairs pairs) override;

  void attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpans& spans,
                 const AttentionScores& scores, Tensor& out, Tensor& log_sum_exp) override;
  void attention_backward(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpans& spans,
                          const AttentionScores& scores, const Tensor& out, const Tensor& log_sum_exp,
                          const Tensor& d_out, Tensor& dq, Tensor& dk, Tensor& dv) override;
  void merge_attention(Tensor& out, Tensor& log_sum_exp, const Tensor& part,
                       const Tensor& part_log_sum_exp) override;

  void gated(Activation activation, const Tensor& gate, const Tensor& up, Tensor& out) override;
  void gated_backward(Activation activation, const Tensor& gate, const Tensor& up, const Tensor& d_out,
                      Tensor& d_gate, Tensor& d_up) override;
  void activate(Activation activation, const Tensor& x, Tensor& out) override;
  void activate_backward(Activation activation, const Tensor& x, const Tensor& d_out, Tensor& dx) override;

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
  void block_sums_of_squares(const Tensor& x, Tensor& sums) override;
  void ordered_sums(const Tensor& values, const OrderedRuns& runs, Tensor& sums) override;
  void tree_sums(const Tensor& values, const TreeRuns& runs, Tensor& sums) override;
  void step_outcome(const Tensor& loss_sum, const Tensor& sum_of_squares, const StepBounds& bounds,
                    Tensor& outcome) override;
  void keep_if_finite(const Tensor& factor, const Tensor& value, Tensor& kept) override;
  void update(std::span<UpdateTensors> ranges, const ElementwiseUpdate& step) override;
  void update_quantised(std::span<QuantisedTensors> ranges, const ElementwiseUpdate& step) override;
  void line_maxima(std::span<const MatrixTile> tiles, const Tensor& factor, Tensor& maxima) override;
  void line_sums_of_squares(std::span<const MatrixTile> tiles, const Tensor& factor, const Tensor& scales,
                            const Tensor& bounds, Tensor& sums) override;
  void factored_moments(std::span<FactoredMatrix> matrices, const FactoredStep& step, const Tensor& factor,
                        const Tensor& maxima, const Tensor& sums, Tensor& scales, Tensor& bounds) override;
  void factored_rates(std::span<const FactoredMatrix> matrices, const FactoredStep& step,
                      const Tensor& directions, const Tensor& weights, Tensor& rates) override;
  void factored_update(std::span<FactoredTile> tiles, const FactoredStep& step, const Tensor& factor,
                       const Tensor& scales, const Tensor& rates, const Rounding& rounding) override;

 private:
  Tensor workspace(int64_t floats);
  cuda::AttentionViews attention_views(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& out,
                                       const Tensor& log_sum_exp, const AttentionSpans& spans,
                                       const AttentionScores& scores);

  std::shared_ptr<cuda::Stream> stream_;
  std::shared_ptr<MemorySource> memory_, mapped_memory_;
  cpu::Arena host_threads_;
  std::shared_ptr<MemoryAccount> host_account_ =
      std::make_shared<MemoryAccount>();  // account() is the device's
  cuda::HostStaging staging_;
  cuda::IndexCache indices_;
  std::unique_ptr<cuda::Matmul> matmul_;
  std::unique_ptr<cuda::AttentionLibrary> attention_library_;  // null: only our own kernels
  std::unique_ptr<Offloader> offloader_;                       // made at the first offload()
};

}  // namespace collie
