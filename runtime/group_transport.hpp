// The transport of a rank's groups. It is chosen when the rank has its device.
#pragma once

#include <functional>
#include <optional>

#include "runtime/gpu_card.hpp"
#include "runtime/rank_groups.hpp"

namespace collie {

// Whether background operations run in queues beside the rank's computation, or in one queue with it.
enum class BackgroundQueues { beside, one };

// Fills the slots of groups whose ranks share a GPU. In every other group all ranks choose the same transport
// for its tensors. They choose NCCL if each rank has a GPU of its own, NCCL has the same version everywhere,
// and no tensor that leaves a process must be encrypted. Otherwise they choose host memory. The log names the
// choice and the reason. Every rank of a group must call it, also a rank whose process has no GPU (`gpu`:
// none). `publish` gets the groups before communicators are made. Making them waits for all ranks until a
// group is aborted. Throws RunError if NCCL fails.
void choose_group_transport(const std::optional<RankGpu>& gpu, const RankProcess& process,
                            BackgroundQueues queues, RankGroups& groups,
                            const std::function<void(const RankGroups&)>& publish);

}  // namespace collie
