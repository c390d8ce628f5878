#include "runtime/group_transport.hpp"

#include <algorithm>
#include <cstdlib>
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
  std::string name;
  std::shared_ptr<MeteredGroup>& group;
  std::shared_ptr<DeviceSlot>& slot;
  bool in_background;
};

// The order is the same everywhere, because communicators are made one after another.
std::vector<Kind> kinds_of(RankGroups& groups) {
  RankDevice& device = groups.device;
  device.reduction_tree.resize(groups.reduction_tree.size());
  std::vector<Kind> kinds{{"tensor group", groups.tensor, device.tensor, false},
                          {"context group", groups.context, device.context, true},
                          {"key/value group", groups.key_value, device.key_value, false},
                          {"data group", groups.data, device.data, true}};
  for (size_t level = 0; level < groups.reduction_tree.size(); ++level)
    kinds.push_back({fmt::format("level {} of the reduction tree", level), groups.reduction_tree[level],
                     device.reduction_tree[level], false});
  return kinds;
}

// COLLIE_ENGINE_SUMS=rank_order: reductions over NCCL are also summed in rank order, as everywhere else. By
// default NCCL does the addition.
NcclSums sums_as_asked() {
  const char* const asked = std::getenv("COLLIE_ENGINE_SUMS");
  const std::string_view order = asked != nullptr ? asked : "nccl";
  if (order != "nccl" && order != "rank_order")
    throw UserError("COLLIE_ENGINE_SUMS: '{}' found; 'nccl' or 'rank_order' is right here", order);
  return order == "nccl" ? NcclSums::of_nccl : NcclSums::in_rank_order;
}

// The data that a rank sends to the others of its group.
struct Card {
  NcclSums sums = NcclSums::of_nccl;
  GpuCard gpu;
};

// Returns why these ranks cannot use NCCL; empty if they can. The result is the same on all of them.
std::string objection(const std::vector<Card>& cards) {
  if (cards[0].sums == NcclSums::in_rank_order && cards.size() > DeviceQueue::most_summands)
    return fmt::format("sums in rank order over NCCL are for {} ranks at most", DeviceQueue::most_summands);
  std::vector<GpuCard> gpus;
  std::vector<int> ranks;
  for (const Card& card : cards) {
    ranks.push_back(static_cast<int>(gpus.size()));
    gpus.push_back(card.gpu);
  }
  if (std::string why = nccl_objection(gpus, ranks, " of it"); !why.empty()) return why;
  for (size_t rank = 0; rank < cards.size(); ++rank)
    if (cards[rank].sums != cards[0].sums)
      return fmt::format("ranks 0 and {} of it have different COLLIE_ENGINE_SUMS", rank);
  return "";
}

bool any_gpu(const std::vector<Card>& cards) {
  return std::any_of(cards.begin(), cards.end(), [](const Card& card) { return card.gpu.has_gpu(); });
}

// Copies on the host are not device memory, so they have their own account.
std::shared_ptr<MeteredGroup> staged(std::shared_ptr<ProcessGroup> host) {
  return std::make_shared<MeteredGroup>(
      make_staged_group(std::move(host), std::make_shared<MemoryAccount>()));
}

}  // namespace

void choose_group_transport(const std::optional<RankGpu>& gpu, const RankProcess& process,
                            BackgroundQueues queues, RankGroups& groups,
                            const std::function<void(const RankGroups&)>& publish) {
  if (gpu) groups.device.compute = gpu_backend()->queue_of(gpu->operations);
  const auto queue_for = [&](const Kind& kind) {
    const bool beside = kind.in_background && queues == BackgroundQueues::beside;
    return beside ? gpu_backend()->make_queue(gpu->index) : groups.device.compute;
  };
  const Card own{sums_as_asked(), card_of(gpu, process)};
  std::vector<std::shared_ptr<NcclGroup>> over_nccl;
  for (const Kind& kind : kinds_of(groups)) {
    auto& [name, group, slot, in_background] = kind;
    if (!group) continue;
    const auto tell = [&](const std::string& how) {
      if (group->rank() == 0) log::info("{} of {} ranks: {}", kind.name, group->size(), how);
    };
    if (slot) {
      tell(fmt::format("in the memory of GPU {}, which they share", gpu->index));
      slot->queue = queue_for(kind);
      continue;
    }
    const std::vector<Card> cards = exchange(*group, own);
    if (const std::string reason = objection(cards); !reason.empty()) {
      if (any_gpu(cards)) tell("through host memory: " + reason);
      if (gpu) group = staged(std::move(group));
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
