// An operation table around another that measures the caller's time in it, and can write down the products.
#pragma once

#include <time.h>

#include <atomic>
#include <memory>
#include <vector>

#include "kernels/operations.hpp"

namespace collie {

struct RecordedGemm {
  GemmForm form;
  Shape a, b, c;
  bool accumulate;
};

// Shared by the tables of all ranks.
struct OperationTimes {
  std::atomic<int64_t> cpu_ns{0};  // of the calling threads, inside calls
  std::atomic<int64_t> calls{0};
  bool record_gemms = false;        // set before the first call
  std::vector<RecordedGemm> gemms;  // one rank alone may record
};

class TimedOperations final : public Operations {
 public:
  TimedOperations(std::unique_ptr<Operations> inner, std::shared_ptr<OperationTimes> times)
      : Operations(inner->dtype(), inner->account()), inner_(std::move(inner)), times_(std::move(times)) {}

  using Operations::empty;
  Tensor empty(const Shape& shape, DType dtype, Category category) override {
    const Span span(*times_);
    return inner_->empty(shape, dtype, category);
  }
  void fill(Tensor& x, double value) override {
    const Span span(*times_);
    inner_->fill(x, value);
  }
  void copy(const Tensor& from, Tensor& to) override {
    const Span span(*times_);
    inner_->copy(from, to);
  }
  std::unique_ptr<Offloaded> offload(std::vector<Tensor> tensors) override {
    return inner_->offload(std::move(tensors));
  }
  void as_graphs(int64_t task, const std::function<void()>& work) override { inner_->as_graphs(task, work); }
  GraphCounts graph_counts() const override { return inner_->graph_counts(); }
  void synchronize() override { inner_->synchronize(); }
  Deferred<std::vector<double>> read(const Tensor& values) override { return inner_->read(values); }
  void when_done(std::function<void()> f) override { inner_->when_done(std::move(f)); }
  void check_device() override { inner_->check_device(); }
  void for_host_pieces(int64_t count, int64_t piece, const OnPiece& f) override {
    inner_->for_host_pieces(count, piece, f);
  }
  void convert(const Tensor& from, Tensor& to) override {
    const Span span(*times_);
    inner_->convert(from, to);
  }
  void upload(std::span<const float> values, Tensor& x) override {
    const Span span(*times_);
    inner_->upload(values, x);
  }
  void download(const Tensor& x, std::span<float> values) override {
    const Span span(*times_);
    inner_->download(x, values);
  }
  Tensor to_host(const Tensor& x, Category category) override { return inner_->to_host(x, category); }
  void from_host(const Tensor& values, Tensor& x) override { inner_->from_host(values, x); }
  void add(const Tensor& a, const Tensor& b, Tensor& out) override {
    const Span span(*times_);
    inner_->add(a, b, out);
  }
  void scale(Tensor& x, double factor) override {
    const Span span(*times_);
    inner_->scale(x, factor);
  }
  void add_row(Tensor& x, const Tensor& row) override {
    const Span span(*times_);
    inner_->add_row(x, row);
  }
  void column_sum(const Tensor& x, Tensor& out, bool accumulate) override {
    const Span span(*times_);
    inner_->column_sum(x, out, accumulate);
  }
  void gemm(GemmForm form, const Tensor& a, const Tensor& b, Tensor& c, bool accumulate) override {
    if (times_->record_gemms) times_->gemms.push_back({form, a.shape(), b.shape(), c.shape(), accumulate});
    const Span span(*times_);
    inner_->gemm(form, a, b, c, accumulate);
  }
  void embedding(const Tensor& table, std::span<const int32_t> ids, Tensor& out) override {
    const Span span(*times_);
    inner_->embedding(table, ids, out);
  }
  void embedding_backward(std::span<const int32_t> ids, const Tensor& d_out, Tensor& d_table,
                          bool accumulate) override {
    const Span span(*times_);
    inner_->embedding_backward(ids, d_out, d_table, accumulate);
  }
  void rms_norm(const Tensor& x, const Tensor& weight, double eps, Tensor& y, Tensor& inverse_rms) override {
    const Span span(*times_);
    inner_->rms_norm(x, weight, eps, y, inverse_rms);
  }
  void rms_norm_backward_input(const Tensor& dy, const Tensor& x, const Tensor& weight,
                               const Tensor& inverse_rms, const Tensor& d_residual, Tensor& dx) override {
    const Span span(*times_);
    inner_->rms_norm_backward_input(dy, x, weight, inverse_rms, d_residual, dx);
  }
  void rms_norm_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& inverse_rms,
                                Tensor& d_weight, bool accumulate) override {
    const Span span(*times_);
    inner_->rms_norm_backward_weight(dy, x, inverse_rms, d_weight, accumulate);
  }
  void rope(Tensor& x, const Tensor& cosines, const Tensor& sines, std::span<const int32_t> positions,
            bool inverse) override {
    const Span span(*times_);
    inner_->rope(x, cosines, sines, positions, inverse);
  }
  void attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpans& spans,
                 double score_scale, Tensor& out, Tensor& log_sum_exp) override {
    const Span span(*times_);
    inner_->attention(q, k, v, spans, score_scale, out, log_sum_exp);
  }
  void attention_backward(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpans& spans,
                          double score_scale, const Tensor& out, const Tensor& log_sum_exp,
                          const Tensor& d_out, Tensor& dq, Tensor& dk, Tensor& dv) override {
    const Span span(*times_);
    inner_->attention_backward(q, k, v, spans, score_scale, out, log_sum_exp, d_out, dq, dk, dv);
  }
  void merge_attention(Tensor& out, Tensor& log_sum_exp, const Tensor& part,
                       const Tensor& part_log_sum_exp) override {
    const Span span(*times_);
    inner_->merge_attention(out, log_sum_exp, part, part_log_sum_exp);
  }
  void swiglu(const Tensor& gate, const Tensor& up, Tensor& out) override {
    const Span span(*times_);
    inner_->swiglu(gate, up, out);
  }
  void swiglu_backward(const Tensor& gate, const Tensor& up, const Tensor& d_out, Tensor& d_gate,
                       Tensor& d_up) override {
    const Span span(*times_);
    inner_->swiglu_backward(gate, up, d_out, d_gate, d_up);
  }
  void cross_entropy(Tensor& logits, std::span<const int32_t> labels, double gradient_scale,
                     Tensor& loss_sum) override {
    const Span span(*times_);
    inner_->cross_entropy(logits, labels, gradient_scale, loss_sum);
  }
  void softmax_statistics(const Tensor& logits, std::span<const int32_t> labels, int64_t first,
                          Tensor& statistics) override {
    const Span span(*times_);
    inner_->softmax_statistics(logits, labels, first, statistics);
  }
  void cross_entropy_from_statistics(Tensor& logits, std::span<const int32_t> labels, int64_t first,
                                     const Tensor& statistics, double gradient_scale,
                                     Tensor& loss_sum) override {
    const Span span(*times_);
    inner_->cross_entropy_from_statistics(logits, labels, first, statistics, gradient_scale, loss_sum);
  }
  void block_sums_of_squares(const Tensor& x, Tensor& sums) override {
    const Span span(*times_);
    inner_->block_sums_of_squares(x, sums);
  }
  void ordered_sums(const Tensor& values, const OrderedRuns& runs, Tensor& sums) override {
    const Span span(*times_);
    inner_->ordered_sums(values, runs, sums);
  }
  void tree_sums(const Tensor& values, const TreeRuns& runs, Tensor& sums) override {
    const Span span(*times_);
    inner_->tree_sums(values, runs, sums);
  }
  void step_outcome(const Tensor& loss_sum, const Tensor& sum_of_squares, double max_norm,
                    Tensor& outcome) override {
    const Span span(*times_);
    inner_->step_outcome(loss_sum, sum_of_squares, max_norm, outcome);
  }
  void adamw(std::span<AdamWTensors> ranges, const AdamWArguments& arguments) override {
    const Span span(*times_);
    inner_->adamw(ranges, arguments);
  }

 private:
  static int64_t thread_cpu_ns() {
    timespec now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return int64_t{1000000000} * now.tv_sec + now.tv_nsec;
  }
  // From here to the end of the scope.
  class Span {
   public:
    explicit Span(OperationTimes& times) : times_(times), start_ns_(thread_cpu_ns()) {}
    ~Span() {
      times_.cpu_ns += thread_cpu_ns() - start_ns_;
      ++times_.calls;
    }

   private:
    OperationTimes& times_;
    int64_t start_ns_;
  };

  std::unique_ptr<Operations> inner_;
  std::shared_ptr<OperationTimes> times_;
};

}  // namespace collie
