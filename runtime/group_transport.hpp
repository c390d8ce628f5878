// What carries the tensors of a rank's groups, chosen when the rank has its device.
#pragma once

#include <functional>
#include <optional>

#include "runtime/gpu_card.hpp"
#include "runtime/rank_groups.hpp"

namespace collie {

// Whether operations in the background run beside what the rank computes, or in one queue with it.
enum class BackgroundQueues { beside, one };

// Fills the slots of groups whose ranks share a GPU. For the tensors of each other group all its ranks choose
// alike: NCCL, where each has a GPU of its own, the same NCCL is everywhere, and nothing that leaves a
// process must be encrypted; else host memory. The log says what and why. Every rank of a group must call it,
// also those whose process has no GPU (`gpu`: none). `publish` is given the groups before communicators are
// made, which waits for all ranks until a group is aborted. RunError where NCCL fails.
void choose_group_transport(const std::optional<RankGpu>& gpu, const RankProcess& process,
                            BackgroundQueues queues, RankGroups& groups,
                            const std::function<void(const RankGroups&)>& publish);

}  // namespace collie
