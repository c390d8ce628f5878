// What a run reads must not be what it writes or removes.
#pragma once

#include "io/config.hpp"

namespace collie {

// Throws UserError naming the key and the file where something that the configuration names stands, links
// followed, in checkpoints/ or final/ of the run's folder; `replaces`: anywhere in the folder, as the run in
// it is about to be moved or removed.
void check_inputs_are_safe(const Config& config, bool replaces);

}  // namespace collie
