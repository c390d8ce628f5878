// What each rank of a run contributes to the norm of a step's gradients, known to all of them from the layout
// alone.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "actors/model_worker.hpp"

namespace collie {

// [ranks][parts], in the order in which a rank's stages, and their norm_shares(), come. `settings` of any
// rank: what it says of the run counts.
std::vector<std::vector<NormPart>> norm_parts(const ModelWorkerSettings& settings);

// Where a parameter stands in canonical order, by its name.
std::unordered_map<std::string, int> canonical_order(const ModelConfig& model);

}  // namespace collie
