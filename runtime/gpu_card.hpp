// What ranks tell each other of their GPUs, so that they choose alike what carries their tensors.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comm/process_group.hpp"
#include "kernels/operations.hpp"

namespace collie {

struct RankGpu {
  int index = 0;
  const Operations& operations;  // a table of it
};

struct RankProcess {
  int node = 0;
  bool encrypts = false;  // tensors that leave it, as actors/cluster.hpp says; the same on all nodes
};

struct GpuCard {
  int32_t nccl = 0;                // its version; 0: not there
  std::array<std::byte, 16> id{};  // zeros: no GPU
  int32_t node = 0, encrypts = 0;  // of RankProcess
  bool has_gpu() const { return id != decltype(id){}; }
};
GpuCard card_of(const std::optional<RankGpu>& gpu, const RankProcess& process);

// Every rank's bytes, in rank order: a multiple of four, as many on each. A collective of `host`.
std::vector<std::byte> exchange_bytes(ProcessGroup& host, std::span<const std::byte> own);

// The same of plain structs. [ranks]
template <class T>
std::vector<T> exchange(ProcessGroup& host, const T& own) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) % sizeof(int32_t) == 0);
  const std::vector<std::byte> bytes = exchange_bytes(host, std::as_bytes(std::span(&own, 1)));
  std::vector<T> all(bytes.size() / sizeof(T));
  std::memcpy(all.data(), bytes.data(), bytes.size());
  return all;
}

// Why these ranks cannot have a communicator of NCCL; empty where they can. Messages name rank `names[i]`,
// followed by `of`.
std::string nccl_objection(const std::vector<GpuCard>& cards, const std::vector<int>& names,
                           std::string_view of = "");

}  // namespace collie
