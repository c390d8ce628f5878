// What a checkpoint says of the data that its run has read, and how a resumed run goes on in them.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "io/sequence_order.hpp"

namespace collie {

// Adds to a checkpoint's metadata what its sources were ("sources"), and, unless all weights have always been
// 1, how the epochs from `position` on are mixed ("mixture"). `position`: sequences consumed.
void add_data_metadata(const SequenceOrder& order, int64_t position, nlohmann::json& metadata);

// How a run mixes its sources that goes on at `metadata`'s position with the weights of `planned`, the order
// of a run that begins. Where the weights are others than before, the epoch that is under way is finished
// with those before it, and every source goes on at its own place. Throws UserError naming what the
// checkpoint has, if it does not fit the sources.
std::vector<MixturePhase> resumed_phases(const SequenceOrder& planned, const nlohmann::json& metadata,
                                         const std::string& checkpoint);

// In which source, and in what of it, `data` differ from those of the checkpoint, in words. Empty if the
// checkpoint does not say what its sources were.
std::string changed_source(const Dataset& data, const nlohmann::json& metadata);

// The weights as one text: "1, 0.5", or "1 for each source".
std::string words_of_weights(const std::vector<int64_t>& weights);

}  // namespace collie
