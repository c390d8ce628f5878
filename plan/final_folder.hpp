// The folder that a training ends with, and that export writes: the model's, or that of its adapters.
#pragma once

#include <string>

#include "io/checkpoint.hpp"
#include "plan/run_plan.hpp"

namespace collie {

// Writes the weights that `checkpoint` evaluates, of the plan's model, to `folder` for `run`
// (io/model_folder.hpp): a Hugging Face folder, or, of a model with adapters, a folder of peft. Throws as
// write_model_folder().
void write_final_folder(const RunPlan& plan, const std::string& folder, const std::string& run,
                        const Checkpoint& checkpoint);

}  // namespace collie
