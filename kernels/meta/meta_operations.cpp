#include "kernels/meta/meta_operations.hpp"

#include <algorithm>
#include <functional>
#include <vector>

#include "kernels/checks.hpp"
#include "kernels/cpu/attention_tiles.hpp"

namespace collie {
namespace {

// The most that the tasks of one operation hold at a time: as many tasks as there are threads, and at worst
// the largest ones.
class TaskWorkspace {
 public:
  explicit TaskWorkspace(int threads) : threads_(static_cast<size_t>(threads)) {}

  // Adds `count` tasks that each hold so many floats.
  void add(int64_t floats, int64_t count) {
    const auto copies = std::min<size_t>(static_cast<size_t>(count), threads_);
    largest_.insert(largest_.end(), copies, floats);
    std::sort(largest_.begin(), largest_.end(), std::greater<>());
    largest_.resize(std::min(largest_.size(), threads_));
  }

  std::vector<Tensor> held(Operations& operations) const {
    std::vector<Tensor> tensors;
    for (const int64_t floats : largest_)
      tensors.push_back(operations.empty({floats}, DType::f32, Category::workspace));
    return tensors;
  }

 private:
  size_t threads_;
  std::vector<int64_t> largest_;  // floats, descending
};

}  // namespace

MetaOperations::MetaOperations(int threads, std::shared_ptr<MemoryAccount> account, OnWork on_work,
                               DType dtype)
    : Operations(dtype, std::move(account)), threads_(threads), on_work_(std::move(on_work)) {
  COLLIE_ASSERT(threads >= 1, "meta operations of {} threads", threads);
}

Tensor MetaOperations::empty(const Shape& shape, DType dtype, Category category) {
  return Tensor::meta(shape, dtype, account(), category);
}

void MetaOperations::fill(Tensor& x, double) {
  COLLIE_ASSERT(x.defined(), "fill: x is an empty tensor");
}
void MetaOperations::copy(const Tensor& from, Tensor& to) {
  check::copy(from, to);
}
void MetaOperations::convert(const Tensor& from, Tensor& to) {
  check::convert(dtype(), from, to);
}
Deferred<std::vector<double>> MetaOperations::read(const Tensor& values) {
  check::read(values);
  return std::vector<double>(static_cast<size_t>(values.numel()));
}
void MetaOperations::upload(std::span<const float> values, Tensor& x) {
  check::transfer(values.size(), x);
}
void MetaOperations::download(const Tensor& x, std::span<float> values) {
  check::transfer(values.size(), x);
  std::fill(values.begin(), values.end(), 0.0F);
}
Tensor MetaOperations::to_host(const Tensor& x, Category category) {
  return empty(x.shape(), x.dtype(), category);
}
void MetaOperations::from_host(const Tensor& values, Tensor& x) {
  check::copy(values, x);
}

void MetaOperations::add(const Tensor& a, const Tensor& b, Tensor& out) {
  check::add(dtype(), a, b, out);
}
void MetaOperations::scale(Tensor& x, double) {
  check::scale(dtype(), x);
}
void MetaOperations::divide_by_root(Tensor& x, const Tensor& square, double) {
  check::divide_by_root(dtype(), x, square);
}

void MetaOperations::clamp(Tensor& x, double limit) {
  check::clamp(dtype(), x, limit);
}
void MetaOperations::add_row(Tensor& x, const Tensor& row) {
  check::add_row(dtype(), x, row);
}
void MetaOperations::column_sum(const Tensor& x, Tensor& out, bool) {
  check::column_sum(dtype(), x, out);
}
void MetaOperations::scale_columns(const Tensor& x, const Tensor& factors, Tensor& out) {
  check::scale_columns(dtype(), x, factors, out);
}
void MetaOperations::column_dots(const Tensor& a, const Tensor& b, Tensor& out, bool) {
  check::column_dots(dtype(), a, b, out);
}
void MetaOperations::row_sums_of_squares(const Tensor& x, Tensor& sums) {
  check::row_sums_of_squares(dtype(), x, sums);
}
void MetaOperations::inverse_roots(Tensor& x) {
  check::inverse_roots(dtype(), x);
}

void MetaOperations::gemm(GemmForm form, const Tensor& a, const Tensor& b, Tensor& c, bool) {
  const auto sizes = check::gemm(dtype(), form, a, b, c);
  if (on_work_)
    on_work_(2.0 * static_cast<double>(sizes.m) * static_cast<double>(sizes.n) *
             static_cast<double>(sizes.k));
}

void MetaOperations::dequantise(const QuantisedMatrix& matrix, int64_t first_row, int64_t first_column,
                                Tensor& tile) {
  check::dequantise(dtype(), matrix, first_row, first_column, tile);
}

void MetaOperations::embedding(const Tensor& table, std::span<const int32_t> ids, Tensor& out) {
  check::embedding(dtype(), table, ids, out);
}
void MetaOperations::embedding_backward(std::span<const int32_t> ids, const Tensor& d_out, Tensor& d_table,
                                        bool) {
  check::embedding(dtype(), d_table, ids, d_out);
}

void MetaOperations::rms_norm(const Tensor& x, const Tensor& weight, double, double, Tensor& y,
                              Tensor& inverse_rms) {
  check::rms_norm(dtype(), x, weight, y, inverse_rms);
}
void MetaOperations::rms_norm_backward_input(const Tensor& dy, const Tensor& x, const Tensor& weight, double,
                                             const Tensor& inverse_rms, const Tensor& d_residual,
                                             Tensor& dx) {
  check::rms_norm_backward_input(dtype(), dy, x, weight, inverse_rms, d_residual, dx);
}
void MetaOperations::rms_norm_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& inverse_rms,
                                              Tensor& d_weight, bool) {
  check::rms_norm_backward_weight(dtype(), dy, x, inverse_rms, d_weight);
}
void MetaOperations::layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double, Tensor& y,
                                Tensor& statistics) {
  check::layer_norm(dtype(), x, weight, bias, y, statistics);
}
void MetaOperations::layer_norm_backward_input(const Tensor& dy, const Tensor& x, const Tensor& weight,
                                               const Tensor& statistics, const Tensor& d_residual,
                                               Tensor& dx) {
  check::layer_norm_backward_input(dtype(), dy, x, weight, statistics, d_residual, dx);
}
void MetaOperations::layer_norm_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& statistics,
                                                Tensor& d_weight, bool) {
  check::layer_norm_backward_weight(dtype(), dy, x, statistics, d_weight);
}

void MetaOperations::rope(Tensor& x, const Tensor& cosines, const Tensor& sines,
                          std::span<const int32_t> positions, bool, RotaryPairs) {
  check::rope(dtype(), x, cosines, sines, positions);
}

void MetaOperations::attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpans& spans,
                               const AttentionScores& scores, Tensor& out, Tensor& log_sum_exp) {
  const auto sizes = check::attention(dtype(), q, k, v, spans, scores, out, log_sum_exp);
  if (sizes.head_dim == 0 || sizes.heads == 0) return;
  TaskWorkspace workspace(threads_);
  for (const cpu::Document& document : cpu::documents_of(spans))
    for (int64_t i = 0; i < document.query_tiles(); ++i)
      workspace.add(cpu::forward_workspace(document.tile(i), scores, sizes.head_dim, dtype()), sizes.heads);
  workspace.held(*this);
}

void MetaOperations::attention_backward(const Tensor& q, const Tensor& k, const Tensor& v,
                                        const AttentionSpans& spans, const AttentionScores& scores,
                                        const Tensor& out, const Tensor& log_sum_exp, const Tensor& d_out,
                                        Tensor& dq, Tensor& dk, Tensor& dv) {
  const auto sizes = check::attention(dtype(), q, k, v, spans, scores, out, log_sum_exp);
  check::attention_gradients(dtype(), q, k, d_out, dq, dk, dv);
  if (sizes.head_dim == 0 || sizes.heads == 0) return;
  const Tensor means = empty({sizes.queries, sizes.heads}, DType::f32, Category::workspace);
  TaskWorkspace workspace(threads_);
  for (const cpu::Document& document : cpu::documents_of(spans)) {
    const int64_t tasks = cpu::is_one_task(document) ? 1 : document.key_tiles() + document.query_tiles();
    workspace.add(
        cpu::backward_workspace(document, scores, sizes.heads / sizes.kv_heads, sizes.head_dim, dtype()),
        tasks * sizes.kv_heads);
  }
  workspace.held(*this);
}

void MetaOperations::merge_attention(Tensor& out, Tensor& log_sum_exp, const Tensor& part,
                                     const Tensor& part_log_sum_exp) {
  check::merge_attention(dtype(), out, log_sum_exp, part, part_log_sum_exp);
}

void MetaOperations::gated(Activation, const Tensor& gate, const Tensor& up, Tensor& out) {
  check::gated(dtype(), gate, up, out);
}
void MetaOperations::gated_backward(Activation, const Tensor& gate, const Tensor& up, const Tensor& d_out,
                                    Tensor& d_gate, Tensor& d_up) {
  check::gated_backward(dtype(), gate, up, d_out, d_gate, d_up);
}
void MetaOperations::activate(Activation, const Tensor& x, Tensor& out) {
  check::activate(dtype(), x, out);
}
void MetaOperations::activate_backward(Activation, const Tensor& x, const Tensor& d_out, Tensor& dx) {
  check::activate_backward(dtype(), x, d_out, dx);
}

void MetaOperations::dropout(const Tensor& x, double rate, uint64_t, std::span<const uint64_t> rows,
                             int64_t first_column, Tensor& out) {
  check::dropout(dtype(), x, rate, rows, first_column, out);
}

void MetaOperations::cross_entropy(Tensor& logits, std::span<const int32_t> labels, double,
                                   Tensor& loss_sum) {
  check::cross_entropy(dtype(), logits, labels, loss_sum);
}
void MetaOperations::softmax_statistics(const Tensor& logits, std::span<const int32_t> labels, int64_t first,
                                        Tensor& statistics) {
  check::softmax_statistics(dtype(), logits, labels, first, statistics);
}
void MetaOperations::cross_entropy_from_statistics(Tensor& logits, std::span<const int32_t> labels,
                                                   int64_t first, const Tensor& statistics, double,
                                                   Tensor& loss_sum) {
  check::cross_entropy_from_statistics(dtype(), logits, labels, first, statistics, loss_sum);
}
void MetaOperations::gumbel_max(const Tensor& logits, int64_t first, uint64_t, std::span<const uint64_t> rows,
                                Tensor& best) {
  check::gumbel_max(dtype(), logits, first, rows, best);
}
void MetaOperations::block_sums_of_squares(const Tensor& x, Tensor& sums) {
  check::block_sums_of_squares(dtype(), x, sums);
}
void MetaOperations::ordered_sums(const Tensor& values, const OrderedRuns& runs, Tensor& sums) {
  check::ordered_sums(values, runs, sums);
}
void MetaOperations::tree_sums(const Tensor& values, const TreeRuns& runs, Tensor& sums) {
  check::tree_sums(values, runs, sums);
}
void MetaOperations::keep_if_finite(const Tensor& factor, const Tensor& value, Tensor& kept) {
  check::keep_if_finite(factor, value, kept);
}
void MetaOperations::step_outcome(const Tensor& loss_sum, const Tensor& sum_of_squares, const StepBounds&,
                                  Tensor& outcome) {
  check::step_outcome(loss_sum, sum_of_squares, outcome);
}
void MetaOperations::update(std::span<UpdateTensors> ranges, const ElementwiseUpdate& step) {
  check::update(dtype(), ranges, step);
}
void MetaOperations::update_quantised(std::span<QuantisedTensors> ranges, const ElementwiseUpdate& step) {
  check::update_quantised(dtype(), ranges, step);
}

void MetaOperations::line_maxima(std::span<const MatrixTile> tiles, const Tensor& factor, Tensor& maxima) {
  check::line_maxima(dtype(), tiles, factor, maxima);
}
void MetaOperations::line_sums_of_squares(std::span<const MatrixTile> tiles, const Tensor& factor,
                                          const Tensor& scales, const Tensor& bounds, Tensor& sums) {
  check::line_sums_of_squares(dtype(), tiles, factor, scales, bounds, sums);
}
void MetaOperations::factored_moments(std::span<FactoredMatrix> matrices, const FactoredStep&,
                                      const Tensor& factor, const Tensor& maxima, const Tensor& sums,
                                      Tensor& scales, Tensor& bounds) {
  check::factored_moments(dtype(), matrices, factor, maxima, sums, scales, bounds);
}
void MetaOperations::factored_rates(std::span<const FactoredMatrix> matrices, const FactoredStep&,
                                    const Tensor& directions, const Tensor& weights, Tensor& rates) {
  check::factored_rates(dtype(), matrices, directions, weights, rates);
}
void MetaOperations::factored_update(std::span<FactoredTile> tiles, const FactoredStep& step,
                                     const Tensor& factor, const Tensor& scales, const Tensor& rates,
                                     const Rounding&) {
  check::factored_update(dtype(), tiles, step, factor, scales, rates);
}

std::unique_ptr<Operations> make_meta_operations(int threads, std::shared_ptr<MemoryAccount> account,
                                                 DType dtype) {
  return std::make_unique<MetaOperations>(threads, std::move(account), MetaOperations::OnWork(), dtype);
}

}  // namespace collie
