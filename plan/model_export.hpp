// Writes the model of a checkpoint, or of a Hugging Face folder, to a Hugging Face folder, as a run writes
// final/: collie-engine export.
#pragma once

#include <string>

#include "plan/run_plan.hpp"

namespace collie {

// Checks that `folder` can be the folder of an exported model: it does not exist or is empty, and is not
// where the run of `config` keeps its own files. Throws UserError naming --out.
void check_export_folder(const std::string& folder, const Config& config);

// Of a model with adapters, their folder is written, or, to `merge`, that of the model with them merged into
// it. Writes the weights of a plan of plan_export() (the averages, if the optimizer evaluates these),
// config.json and the tokenizer's files, in config's model.dtype. The folder's parents are made. The folder
// appears as a whole or not at all. Throws UserError and RunError.
void export_model(const RunPlan& plan, const std::string& folder, bool merge = false);

}  // namespace collie
