// Adapters that are virtual tokens (models/soft_prompt.hpp). Their kinds are in adapter_kind.hpp.
#pragma once

#include "io/config.hpp"

namespace collie {

// Throws UserError if a training cannot go on from config.peft.path, because that folder has what an encoder
// gave, and not the encoder.
void check_can_be_trained(const Config& config);

}  // namespace collie
