// A model's weights from a Hugging Face folder (io/weight_folder.hpp), by name.
#pragma once

#include <string>
#include <vector>

#include "io/weight_folder.hpp"
#include "kernels/operations.hpp"
#include "models/model_spec.hpp"
#include "models/parameter.hpp"

namespace collie {

// Checks the folder's weights against the whole model, before anything is allocated for it. Throws UserError
// if tensors are missing, misshapen or of a dtype that cannot be read. The message lists them, and what is
// left over: file, found and expected shapes, at most some 10 names. Returns the names of the tensors that
// the model has no use for, sorted; a head beside a tied embedding and what the family ignores (masks, rotary
// frequencies) are expected and not among them. Names may lack their first part ("h.0.ln_1.weight"), as those
// of models that were saved without their head.
std::vector<std::string> check_weights(const std::string& folder, const ModelSpec& model);

// The same for any tensors, whose names are as they are in the folder. What is left over is returned, too.
std::vector<std::string> check_tensors(const WeightFolder& folder, const std::vector<NamedTensor>& expected);
// The first names of a list, for messages.
std::string a_few_tensors(const std::vector<std::string>& names);

// Whether the folder has a head's matrix of other values than its embedding. false where one of the two is
// not there or not of the model's shape, or no weights. They are compared piece by piece, up to the first
// difference.
bool has_own_head(const std::string& folder, const ModelConfig& config);

// One warning's text for what check_weights returned; empty where that is empty.
std::string surplus_warning(const std::string& folder, const std::vector<std::string>& surplus);

// Fills weights[i] (of parameters[i]'s shape, dense, allocated by the caller) from the tensor of that name,
// with the rectangle of it that the rank holds; F32, BF16, F16 and F64 are converted through float32. A stage
// asks for its own parameters only, tied copies included (they have their owner's name). Beside `weights` at
// most some MiB are in memory, and one tensor that PyTorch did not store row by row. Throws UserError like
// check_weights.
void read_weights(const WeightFolder& folder, const std::vector<Parameter>& parameters,
                  Operations& operations, std::vector<Tensor>& weights);

}  // namespace collie
