#include "runtime/rank_groups.hpp"

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <set>

#include "comm/linked_process_group.hpp"
#include "comm/slowed_group.hpp"
#include "runtime/reduction_tree.hpp"

namespace collie {
namespace {

struct GroupKind {
  std::function<std::shared_ptr<MeteredGroup>&(RankGroups&)> group;
  std::function<std::shared_ptr<DeviceSlot>&(RankDevice&)> slot;  // none: always on the host
  std::function<std::vector<int>(int)> ranks_with;                // empty: the rank is in no such group
};

// COLLIE_ENGINE_LINK="latency_us=50,gbps=0.5" imitates a network on one machine, for measurements.
std::vector<std::shared_ptr<ProcessGroup>> slowed_as_asked(std::vector<std::shared_ptr<ProcessGroup>> ends) {
  const char* const spec = std::getenv("COLLIE_ENGINE_LINK");
  return spec == nullptr ? std::move(ends) : slow_down(ends, parse_link_speed(spec));
}

GroupKind kind_of(std::shared_ptr<MeteredGroup> RankGroups::*group,
                  std::shared_ptr<DeviceSlot> RankDevice::*slot,
                  std::function<std::vector<int>(int)> ranks_with) {
  GroupKind kind;
  kind.group = [=](RankGroups & groups) -> auto& {
    return groups.*group;
  };
  if (slot != nullptr) kind.slot = [=](RankDevice & device) -> auto& {
      return device.*slot;
    };
  kind.ranks_with = std::move(ranks_with);
  return kind;
}

GroupKind level_of_reduction_tree(const Grid& grid, size_t level) {
  const auto at_level = [level](auto& levels) -> auto& {
    if (levels.size() <= level) levels.resize(level + 1);
    return levels[level];
  };
  return {[=](RankGroups & groups) -> auto& {return at_level(groups.reduction_tree);
}
, [=](RankDevice& device) -> auto& {
  return at_level(device.reduction_tree);
}
, [tree = ReductionTree(grid), level](int rank) {
  auto groups = tree.groups_of(rank);
  return level < groups.size() ? std::move(groups[level]) : std::vector<int>();
}
};  // namespace
}  // namespace collie

// The order is the same everywhere, because a group's number on a link is its index here.
std::vector<GroupKind> kinds_of(const Grid& grid, int key_value_heads) {
  using Groups = RankGroups;
  using Device = RankDevice;
  std::vector<GroupKind> kinds{
      kind_of(&Groups::tensor, &Device::tensor, [grid](int rank) { return grid.tensor_group(rank); }),
      kind_of(&Groups::context, &Device::context, [grid](int rank) { return grid.context_group(rank); }),
      kind_of(&Groups::key_value, &Device::key_value,
              [grid, key_value_heads](int rank) { return grid.key_value_group(rank, key_value_heads); }),
      kind_of(&Groups::data, &Device::data, [grid](int rank) { return grid.data_group(rank); }),
      kind_of(&Groups::pipeline, nullptr, [grid](int rank) { return grid.pipeline_group(rank); })};
  for (int level = 0; level < ReductionTree(grid).levels(); ++level)
    kinds.push_back(level_of_reduction_tree(grid, static_cast<size_t>(level)));
  return kinds;
}

bool share_a_gpu(const std::vector<int>& ranks, const DeviceChoice& device) {
  return std::all_of(ranks.begin(), ranks.end(),
                     [&](int rank) { return gpu_of(device, rank) == gpu_of(device, ranks.front()); });
}

// Returns the ends of a group in this process. Makes slots for `all` if the ends need them.
std::vector<std::shared_ptr<ProcessGroup>> local_ends(const GroupKind& kind, const std::vector<int>& ranks,
                                                      const DeviceChoice& device,
                                                      std::vector<RankGroups>& all) {
  if (!kind.slot || device.kind == DeviceKind::cpu || !share_a_gpu(ranks, device) ||
      ranks.size() > DeviceQueue::most_summands)
    return make_in_process_group(static_cast<int>(ranks.size()));
  std::vector<std::shared_ptr<DeviceSlot>> slots;
  for (const int rank : ranks) {
    slots.push_back(std::make_shared<DeviceSlot>());
    kind.slot(all[static_cast<size_t>(rank)].device) = slots.back();
  }
  return make_device_group(slots);
}

std::shared_ptr<CollectiveQueue> queue_of(const std::shared_ptr<MeteredGroup>& group,
                                          const std::shared_ptr<DeviceSlot>& slot, const RankDevice& device,
                                          const std::function<void()>& tell) {
  if (!group) return nullptr;
  DeviceOrder order{device.compute, slot ? slot->queue : nullptr};
  return std::make_shared<CollectiveQueue>(group, max_collectives_in_flight, tell, std::move(order));
}

}  // namespace

std::vector<RankGroups> make_local_groups(const Grid& grid, int key_value_heads,
                                          const std::vector<int>& node_of_rank, int node,
                                          const DeviceChoice& device) {
  std::vector<RankGroups> all(static_cast<size_t>(grid.ranks()));
  const auto is_here = [&](int rank) { return node_of_rank[static_cast<size_t>(rank)] == node; };
  for (const GroupKind& kind : kinds_of(grid, key_value_heads))
    for (int rank = 0; rank < grid.ranks(); ++rank) {
      // The group's first rank makes the ends of all its ranks.
      const std::vector<int> ranks = kind.ranks_with(rank);
      if (ranks.size() < 2 || ranks.front() != rank || !std::all_of(ranks.begin(), ranks.end(), is_here))
        continue;
      const auto ends = slowed_as_asked(local_ends(kind, ranks, device, all));
      for (size_t i = 0; i < ranks.size(); ++i)
        kind.group(all[static_cast<size_t>(ranks[i])]) = std::make_shared<MeteredGroup>(ends[i]);
    }
  return all;
}

void add_linked_groups(const Grid& grid, int key_value_heads, int rank,
                       const std::shared_ptr<comm::ByteLink>& link,
                       const std::shared_ptr<MemoryAccount>& account, RankGroups& groups) {
  uint32_t number = 0;
  std::set<const MeteredGroup*> made;
  for (const GroupKind& kind : kinds_of(grid, key_value_heads)) {
    const std::vector<int> ranks = kind.ranks_with(rank);
    if (ranks.size() > 1 && !kind.group(groups)) {
      kind.group(groups) = std::make_shared<MeteredGroup>(make_linked_group(link, ranks, number, account));
      made.insert(kind.group(groups).get());
    }
    ++number;
  }
  const auto spans = [&](const std::shared_ptr<MeteredGroup>& group) { return made.contains(group.get()); };
  groups.spans = {
      spans(groups.tensor), spans(groups.context), spans(groups.key_value), spans(groups.data), {}};
  for (const auto& level : groups.reduction_tree) groups.spans.reduction_tree.push_back(spans(level));
}

void add_queues(const std::function<void()>& tell_data, const std::function<void()>& tell_context,
                RankGroups& groups) {
  groups.data_queue = queue_of(groups.data, groups.device.data, groups.device, tell_data);
  groups.context_queue = queue_of(groups.context, groups.device.context, groups.device, tell_context);
}

void Connections::set_link(std::shared_ptr<comm::ByteLink> link) {
  const std::lock_guard lock(mutex_);
  link_ = std::move(link);
  if (aborted_) abort_all(*aborted_);
}

void Connections::set_groups(RankGroups groups) {
  const std::lock_guard lock(mutex_);
  groups_ = std::move(groups);
  if (aborted_) abort_all(*aborted_);
}

RankGroups Connections::groups() const {
  const std::lock_guard lock(mutex_);
  return groups_;
}

std::shared_ptr<comm::ByteLink> Connections::link() const {
  const std::lock_guard lock(mutex_);
  return link_;
}

std::shared_ptr<NcclPipe> Connections::pipe_to(int rank) const {
  const std::lock_guard lock(mutex_);
  const auto found = groups_.pipes.to.find(rank);
  return found != groups_.pipes.to.end() ? found->second : nullptr;
}

std::shared_ptr<NcclPipe> Connections::pipe_from(int rank) const {
  const std::lock_guard lock(mutex_);
  const auto found = groups_.pipes.from.find(rank);
  return found != groups_.pipes.from.end() ? found->second : nullptr;
}

void Connections::abort(const std::string& cause) {
  const std::lock_guard lock(mutex_);
  if (!aborted_) aborted_ = cause;
  abort_all(*aborted_);
}

void Connections::abort_all(const std::string& cause) {
  for (const auto& group :
       {groups_.tensor, groups_.context, groups_.key_value, groups_.data, groups_.pipeline})
    if (group) group->abort(cause);
  for (const auto& group : groups_.reduction_tree)
    if (group) group->abort(cause);
  for (const auto* const pipes : {&groups_.pipes.to, &groups_.pipes.from})
    for (const auto& [rank, pipe] : *pipes) pipe->abort(cause);
  for (const auto& queue : {groups_.data_queue, groups_.context_queue})
    if (queue) queue->abort(cause);
  if (link_) link_->abort(cause);
}

}  // namespace collie
