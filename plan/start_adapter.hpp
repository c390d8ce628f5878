// The adapter that a run begins with where its values come from the model's weights (peft/start_source.hpp).
// It is kept in the run's folder, because what is left of the model is the same only with the same adapter.
#pragma once

#include <memory>
#include <string>

#include "io/checkpoint.hpp"
#include "plan/run_plan.hpp"

namespace collie {

inline constexpr const char* start_adapter_name = "start";  // of its folder in the run's

// Whether a run of the configuration writes one.
bool writes_start_adapter(const Config& config);
// Where it is.
std::string start_adapter_folder(const RunPlan& plan);

// For a run that starts, once its folder is there: writes the adapter, from which the plan's weights begin.
// Does nothing for other runs. Throws UserError or RunError naming a file.
void make_start_adapter(RunPlan& plan);

// The weights of the model under the plan's adapters: those in model.path, without what the adapters took out
// of them. Throws UserError if the folder does not fit the model, or the start adapter is gone.
std::shared_ptr<const CheckpointSource> base_source(const RunPlan& plan);

// What final/ has of a checkpoint of such a run: an adapter of the model as it is in model.path.
struct FinalAdapter {
  PeftSection peft;
  Checkpoint weights;
  nlohmann::ordered_json rank_pattern = {};  // of adapter_config.json, if it is not what `peft` has
};
FinalAdapter final_adapter(const RunPlan& plan, const Checkpoint& checkpoint);

}  // namespace collie
