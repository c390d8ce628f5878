// Memory accounts: every allocation has a category, and every rank has an account.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

namespace collie {

enum class Category : uint8_t { weights, gradients, optimizer, activations, communication, workspace };
inline constexpr size_t category_count = 6;
std::string_view name(Category category);

// The bytes that one rank holds. It is thread-safe: a tensor may be freed by the thread that received it.
class MemoryAccount {
 public:
  void add(Category category, size_t bytes);
  void remove(Category category, size_t bytes);
  size_t current(Category category) const;
  size_t peak(Category category) const;  // of that category alone
  size_t current_total() const;
  size_t peak_total() const;  // the peak of the sum, which is at most the sum of the peaks

 private:
  std::array<std::atomic<size_t>, category_count> current_{}, peak_{};
  std::atomic<size_t> total_{0}, peak_total_{0};
};

enum class DeviceKind : uint8_t { cpu, cuda };

// A tensor's bytes come from a source and go back to it. It is thread-safe: a tensor may be freed by any
// thread.
class MemorySource {
 public:
  virtual ~MemorySource() = default;
  virtual void* allocate(size_t bytes) = 0;
  virtual void free(void* block, size_t bytes) noexcept = 0;
  virtual DeviceKind device() const = 0;
  // These two copy bytes of a block to host memory and from there, after all work that is queued on the
  // block. They block.
  virtual void read(const void* from, void* to, size_t bytes) = 0;
  virtual void write(const void* from, void* to, size_t bytes) = 0;
};

// Rounds up to the next eighth of a power of two, at least 64, so that sizes that differ a little share
// blocks.
size_t block_size(size_t bytes);

// Host blocks are 64-byte aligned and kept for reuse: returning large blocks to the system and touching them
// again costs a page fault every 4 KiB. They have block_size(bytes) bytes. The cache is process-wide and
// thread-safe.
// In poison mode (tests; COLLIE_ENGINE_POISON=1) every block is filled with 0xFF when it is allocated, which
// is a NaN in every type.
void* allocate_host(size_t bytes);
void free_host(void* block, size_t bytes);
size_t cached_host_bytes();
void release_cached_host_blocks();
void set_poison(bool on);

}  // namespace collie
