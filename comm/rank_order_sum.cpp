#include "comm/rank_order_sum.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/error.hpp"
#include "kernels/host_data.hpp"

namespace collie::comm {
namespace {

template <class T>
void sum(std::span<const std::byte* const> in, std::span<std::byte* const> out, int64_t begin, int64_t end) {
  constexpr int64_t block = 1024;
  std::array<T, block> total;
  for (int64_t at = begin; at < end; at += block) {
    const auto count = static_cast<size_t>(std::min(block, end - at));
    // A block is read in full before any of it is written, since out and in may be the same memory.
    std::memcpy(total.data(), in[0] + static_cast<size_t>(at) * sizeof(T), count * sizeof(T));
    for (size_t rank = 1; rank < in.size(); ++rank) {
      const T* const addend = reinterpret_cast<const T*>(in[rank]) + at;
      for (size_t i = 0; i < count; ++i) total[i] += addend[i];
    }
    for (std::byte* const target : out)
      std::memcpy(target + static_cast<size_t>(at) * sizeof(T), total.data(), count * sizeof(T));
  }
}

// bfloat16 is summed in float and rounded once.
void sum_bf16(std::span<const std::byte* const> in, std::span<std::byte* const> out, int64_t begin,
              int64_t end) {
  for (int64_t at = begin; at < end; ++at) {
    float total = 0;
    for (size_t rank = 0; rank < in.size(); ++rank) {
      const float value = host::from_bf16(reinterpret_cast<const uint16_t*>(in[rank])[at]);
      total = rank == 0 ? value : total + value;
    }
    for (std::byte* const target : out) reinterpret_cast<uint16_t*>(target)[at] = host::to_bf16(total);
  }
}

}  // namespace

void sum_in_rank_order(DType dtype, std::span<const std::byte* const> in, std::span<std::byte* const> out,
                       int64_t begin, int64_t end) {
  COLLIE_ASSERT(dtype != DType::i32, "sums are of floating-point numbers, not {}", name(dtype));
  if (dtype == DType::bf16)
    sum_bf16(in, out, begin, end);
  else if (dtype == DType::f32)
    sum<float>(in, out, begin, end);
  else
    sum<double>(in, out, begin, end);
}

}  // namespace collie::comm
