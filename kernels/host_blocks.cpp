// The cache of host memory blocks behind every host tensor.
#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <unordered_map>
#include <vector>

#include "kernels/memory.hpp"

namespace collie {

namespace {

constexpr size_t alignment = 64;

// Address sanitizer sees a use after free only if the block is really freed.
#ifdef __SANITIZE_ADDRESS__
constexpr bool keep_blocks = false;
#else
constexpr bool keep_blocks = true;
#endif

bool poison_from_environment() {
  const char* value = std::getenv("COLLIE_ENGINE_POISON");
  return value != nullptr && std::strcmp(value, "1") == 0;
}

std::atomic<bool>& poison() {
  static std::atomic<bool> on{poison_from_environment()};
  return on;
}

class BlockCache {
 public:
  // Returns nullptr if there is no such block.
  void* take(size_t size) {
    const std::lock_guard lock(mutex_);
    const auto found = free_.find(size);
    if (found == free_.end() || found->second.empty()) return nullptr;
    void* block = found->second.back();
    found->second.pop_back();
    bytes_ -= size;
    return block;
  }

  void give(void* block, size_t size) {
    const std::lock_guard lock(mutex_);
    free_[size].push_back(block);
    bytes_ += size;
  }

  void release() {
    const std::lock_guard lock(mutex_);
    for (auto& [size, blocks] : free_)
      for (void* block : blocks) std::free(block);
    free_.clear();
    bytes_ = 0;
  }

  size_t bytes() {
    const std::lock_guard lock(mutex_);
    return bytes_;
  }

 private:
  std::mutex mutex_;
  std::unordered_map<size_t, std::vector<void*>> free_;
  size_t bytes_ = 0;
};

// Never destroyed, because tensors in static objects may be freed after it would have been.
BlockCache& cache() {
  static BlockCache* const blocks = new BlockCache;
  return *blocks;
}

void* from_system(size_t size) {
  void* block = std::aligned_alloc(alignment, size);
  if (block == nullptr) {
    release_cached_host_blocks();
    block = std::aligned_alloc(alignment, size);
  }
  if (block == nullptr) throw std::bad_alloc();
  return block;
}

}  // namespace

size_t block_size(size_t bytes) {
  bytes = std::max(bytes, alignment);
  const size_t step = std::max(alignment, std::bit_floor(bytes) / 8);
  return (bytes + step - 1) / step * step;
}

void* allocate_host(size_t bytes) {
  const size_t size = block_size(bytes);
  void* block = cache().take(size);
  if (block == nullptr) block = from_system(size);
  if (poison().load(std::memory_order_relaxed)) std::memset(block, 0xFF, size);
  return block;
}

void free_host(void* block, size_t bytes) {
  if (block == nullptr) return;
  if (keep_blocks)
    cache().give(block, block_size(bytes));
  else
    std::free(block);
}

size_t cached_host_bytes() {
  return cache().bytes();
}
void release_cached_host_blocks() {
  cache().release();
}
void set_poison(bool on) {
  poison().store(on, std::memory_order_relaxed);
}

}  // namespace collie
