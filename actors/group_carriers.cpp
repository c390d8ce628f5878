#include "actors/group_carriers.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.hpp"
#include "comm/nccl/nccl_group.hpp"
#include "comm/staged_group.hpp"
#include "kernels/gpu.hpp"

namespace collie {
namespace {

struct Kind {
  const char* name;
  std::shared_ptr<MeteredGroup> RankGroups::*member;
  std::shared_ptr<DeviceSlot> RankDevice::*slot;
  bool in_background;
};

// In one order everywhere: communicators are made one after another.
constexpr Kind kinds[] = {{"tensor group", &RankGroups::tensor, &RankDevice::tensor, false},
                          {"context group", &RankGroups::context, &RankDevice::context, true},
                          {"key/value group", &RankGroups::key_value, &RankDevice::key_value, false},
                          {"data group", &RankGroups::data, &RankDevice::data, true}};

// COLLIE_ENGINE_SUMS=rank_order: over NCCL, too, sums are taken as everywhere else. By default NCCL adds.
NcclSums sums_as_asked() {
  const char* const asked = std::getenv("COLLIE_ENGINE_SUMS");
  const std::string_view order = asked != nullptr ? asked : "nccl";
  if (order != "nccl" && order != "rank_order")
    throw UserError("COLLIE_ENGINE_SUMS: '{}' found; 'nccl' or 'rank_order' is right here", order);
  return order == "nccl" ? NcclSums::of_nccl : NcclSums::in_rank_order;
}

// What a rank tells the others of its group.
struct Card {
  NcclSums sums = NcclSums::of_nccl;
  int32_t nccl = 0;                    // its version; 0: not there
  std::array<std::byte, 16> gpu_id{};  // zeros: none
};
constexpr int64_t card_words = sizeof(Card) / sizeof(int32_t);
static_assert(sizeof(Card) == 24);

Card own_card(const std::optional<RankGpu>& gpu) {
  Card card;
  card.sums = sums_as_asked();
  if (!gpu) return card;
  card.gpu_id = gpu_backend()->identity_of(gpu->index);
  if (const auto nccl = nccl::available(); nccl.api != nullptr) nccl.api->get_version(&card.nccl);
  return card;
}

std::vector<Card> exchange(ProcessGroup& host, const Card& own) {
  const auto account = std::make_shared<MemoryAccount>();
  const Tensor mine = Tensor::host({1, card_words}, DType::i32, account, Category::communication);
  Tensor all = Tensor::host({host.size(), card_words}, DType::i32, account, Category::communication);
  std::memcpy(mine.raw(), &own, sizeof own);
  host.all_gather(mine, all);
  std::vector<Card> cards(static_cast<size_t>(host.size()));
  std::memcpy(cards.data(), all.raw(), cards.size() * sizeof(Card));
  return cards;
}

// Why these ranks cannot use NCCL; empty where they can. The same on all of them.
std::string objection(const std::vector<Card>& cards) {
  if (cards[0].sums == NcclSums::in_rank_order && cards.size() > DeviceQueue::most_summands)
    return fmt::format("sums in rank order over NCCL are for {} ranks at most", DeviceQueue::most_summands);
  for (size_t rank = 0; rank < cards.size(); ++rank) {
    const Card& card = cards[rank];
    if (card.gpu_id == decltype(card.gpu_id){}) return fmt::format("rank {} of it has no GPU", rank);
    for (size_t other = 0; other < rank; ++other)
      if (cards[other].gpu_id == card.gpu_id)
        return fmt::format("ranks {} and {} of it share a GPU, which NCCL refuses", other, rank);
  }
  for (size_t rank = 0; rank < cards.size(); ++rank) {
    if (cards[rank].nccl == 0) return fmt::format("rank {} of it finds no NCCL", rank);
    if (cards[rank].nccl != cards[0].nccl)
      return fmt::format("ranks 0 and {} of it have different versions of NCCL ({} and {})", rank,
                         cards[0].nccl, cards[rank].nccl);
    if (cards[rank].sums != cards[0].sums)
      return fmt::format("ranks 0 and {} of it have different COLLIE_ENGINE_SUMS", rank);
  }
  return "";
}

// Copies on the host are not the device's memory: their account is their own.
std::shared_ptr<MeteredGroup> staged(std::shared_ptr<ProcessGroup> host) {
  return std::make_shared<MeteredGroup>(
      make_staged_group(std::move(host), std::make_shared<MemoryAccount>()));
}

}  // namespace

void choose_carriers(const std::optional<RankGpu>& gpu, BackgroundQueues queues, RankGroups& groups,
                     const std::function<void(const RankGroups&)>& publish) {
  if (gpu) groups.device.compute = gpu_backend()->queue_of(gpu->operations);
  const auto queue_for = [&](const Kind& kind) {
    const bool beside = kind.in_background && queues == BackgroundQueues::beside;
    return beside ? gpu_backend()->make_queue(gpu->index) : groups.device.compute;
  };
  const Card own = own_card(gpu);
  std::vector<std::shared_ptr<NcclGroup>> over_nccl;
  for (const Kind& kind : kinds) {
    auto& group = groups.*kind.member;
    auto& slot = groups.device.*kind.slot;
    if (!group) continue;
    const auto tell = [&](const std::string& how) {
      if (group->rank() == 0) log::info("{} of {} ranks: {}", kind.name, group->size(), how);
    };
    if (slot) {
      tell(fmt::format("in the memory of GPU {}, which they share", gpu->index));
      slot->queue = queue_for(kind);
      continue;
    }
    const std::string reason = objection(exchange(*group, own));
    if (!gpu) continue;
    if (!reason.empty()) {
      tell("through host memory: " + reason);
      group = staged(std::move(group));
      continue;
    }
    const auto nccl = nccl::available();
    tell(nccl.description + (own.sums == NcclSums::in_rank_order ? ", sums in rank order" : ""));
    slot = std::make_shared<DeviceSlot>(DeviceSlot{queue_for(kind)});
    over_nccl.push_back(
        make_nccl_group(*nccl.api, group, slot->queue, {kind.name, own.sums, gpu->operations.account()}));
    group = std::make_shared<MeteredGroup>(over_nccl.back());
  }
  publish(groups);
  for (const auto& group : over_nccl) group->connect();
}

}  // namespace collie
