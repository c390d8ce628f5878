// Where the weights of a rank's part of the model come from.
#pragma once

#include "optim/sharded_state.hpp"
#include "runtime/model_worker.hpp"

namespace collie {

// Fills `state`, which is that of `model`: from settings.checkpoint, if there is one; else each parameter
// from the adapters' folders, the rows that virtual tokens begin as, settings.base, settings.weights_folder
// or, if none of them has it, the seed. The codes of quantised matrices are always those of
// settings.quantised_folder, because checkpoints do not hold them. Throws UserError naming the file.
void load_weights(const ModelWorkerSettings& settings, const StageModel& model, Operations& operations,
                  ShardedState& state);

}  // namespace collie
