#include "runtime/device.hpp"

#include "base/error.hpp"
#include "kernels/gpu.hpp"

namespace collie {

DeviceChoice choose_device(const DeviceSection& section) {
  if (section.kind == "cpu") return {DeviceKind::cpu, 0, "the CPU"};
  const GpuReport report = gpu_report();
  if (!report.gpus.empty())
    return {DeviceKind::cuda, static_cast<int>(report.gpus.size()),
            fmt::format("{} {} (compute capability {}, {})", report.gpus.size(), report.gpus.front().name,
                        report.gpus.front().capability, report.driver)};
  if (section.kind == "cuda")
    throw UserError("device.kind: cuda, but no GPU can be used: {}. 'cpu' is right here, or 'auto'",
                    report.why_none);
  return {DeviceKind::cpu, 0, fmt::format("the CPU, as no GPU can be used: {}", report.why_none)};
}

DeviceChoice planned_device(const DeviceSection& section) {
  if (section.kind != "cuda" || !gpu_report().gpus.empty()) return choose_device(section);
  return {DeviceKind::cuda, 0, "NVIDIA GPUs, none of which is here"};
}

DType dtype_of(const ModelSection& section) {
  return section.dtype == "bfloat16" ? DType::bf16 : DType::f32;
}

int gpu_of(const DeviceChoice& choice, int rank) {
  return rank % choice.gpus;
}

OperationsFactory operations_on(const DeviceChoice& choice, DType dtype, int rank) {
  if (choice.kind == DeviceKind::cpu) return cpu_operations(dtype);
  COLLIE_ASSERT(choice.gpus > 0, "operations of rank {} on {}", rank, choice.description);
  const int gpu = gpu_of(choice, rank);
  return [dtype, gpu](int, std::shared_ptr<MemoryAccount> account) {
    return gpu_backend()->make_operations(dtype, gpu, std::move(account));
  };
}

}  // namespace collie
