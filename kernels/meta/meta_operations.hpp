// The operation table without memory and without arithmetic. It tells what a computation holds, and when,
// before anything is allocated. Every operation makes the checks of the other tables, and charges the
// workspace that kernels/cpu takes inside it.
#pragma once

#include <functional>

#include "kernels/operations.hpp"

namespace collie {

class MetaOperations : public Operations {
 public:
  // Called for every matrix product with the number of floating-point operations that it would take. There is
  // no other measure of time.
  using OnWork = std::function<void(double operations)>;

  // `threads` is the number of threads that would work, each with its own workspace.
  MetaOperations(int threads, std::shared_ptr<MemoryAccount> account, OnWork on_work = {},
                 DType dtype = DType::f32);

  bool has_values() const override { return false; }

  using Operations::empty;
  Tensor empty(const Shape& shape, DType dtype, Category category) override;
  void fill(Tensor& x, double value) override;
  void copy(const Tensor& from, Tensor& to) override;
  void convert(const Tensor& from, Tensor& to) override;
  void upload(std::span<const float> values, Tensor& x) override;
  void download(const Tensor& x, std::span<float> values) override;   // zeros
  Deferred<std::vector<double>> read(const Tensor& values) override;  // zeros

  void add(const Tensor& a, const Tensor& b, Tensor& out) override;
  Tensor to_host(const Tensor& x, Category category) override;
  void from_host(const Tensor& values, Tensor& x) override;
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

  void dequantise(const QuantisedMatrix& matrix, int64_t first_row, int64_t first_column,
                  Tensor& tile) override;
  void embedding(const Tensor& table, std::span<const int32_t> ids, Tensor& out) override;
  void embedding_backward(std::span<const int32_t> ids, const Tensor& d_out, Tensor& d_table,
                          bool accumulate) override;

  void rms_norm(const Tensor& x, const Tensor& weight, double weight_offset, double eps, Tensor& y,
                Tensor& inverse_rms) override;
  void rms_norm_backward_input(const Tensor& dy, const Tensor& x, const Tensor& weight, double weight_offset,
                               const Tensor& inverse_rms, const Tensor& d_residual, Tensor& dx) override;
  void rms_norm_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& inverse_rms,
                                Tensor& d_weight, bool accumulate) override;

  void layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps, Tensor& y,
                  Tensor& statistics) override;
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
  int threads_;
  OnWork on_work_;
};

}  // namespace collie
