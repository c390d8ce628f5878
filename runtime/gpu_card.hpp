// The data that ranks exchange about their GPUs, so that they all choose the same transport for their
// tensors.
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
  const Operations& operations;  // an operation table of this GPU
};

struct RankProcess {
  int node = 0;
  // Tensors that leave the process are encrypted (actors/cluster.hpp). The value is the same on all nodes.
  bool encrypts = false;
};

struct GpuCard {
  int32_t nccl = 0;                // version of NCCL; 0: not available
  std::array<std::byte, 16> id{};  // zeros: no GPU
  int32_t node = 0, encrypts = 0;  // see RankProcess
  bool has_gpu() const { return id != decltype(id){}; }
};
GpuCard card_of(const std::optional<RankGpu>& gpu, const RankProcess& process);

// Returns every rank's bytes, in rank order. Their size is a multiple of four and equal on all ranks. This is
// a collective of `host`.
std::vector<std::byte> exchange_bytes(ProcessGroup& host, std::span<const std::byte> own);

// The same for plain structs. Returns [ranks].
template <class T>
std::vector<T> exchange(ProcessGroup& host, const T& own) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) % sizeof(int32_t) == 0);
  const std::vector<std::byte> bytes = exchange_bytes(host, std::as_bytes(std::span(&own, 1)));
  std::vector<T> all(bytes.size() / sizeof(T));
  std::memcpy(all.data(), bytes.data(), bytes.size());
  return all;
}

// Returns why these ranks cannot have an NCCL communicator; empty if they can. Messages name rank `names[i]`,
// followed by `of`.
std::string nccl_objection(const std::vector<GpuCard>& cards, const std::vector<int>& names,
                           std::string_view of = "");

}  // namespace collie
