#include "kernels/cuda/device_memory.hpp"

#include <fmt/format.h>

#include <stdexcept>

#include "kernels/cuda/api.hpp"

namespace collie::cuda {

namespace {

class DeviceMemory final : public MemorySource {
 public:
  explicit DeviceMemory(std::shared_ptr<Stream> stream) : stream_(std::move(stream)) {}

  void* allocate(size_t bytes) override {
    void* block = nullptr;
    const cudaError_t status = cudaMallocAsync(&block, bytes > 0 ? bytes : 1, stream_->native());
    if (status == cudaErrorMemoryAllocation) out_of_memory(bytes);
    check(status, "allocating memory");
    return block;
  }
  void free(void* block, size_t) noexcept override { cudaFreeAsync(block, stream_->native()); }
  DeviceKind device() const override { return DeviceKind::cuda; }

 private:
  [[noreturn]] void out_of_memory(size_t bytes) const {
    cudaGetLastError();  // forgotten: the device goes on
    size_t free = 0, total = 0;
    cudaMemGetInfo(&free, &total);
    constexpr double mebibyte = 1 << 20;
    throw std::runtime_error(
        fmt::format("device {} is out of memory: {:.1f} MiB asked for, {:.1f} of {:.1f} MiB free",
                    stream_->device(), static_cast<double>(bytes) / mebibyte,
                    static_cast<double>(free) / mebibyte, static_cast<double>(total) / mebibyte));
  }

  std::shared_ptr<Stream> stream_;
};

}  // namespace

std::shared_ptr<MemorySource> device_memory(std::shared_ptr<Stream> stream) {
  return std::make_shared<DeviceMemory>(std::move(stream));
}

}  // namespace collie::cuda
