#include "plan/device_peak.hpp"

#include <algorithm>

#include "base/clock.hpp"
#include "base/log.hpp"
#include "base/processors.hpp"
#include "kernels/gpu.hpp"
#include "runtime/gpu_peaks.hpp"

namespace collie {

namespace {

// The threads that all ranks of this process compute with together, as far as there are processors.
int threads_of_process(const RunPlan& plan, int processes) {
  const int ranks = std::max(1, plan.layout.grid.ranks() / processes);
  return std::clamp(ranks * plan.threads_per_rank, 1, std::max(1, usable_processors()));
}

// Multiplies matrices of a size at which caches and devices are busy: by chance a product may be slowed by
// other programs, so the fastest one counts.
double measured_flops(const RunPlan& plan, int processes) {
  constexpr double most_s = 0.2;
  const bool on_cpu = device_of(plan).kind == DeviceKind::cpu;
  const int64_t n = on_cpu ? 1024 : 8192;
  const auto operations =
      operations_of(plan, 0)(threads_of_process(plan, processes), std::make_shared<MemoryAccount>());
  const auto matrix = [&] {
    Tensor x = operations->empty({n, n}, Category::workspace);
    operations->fill(x, 0.5);
    return x;
  };
  const Tensor a = matrix(), b = matrix();
  Tensor c = matrix();
  const double flops = 2.0 * static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n);
  double best = 0;
  const double start_s = steady_seconds();
  do {
    operations->synchronize();
    const double begin_s = steady_seconds();
    operations->gemm(GemmForm::nt, a, b, c, false);
    operations->synchronize();
    const double took_s = steady_seconds() - begin_s;
    if (took_s > 0) best = std::max(best, flops / took_s);
  } while (steady_seconds() - start_s < most_s);
  return best;
}

double flops_of_device(const RunPlan& plan, int processes) {
  if (plan.config.monitor.peak_flops > 0) return plan.config.monitor.peak_flops;
  if (plan.config.monitor.measure_peak) {
    const double flops = measured_flops(plan, processes);
    log::info("a device of the run multiplies matrices with {:.4g} FLOP/s, of which the MFU is a share",
              flops);
    return flops;
  }
  if (device_of(plan).kind == DeviceKind::cpu || gpu_report().gpus.empty()) return 0;
  constexpr double tera = 1e12;
  return tera * peak_tflops(gpu_report().gpus.front().name, dtype_of(plan.config.model)).value_or(0);
}

}  // namespace

int devices_of(const RunPlan& plan, int processes) {
  const DeviceChoice device = device_of(plan);
  if (device.kind == DeviceKind::cpu) return processes;
  const int ranks = std::max(1, plan.layout.grid.ranks() / processes);
  return processes * std::clamp(device.gpus, 1, ranks);
}

double peak_flops_of(const RunPlan& plan, int processes) {
  return devices_of(plan, processes) * flops_of_device(plan, processes);
}

}  // namespace collie
