#include "kernels/cuda/memory/device_memory.hpp"

#include <fmt/format.h>

#include <mutex>
#include <stdexcept>

#include "kernels/cuda/api.hpp"
#include "kernels/cuda/memory/host_transfers.hpp"
#include "kernels/cuda/memory/memory_pools.hpp"

namespace collie::cuda {

namespace {

class DeviceMemory final : public MemorySource {
 public:
  explicit DeviceMemory(std::shared_ptr<Stream> stream)
      : stream_(std::move(stream)), copies_(std::make_shared<Stream>(stream_->device())), staging_(copies_) {}

  void* allocate(size_t bytes) override {
    if (void* const kept = stream_->graphs().take(bytes)) return kept;
    void* block = nullptr;
    cudaError_t status = from_the_driver(block, bytes);
    if (status == cudaErrorMemoryAllocation) {
      cudaGetLastError();         // the error is dropped: the device goes on
      stream_->graphs().flush();  // frees the blocks that were kept for it
      status = from_the_driver(block, bytes);
    }
    if (status == cudaErrorMemoryAllocation) out_of_memory(bytes);
    check(status, "allocating memory");
    return block;
  }
  void free(void* block, size_t bytes) noexcept override {
    if (!stream_->graphs().keep(block, bytes)) cudaFreeAsync(block, stream_->bare());
  }
  DeviceKind device() const override { return DeviceKind::cuda; }

  void read(const void* from, void* to, size_t bytes) override {
    const std::lock_guard lock(mutex_);
    wait_for_the_stream();
    staging_.download(from, {static_cast<std::byte*>(to), bytes});
  }
  void write(const void* from, void* to, size_t bytes) override {
    const std::lock_guard lock(mutex_);
    wait_for_the_stream();
    staging_.upload({static_cast<const std::byte*>(from), bytes}, to);
    copies_->synchronize();
  }

 private:
  // A graph that is being recorded may use the block: it will be launched later.
  cudaError_t from_the_driver(void*& block, size_t bytes) const {
    return cudaMallocAsync(&block, bytes > 0 ? bytes : 1, stream_->bare());
  }

  [[noreturn]] void out_of_memory(size_t bytes) const {
    cudaGetLastError();  // the error is dropped: the device goes on
    size_t free = 0, total = 0;
    cudaMemGetInfo(&free, &total);
    constexpr double mebibyte = 1 << 20;
    throw std::runtime_error(
        fmt::format("device {} is out of memory: {:.1f} MiB asked for, {:.1f} of {:.1f} MiB free",
                    stream_->device(), static_cast<double>(bytes) / mebibyte,
                    static_cast<double>(free) / mebibyte, static_cast<double>(total) / mebibyte));
  }

  void wait_for_the_stream() {
    stream_->record(queued_);
    copies_->wait(queued_);
  }

  std::shared_ptr<Stream> stream_;
  std::mutex mutex_;  // guards the members below
  std::shared_ptr<Stream> copies_;
  HostStaging staging_;
  Event queued_;
};

}  // namespace

std::shared_ptr<MemorySource> device_memory(std::shared_ptr<Stream> stream) {
  prepare_memory_pool(stream->device());
  return std::make_shared<DeviceMemory>(std::move(stream));
}

}  // namespace collie::cuda
