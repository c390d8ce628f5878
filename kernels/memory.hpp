// Memory accounts: every allocation has a category, every rank an account.
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

// What one rank holds, in bytes. Thread-safe: a tensor may be freed by the thread that received it.
class MemoryAccount {
 public:
  void add(Category category, size_t bytes);
  void remove(Category category, size_t bytes);
  size_t current(Category category) const;
  size_t peak(Category category) const;  // of that category alone
  size_t current_total() const;
  size_t peak_total() const;  // of the sum, which is at most the sum of the peaks

 private:
  std::array<std::atomic<size_t>, category_count> current_{}, peak_{};
  std::atomic<size_t> total_{0}, peak_total_{0};
};

enum class DeviceKind : uint8_t { cpu, cuda };

// Where a tensor's bytes come from and go back to. Thread-safe: a tensor may be freed by any thread.
class MemorySource {
 public:
  virtual ~MemorySource() = default;
  virtual void* allocate(size_t bytes) = 0;
  virtual void free(void* block, size_t bytes) noexcept = 0;
  virtual DeviceKind device() const = 0;
  // Bytes of a block to host memory and from there, after everything that has been queued on the block.
  // Blocking.
  virtual void read(const void* from, void* to, size_t bytes) = 0;
  virtual void write(const void* from, void* to, size_t bytes) = 0;
};

// Up to the next eighth of a power of two, 64 at least: so that sizes that differ a little share blocks.
size_t block_size(size_t bytes);

// Host blocks, 64-byte aligned and kept for reuse: returning large blocks to the system and touching them
// again costs a page fault every 4 KiB. Of block_size(bytes). Process-wide, thread-safe.
// In poison mode (tests; COLLIE_ENGINE_POISON=1) every block is handed out filled with 0xFF, a NaN in every
// type.
void* allocate_host(size_t bytes);
void free_host(void* block, size_t bytes);
size_t cached_host_bytes();
void release_cached_host_blocks();
void set_poison(bool on);

}  // namespace collie
