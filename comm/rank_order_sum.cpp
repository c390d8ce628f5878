#include "comm/rank_order_sum.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/error.hpp"

namespace collie::comm {
namespace {

template <class T>
void sum(std::span<const std::byte* const> in, std::span<std::byte* const> out, int64_t begin, int64_t end) {
  constexpr int64_t block = 1024;
  std::array<T, block> total;
  for (int64_t at = begin; at < end; at += block) {
    const auto count = static_cast<size_t>(std::min(block, end - at));
    // A block is read in full before any of it is written: out and in may be the same memory.
    std::memcpy(total.data(), in[0] + static_cast<size_t>(at) * sizeof(T), count * sizeof(T));
    for (size_t rank = 1; rank < in.size(); ++rank) {
      const T* const addend = reinterpret_cast<const T*>(in[rank]) + at;
      for (size_t i = 0; i < count; ++i) total[i] += addend[i];
    }
    for (std::byte* const target : out)
      std::memcpy(target + static_cast<size_t>(at) * sizeof(T), total.data(), count * sizeof(T));
  }
}

}  // namespace

void sum_in_rank_order(DType dtype, std::span<const std::byte* const> in, std::span<std::byte* const> out,
                       int64_t begin, int64_t end) {
  COLLIE_ASSERT(dtype == DType::f32 || dtype == DType::f64, "sums are of float32 or float64, not {}",
                name(dtype));
  if (dtype == DType::f32)
    sum<float>(in, out, begin, end);
  else
    sum<double>(in, out, begin, end);
}

}  // namespace collie::comm
