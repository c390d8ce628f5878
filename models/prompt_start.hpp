// Where virtual tokens begin as tokens of the vocabulary.
#pragma once

#include "io/weight_folder.hpp"
#include "kernels/operations.hpp"
#include "models/model_spec.hpp"
#include "models/parameter.hpp"

namespace collie {

// If the parameter is that of virtual tokens, and model.prompt.start_ids says as which tokens they begin:
// fills `weight` [tokens, hidden] with what these tokens are embedded as by the model in `folder`, its
// embedding's scale included, and returns true. Throws UserError like read_weights().
bool read_prompt_start(const ModelSpec& model, const Parameter& parameter, const WeightFolder& folder,
                       Operations& operations, Tensor& weight);

}  // namespace collie
