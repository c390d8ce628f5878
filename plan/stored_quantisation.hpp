// What a folder whose model bitsandbytes quantised says in its config.json.
#pragma once

#include "io/config.hpp"
#include "models/config_reader.hpp"

namespace collie {

// Takes quantization_config out of `keys`, if it is of bitsandbytes and of the folder, and lets
// config.quantization be as it says. Throws UserError naming the key: if config.quantization is given
// otherwise, or for what the engine does not have.
void use_stored_quantisation(Config& config, ModelKeys& keys);

}  // namespace collie
