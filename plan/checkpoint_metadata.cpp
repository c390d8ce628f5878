#include "plan/checkpoint_metadata.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "io/evaluated_checkpoints.hpp"
#include "io/json_text.hpp"
#include "models/pieces.hpp"
#include "plan/data_resume.hpp"
#include "plan/evaluated_metrics.hpp"

namespace collie {

namespace {

nlohmann::json averages_of(const RunPlan& plan) {
  const ParameterGroups optimizers(plan.config.optimizer);
  nlohmann::json averages = nlohmann::json::object();
  for (const NamedTensor& tensor : tensors_of(model_parameters(plan.model))) {
    if (!plan.model.trains(tensor.name)) continue;
    if (const auto average = optimizers.of(tensor.name, tensor.shape).optimizer->average())
      averages[tensor.name] = {
          {"state", average->state}, {"of_weight", average->of_weight}, {"of_state", average->of_state}};
  }
  return averages;
}

bool remembers(const std::vector<UpdateMemory>& memory) {
  return std::any_of(memory.begin(), memory.end(), [](const UpdateMemory& each) { return !each.empty(); });
}

// Whether the groups remember as many numbers each.
bool fits(const std::vector<UpdateMemory>& found, const std::vector<UpdateMemory>& wanted) {
  return std::equal(found.begin(), found.end(), wanted.begin(), wanted.end(),
                    [](const UpdateMemory& a, const UpdateMemory& b) { return a.size() == b.size(); });
}

}  // namespace

nlohmann::json checkpoint_metadata(const RunPlan& plan, const SnapshotExpected& expected) {
  nlohmann::json metadata{{"position", expected.position},
                          {"steps_without_targets", expected.steps_without_targets},
                          {"estimated_step", expected.estimated_step},
                          {"gradient_norm", expected.last_norm},
                          {"total_steps", plan.total_steps},
                          {"ranks", plan.layout.grid.ranks()},
                          {"maths", resume_fingerprint(plan)}};
  add_data_metadata(*plan.order, expected.position, metadata);
  if (expected.skipped_steps > 0) metadata["skipped_steps"] = expected.skipped_steps;
  if (!expected.callbacks.empty())
    metadata["callbacks"] = parse_json_object(expected.callbacks, "the callbacks' states");
  if (remembers(expected.memory)) metadata["memory"] = expected.memory;
  if (nlohmann::json averages = averages_of(plan); !averages.empty())
    metadata["averages"] = std::move(averages);
  if (expected.evaluation)
    metadata[evaluation_key] = evaluation_entry(*expected.evaluation, best_metric_of(plan));
  return metadata;
}

std::vector<UpdateMemory> memory_of(const Checkpoint& checkpoint, const ParameterGroups& optimizers) {
  const std::vector<UpdateMemory> initial = optimizers.memory();
  if (!remembers(initial)) return initial;
  std::vector<UpdateMemory> found;
  try {
    found = checkpoint.metadata().at("memory").get<std::vector<UpdateMemory>>();
  } catch (const nlohmann::json::exception& error) {
    throw UserError("{}: memory: {}; the numbers that its optimizers remember are wanted", checkpoint.path(),
                    error.what());
  }
  if (!fits(found, initial))
    throw UserError(
        "{}: memory: found that of other optimizer.groups, or of another optimizer.name; both must be those "
        "with which the run was started",
        checkpoint.path());
  return found;
}

}  // namespace collie
