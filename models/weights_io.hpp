// A model's weights from Hugging Face's model.safetensors, by name.
#pragma once

#include <string>
#include <vector>

#include "kernels/operations.hpp"
#include "models/model_spec.hpp"
#include "models/parameter.hpp"

namespace collie {

// Checks folder/model.safetensors against the whole model, before anything is allocated for it. Throws
// UserError naming file, tensor, found and expected shapes where one is missing, misshapen or of a dtype that
// cannot be read. Returns the names of the tensors that the model has no use for, sorted; a head beside a
// tied embedding and what the family ignores (masks, rotary frequencies) are expected and not among them.
// Names may lack their first part ("h.0.ln_1.weight"), as those of models that were saved without their head.
std::vector<std::string> check_weights(const std::string& folder, const ModelSpec& model);

// Whether folder/model.safetensors has a head's matrix of other values than its embedding. false where one
// of the two is not there, or no such file. They are compared piece by piece, up to the first difference.
bool has_own_head(const std::string& folder, const ModelConfig& config);

// One warning's text for what check_weights returned; empty where that is empty.
std::string surplus_warning(const std::string& folder, const std::vector<std::string>& surplus);

// Fills weights[i] (of parameters[i]'s shape, allocated by the caller) from the tensor of that name, with the
// rectangle of it that the rank holds; F32, BF16, F16 and F64 are converted through float32. A stage asks for
// its own parameters only, tied copies included (they have their owner's name). Throws UserError like
// check_weights.
void read_weights(const std::string& folder, const std::vector<Parameter>& parameters, Operations& operations,
                  std::vector<Tensor>& weights);

}  // namespace collie
