#include "kernels/cuda/backend.hpp"

#include <fmt/format.h>

#include <cstring>

#include "kernels/cuda/api.hpp"
#include "kernels/cuda/cuda_operations.hpp"
#include "kernels/cuda/stream_queue.hpp"

namespace collie {

namespace {

constexpr int oldest_capability = 80;  // sm_80: bfloat16 and asynchronous copies

std::string driver_version() {
  int version = 0;
  if (cudaDriverGetVersion(&version) != cudaSuccess || version == 0) return "";
  return fmt::format("CUDA {}.{}", version / 1000, version % 1000 / 10);
}

class CudaBackend final : public GpuBackend {
 public:
  GpuReport report() const override {
    GpuReport report{{}, driver_version(), ""};
    int count = 0;
    const cudaError_t status = cudaGetDeviceCount(&count);
    if (status != cudaSuccess || count == 0) {
      cudaGetLastError();
      report.why_none =
          report.driver.empty()
              ? std::string("looked for an NVIDIA driver (libcuda.so.1), found none")
              : fmt::format("looked for NVIDIA GPUs through the driver ({}): {}", report.driver,
                            status != cudaSuccess ? cudaGetErrorString(status) : "it knows none");
      return report;
    }
    for (int index = 0; index < count; ++index) add(report, index);
    return report;
  }

  GpuMemory memory(int gpu) const override {
    GpuMemory memory{};
    cuda::check(cudaSetDevice(gpu), "choosing a device");
    cuda::check(cudaMemGetInfo(&memory.free_bytes, &memory.total_bytes), "asking for a device's memory");
    return memory;
  }

  std::unique_ptr<Operations> make_operations(DType dtype, int gpu,
                                              std::shared_ptr<MemoryAccount> account) const override {
    return std::make_unique<CudaOperations>(dtype, gpu, std::move(account));
  }

  std::shared_ptr<DeviceQueue> queue_of(const Operations& operations) const override {
    const auto* const table = dynamic_cast<const CudaOperations*>(&operations);
    COLLIE_ASSERT(table != nullptr, "the operation table is not one of a GPU's");
    return cuda::stream_queue(table->stream());
  }
  std::shared_ptr<DeviceQueue> make_queue(int gpu) const override {
    return cuda::stream_queue(std::make_shared<cuda::Stream>(gpu));
  }
  std::array<std::byte, 16> identity_of(int gpu) const override {
    cudaDeviceProp properties{};
    cuda::check(cudaGetDeviceProperties(&properties, gpu), "asking for a device's properties");
    std::array<std::byte, 16> identity{};
    std::memcpy(identity.data(), properties.uuid.bytes, identity.size());
    return identity;
  }

 private:
  // GPUs that are too old are left out. They are named if there is no other.
  static void add(GpuReport& report, int index) {
    cudaDeviceProp properties{};
    cuda::check(cudaGetDeviceProperties(&properties, index), "asking for a device's properties");
    const std::string capability = fmt::format("{}.{}", properties.major, properties.minor);
    if (properties.major * 10 + properties.minor < oldest_capability) {
      report.why_none += fmt::format("GPU {} ({}) has compute capability {}, 8.0 or newer is needed; ", index,
                                     properties.name, capability);
      return;
    }
    report.gpus.push_back({index, properties.name, capability, properties.totalGlobalMem});
  }
};

}  // namespace

const GpuBackend& cuda_backend() {
  static const CudaBackend backend;
  return backend;
}

}  // namespace collie
