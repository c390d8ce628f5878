// What a configuration says of a model beside its architecture: adapters, and what is trained.
#pragma once

#include <string>
#include <vector>

#include "io/config.hpp"
#include "models/model_spec.hpp"

namespace collie {

// The model that `config` trains or uses: of the architecture, with config.peft's adapters, with what
// model.frozen, train.trainable and config.peft let be trained. Which matrices a pattern of
// peft.target_modules means: each whose module name (the tensor's without ".weight"), or what is behind one
// of its dots, matches it. Throws UserError naming the key: for a pattern that matches no matrix (with the
// names that there are), a rank beyond a matrix's sides, a block that the model does not have, a module of
// modules_to_save that is tied to another or has an adapter.
ModelSpec model_of_config(const Config& config, ModelConfig architecture);

// For LoRA+: adds the group of parameters of which the matrices B are. Does nothing if it is there.
void add_loraplus_group(Config& config);

}  // namespace collie
