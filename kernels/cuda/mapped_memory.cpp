#include "kernels/cuda/mapped_memory.hpp"

#include <fmt/format.h>

#include <cstring>
#include <stdexcept>

#include "kernels/cuda/api.hpp"

namespace collie::cuda {

namespace {

class MappedMemory final : public MemorySource {
 public:
  explicit MappedMemory(std::shared_ptr<Stream> stream) : stream_(std::move(stream)) {}

  void* allocate(size_t bytes) override {
    void* block = nullptr;
    if (cudaMallocHost(&block, bytes > 0 ? bytes : 1) == cudaSuccess) return block;
    cudaGetLastError();  // forgotten: the device goes on
    throw std::runtime_error(
        fmt::format("page-locked host memory: {:.1f} MiB asked for, which the system refuses",
                    static_cast<double>(bytes) / (1 << 20)));
  }
  void free(void* block, size_t) noexcept override {
    try {
      stream_->synchronize();
    } catch (const std::exception&) {  // of a device that has failed: nothing is at work on it
    }
    cudaFreeHost(block);
  }
  DeviceKind device() const override { return DeviceKind::cuda; }

  void read(const void* from, void* to, size_t bytes) override {
    stream_->synchronize();
    std::memcpy(to, from, bytes);
  }
  void write(const void* from, void* to, size_t bytes) override {
    stream_->synchronize();
    std::memcpy(to, from, bytes);
  }

 private:
  std::shared_ptr<Stream> stream_;
};

}  // namespace

std::shared_ptr<MemorySource> mapped_memory(std::shared_ptr<Stream> stream) {
  return std::make_shared<MappedMemory>(std::move(stream));
}

}  // namespace collie::cuda
