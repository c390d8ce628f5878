#include "runtime/gpu_card.hpp"

#include <fmt/format.h>

#include "comm/nccl/api.hpp"
#include "kernels/gpu.hpp"

namespace collie {

GpuCard card_of(const std::optional<RankGpu>& gpu, const RankProcess& process) {
  GpuCard card;
  card.node = process.node;
  card.encrypts = process.encrypts ? 1 : 0;
  if (!gpu) return card;
  card.id = gpu_backend()->identity_of(gpu->index);
  if (const auto nccl = nccl::available(); nccl.api != nullptr) nccl.api->get_version(&card.nccl);
  return card;
}

std::vector<std::byte> exchange_bytes(ProcessGroup& host, std::span<const std::byte> own) {
  const auto account = std::make_shared<MemoryAccount>();
  const auto words = static_cast<int64_t>(own.size() / sizeof(int32_t));
  const Tensor mine = Tensor::host({1, words}, DType::i32, account, Category::communication);
  Tensor all = Tensor::host({host.size(), words}, DType::i32, account, Category::communication);
  std::memcpy(mine.raw(), own.data(), own.size());
  host.all_gather(mine, all);
  std::vector<std::byte> bytes(all.bytes());
  std::memcpy(bytes.data(), all.raw(), bytes.size());
  return bytes;
}

std::string nccl_objection(const std::vector<GpuCard>& cards, const std::vector<int>& names,
                           std::string_view of) {
  for (size_t rank = 0; rank < cards.size(); ++rank) {
    if (!cards[rank].has_gpu()) return fmt::format("rank {}{} has no GPU", names[rank], of);
    for (size_t other = 0; other < rank; ++other)
      if (cards[other].id == cards[rank].id)
        return fmt::format("ranks {} and {}{} share a GPU, which NCCL refuses", names[other], names[rank],
                           of);
  }
  for (size_t rank = 0; rank < cards.size(); ++rank) {
    if (cards[rank].encrypts != 0 && cards[rank].node != cards[0].node)
      return fmt::format(
          "ranks {} and {}{} are on two nodes, between which tensors are encrypted, as NCCL's are not "
          "(cluster.trusted_network: true allows it)",
          names[0], names[rank], of);
    if (cards[rank].nccl == 0) return fmt::format("rank {}{} finds no NCCL", names[rank], of);
    if (cards[rank].nccl != cards[0].nccl)
      return fmt::format("ranks {} and {}{} have different versions of NCCL ({} and {})", names[0],
                         names[rank], of, cards[0].nccl, cards[rank].nccl);
  }
  return "";
}

}  // namespace collie
