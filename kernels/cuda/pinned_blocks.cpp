#include "kernels/cuda/pinned_blocks.hpp"

#include <map>
#include <mutex>
#include <vector>

#include "kernels/cuda/api.hpp"
#include "kernels/memory.hpp"

namespace collie::cuda {

namespace {

class PinnedBlocks {
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

// Never destroyed: the driver may be gone by then.
PinnedBlocks& pinned_blocks() {
  static PinnedBlocks* const blocks = new PinnedBlocks;
  return *blocks;
}

}  // namespace

void* take_pinned(size_t bytes) {
  return pinned_blocks().take(block_size(bytes));
}

void give_pinned(void* block, size_t bytes) {
  pinned_blocks().give(block, block_size(bytes));
}

}  // namespace collie::cuda
