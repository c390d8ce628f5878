#include "kernels/cuda/memory/page_locked.hpp"

#include <fmt/format.h>

#include <cstring>
#include <map>
#include <mutex>
#include <stdexcept>
#include <vector>

#include "kernels/cuda/api.hpp"

namespace collie::cuda {

namespace {

class KeptBlocks {
 public:
  void* take(size_t size) {
    const std::lock_guard lock(mutex_);
    auto& blocks = free_[size];
    if (blocks.empty()) {
      void* block = nullptr;
      check(cudaMallocHost(&block, size), "allocating page-locked memory");
      return block;
    }
    void* const block = blocks.back();
    blocks.pop_back();
    return block;
  }
  void give(void* block, size_t size) {
    const std::lock_guard lock(mutex_);
    free_[size].push_back(block);
  }

 private:
  std::mutex mutex_;
  std::map<size_t, std::vector<void*>> free_;
};

// Never destroyed, because the driver may be gone by then.
KeptBlocks& kept_blocks() {
  static KeptBlocks* const blocks = new KeptBlocks;
  return *blocks;
}

class MappedMemory final : public MemorySource {
 public:
  explicit MappedMemory(std::shared_ptr<Stream> stream) : stream_(std::move(stream)) {}

  void* allocate(size_t bytes) override {
    void* block = nullptr;
    if (cudaMallocHost(&block, bytes > 0 ? bytes : 1) == cudaSuccess) return block;
    cudaGetLastError();  // the error is dropped: the device goes on
    throw std::runtime_error(
        fmt::format("page-locked host memory: {:.1f} MiB asked for, which the system refuses",
                    static_cast<double>(bytes) / (1 << 20)));
  }
  void free(void* block, size_t) noexcept override {
    try {
      stream_->synchronize();
    } catch (const std::exception&) {  // the device has failed: nothing is at work on the block
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

void* take_page_locked(size_t bytes) {
  return kept_blocks().take(block_size(bytes));
}

void give_page_locked(void* block, size_t bytes) {
  kept_blocks().give(block, block_size(bytes));
}

std::shared_ptr<MemorySource> mapped_memory(std::shared_ptr<Stream> stream) {
  return std::make_shared<MappedMemory>(std::move(stream));
}

}  // namespace collie::cuda
