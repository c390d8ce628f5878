#include "kernels/memory.hpp"

#include "base/error.hpp"

namespace collie {

namespace {

void raise_to(std::atomic<size_t>& peak, size_t value) {
  size_t seen = peak.load(std::memory_order_relaxed);
  while (seen < value && !peak.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
  }
}

size_t index_of(Category category) {
  return static_cast<size_t>(category);
}

}  // namespace

std::string_view name(Category category) {
  switch (category) {
    case Category::weights:
      return "weights";
    case Category::gradients:
      return "gradients";
    case Category::optimizer:
      return "optimizer";
    case Category::activations:
      return "activations";
    case Category::communication:
      return "communication";
    case Category::workspace:
      return "workspace";
  }
  COLLIE_ASSERT(false, "unknown memory category {}", static_cast<int>(category));
  return {};
}

void MemoryAccount::add(Category category, size_t bytes) {
  const size_t i = index_of(category);
  raise_to(peak_[i], current_[i].fetch_add(bytes, std::memory_order_relaxed) + bytes);
  raise_to(peak_total_, total_.fetch_add(bytes, std::memory_order_relaxed) + bytes);
}

void MemoryAccount::remove(Category category, size_t bytes) {
  current_[index_of(category)].fetch_sub(bytes, std::memory_order_relaxed);
  total_.fetch_sub(bytes, std::memory_order_relaxed);
}

size_t MemoryAccount::current(Category category) const {
  return current_[index_of(category)].load(std::memory_order_relaxed);
}
size_t MemoryAccount::peak(Category category) const {
  return peak_[index_of(category)].load(std::memory_order_relaxed);
}
size_t MemoryAccount::current_total() const {
  return total_.load(std::memory_order_relaxed);
}
size_t MemoryAccount::peak_total() const {
  return peak_total_.load(std::memory_order_relaxed);
}

}  // namespace collie
