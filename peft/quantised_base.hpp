// What a configuration says of the codes that the model under adapters is held in (QLoRA).
#pragma once

#include "io/config.hpp"
#include "models/model_spec.hpp"

namespace collie {

// The scheme of config.quantization.
Quantisation quantisation_of(const QuantizationSection& section);

// Sets what config.quantization says of `model`. Throws UserError naming the key: for a pattern of
// quantization.skip that matches no matrix of the model's blocks, or if nothing is left to quantise.
void quantise_model(const Config& config, ModelSpec& model);

// For a training: throws UserError naming the key if quantised matrices are not frozen under adapters.
void check_quantised_is_frozen(const Config& config, const ModelSpec& model);

}  // namespace collie
