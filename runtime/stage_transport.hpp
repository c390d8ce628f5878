// What carries tensors between the stages of a rank's pipeline, chosen when the rank has its device.
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

// Between which pipeline positions tensors travel, (from, to), without those that stay on a rank.
using StageEdges = std::set<std::pair<int, int>>;
StageEdges stage_edges(const Layout& layout, bool training);

// For each edge both its ends choose alike: NCCL, where each has a GPU of its own and the same NCCL is there,
// whether they are in one process or, where nothing must be encrypted, in two; else what is done without it.
// The log says what and why. Every rank of the pipeline (`pipeline`: [positions] ranks) must call it with the
// same edges, also those whose process has no GPU
// (`gpu`: none). `publish` as for choose_group_transport(). RunError where NCCL fails.
void choose_stage_transport(const std::optional<RankGpu>& gpu, const RankProcess& process,
                            const StageEdges& edges, const std::vector<int>& pipeline, RankGroups& groups,
                            const std::function<void(const RankGroups&)>& publish);

}  // namespace collie
