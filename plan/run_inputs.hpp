// A run must not write or remove a file that it reads.
#pragma once

#include "io/config.hpp"

namespace collie {

// Throws UserError naming the key and the file if a file that the configuration names is in checkpoints/ or
// final/ of the run's folder. Links are followed. `replaces`: the run in the folder is about to be moved or
// removed, so the file must not be anywhere in the folder.
void check_inputs_are_safe(const Config& config, bool replaces);

}  // namespace collie
