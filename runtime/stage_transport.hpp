// The transport between the stages of a rank's pipeline. It is chosen when the rank has its device.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "runtime/gpu_card.hpp"
#include "runtime/program.hpp"
#include "runtime/rank_groups.hpp"

namespace collie {

// The pairs of pipeline positions (from, to) between which tensors travel, without tensors that stay on a
// rank.
using StageEdges = std::set<std::pair<int, int>>;
StageEdges stage_edges(const Layout& layout, bool training);

// Both ends of each edge choose the same transport. They choose NCCL if each has a GPU of its own and both
// have the same NCCL. The ends may be in one process, or in two if nothing must be encrypted. Otherwise
// tensors travel without NCCL. The log names the choice and the reason. Every rank of the pipeline
// (`pipeline`: [positions] ranks) must call it with the same edges, also a rank whose process has no GPU
// (`gpu`: none). `publish` is as for choose_group_transport(). Throws RunError if NCCL fails.
void choose_stage_transport(const std::optional<RankGpu>& gpu, const RankProcess& process,
                            const StageEdges& edges, const std::vector<int>& pipeline, RankGroups& groups,
                            const std::function<void(const RankGroups&)>& publish);

}  // namespace collie
