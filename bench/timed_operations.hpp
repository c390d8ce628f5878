// An operation table around another table. It measures the caller's time in it, and can record the products.
#pragma once

#include <time.h>

#include <atomic>
#include <memory>
#include <vector>

#include "kernels/forwarding_operations.hpp"

namespace collie {

struct RecordedGemm {
  GemmForm form;
  Shape a, b, c;
  bool accumulate;
};

// The tables of all ranks share it.
struct OperationTimes {
  std::atomic<int64_t> cpu_ns{0};  // of the calling threads, inside calls
  std::atomic<int64_t> calls{0};
  bool record_gemms = false;        // set before the first call
  std::vector<RecordedGemm> gemms;  // only one rank may record
};

class TimedOperations final : public ForwardingOperations {
 public:
  TimedOperations(std::unique_ptr<Operations> inner, std::shared_ptr<OperationTimes> times)
      : ForwardingOperations(std::move(inner)), times_(std::move(times)) {}

  void gemm(GemmForm form, const Tensor& a, const Tensor& b, Tensor& c, bool accumulate) override {
    if (times_->record_gemms) times_->gemms.push_back({form, a.shape(), b.shape(), c.shape(), accumulate});
    ForwardingOperations::gemm(form, a, b, c, accumulate);
  }

 protected:
  void begin_operation() override { start_ns_ = thread_cpu_ns(); }
  void end_operation() override {
    times_->cpu_ns += thread_cpu_ns() - start_ns_;
    ++times_->calls;
  }

 private:
  static int64_t thread_cpu_ns() {
    timespec now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return int64_t{1000000000} * now.tv_sec + now.tv_nsec;
  }

  std::shared_ptr<OperationTimes> times_;
  int64_t start_ns_ = 0;  // of the operation under way; a table belongs to one rank
};

}  // namespace collie
