#include "bench/operation_rates.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace collie::bench {

namespace {

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Seconds per call if `count` calls are queued.
double seconds_a_call(const std::vector<std::function<void()>>& calls, int64_t count,
                      Operations& operations) {
  operations.synchronize();
  const double start_s = now_s();
  for (int64_t i = 0; i < count; ++i) calls[static_cast<size_t>(i) % calls.size()]();
  operations.synchronize();
  return (now_s() - start_s) / static_cast<double>(count);
}

OperationCase copy_of(int64_t bytes) {
  return {"copy",
          fmt::format("{} MiB", bytes >> 20),
          {2.0 * static_cast<double>(bytes), 0},
          false,
          [bytes](Operations& operations) {
            const int64_t count = bytes / static_cast<int64_t>(size_of(operations.dtype()));
            Tensor from = operations.empty({count}, Category::workspace),
                   to = operations.empty({count}, Category::workspace);
            operations.fill(from, 1);
            return [&operations, from, to]() mutable { operations.copy(from, to); };
          }};
}

}  // namespace

double seconds_of(const OperationCase& operation, Operations& operations, const Timing& timing) {
  const auto sets = std::clamp<int64_t>(
      timing.rotating_bytes / std::max<int64_t>(1, static_cast<int64_t>(operation.work.bytes)), 1, 16);
  std::vector<std::function<void()>> calls;
  for (int64_t set = 0; set < sets; ++set) calls.push_back(operation.make(operations));
  const double first_s = std::max(seconds_a_call(calls, sets, operations), 1e-7);  // the one-time work
  const auto count = static_cast<int64_t>(timing.seconds / first_s) + 1;
  const double warm_s = std::max(seconds_a_call(calls, count, operations), 1e-7);
  std::vector<double> seconds;
  for (int i = 0; i < timing.measurements; ++i)
    seconds.push_back(seconds_a_call(calls, static_cast<int64_t>(timing.seconds / warm_s) + 1, operations));
  return median(std::move(seconds));
}

Ceilings measure_ceilings(Operations& operations, const Timing& timing, int64_t copied_bytes, int64_t edge) {
  const OperationCase copy = copy_of(copied_bytes),
                      product = product_case(GemmForm::nt, edge, edge, edge, operations.dtype());
  return {copy.work.bytes / seconds_of(copy, operations, timing),
          product.work.flops / seconds_of(product, operations, timing)};
}

OperationRate rate_of(const OperationCase& operation, Operations& operations, const Timing& timing,
                      const Ceilings& ceilings) {
  OperationRate rate{operation.name, operation.shape, seconds_of(operation, operations, timing), 0, 0, 0};
  const Work work = operation.work;
  rate.bytes_per_second = work.bytes / rate.seconds;
  rate.flops_per_second = work.flops / rate.seconds;
  rate.share = operation.by_flops ? rate.flops_per_second / ceilings.flops_per_second
                                  : rate.bytes_per_second / ceilings.bytes_per_second;
  return rate;
}

std::string to_text(const OperationRate& rate) {
  const bool by_flops = rate.flops_per_second > 0;
  return fmt::format("{:<30}{:<34}{:>10.1f} us{:>10.1f} {:<8}{:>7.1f} %", rate.name, rate.shape,
                     1e6 * rate.seconds,
                     by_flops ? 1e-12 * rate.flops_per_second : 1e-9 * rate.bytes_per_second,
                     by_flops ? "TFLOP/s" : "GB/s", 100 * rate.share);
}

nlohmann::json to_json(const OperationRate& rate) {
  return {{"operation", rate.name},
          {"shape", rate.shape},
          {"seconds", rate.seconds},
          {"bytes_per_second", rate.bytes_per_second},
          {"flops_per_second", rate.flops_per_second},
          {"share_of_ceiling", rate.share}};
}

}  // namespace collie::bench
