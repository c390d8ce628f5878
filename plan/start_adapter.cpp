#include "plan/start_adapter.hpp"

#include <filesystem>

#include "base/error.hpp"
#include "base/log.hpp"
#include "io/checkpoint_layers.hpp"
#include "io/files.hpp"
#include "io/model_folder.hpp"
#include "models/dequantised_source.hpp"
#include "models/weights_io.hpp"
#include "peft/adapter_config.hpp"
#include "peft/adapter_folder.hpp"
#include "peft/allocated_source.hpp"
#include "peft/merged_source.hpp"
#include "peft/prompt_files.hpp"
#include "peft/start_source.hpp"
#include "plan/base_model.hpp"

namespace collie {

namespace fs = std::filesystem;

namespace {

Checkpoint weights_in_model_path(const RunPlan& plan) {
  return Checkpoint(weights_of_folder(plan.config.model.path, plan.model, dtype_of(plan.config.model)));
}

AdapterContents contents_of_start(const RunPlan& plan) {
  AdapterContents contents;
  contents.config = adapter_config_of(plan.config, plan.model);
  for (const NamedTensor& tensor : adapter_tensors(plan.model))
    contents.names[tensor.name] = name_in_adapter(plan.model, tensor.name);
  return contents;
}

AdapterFolderSource start_source_in_run(const RunPlan& plan) {
  const std::string folder = start_adapter_folder(plan);
  if (!entry_exists(fs::path(folder) / adapter_weights_name))
    throw UserError(
        "{}: missing; it has what the adapters of the run took out of the model, without which their values "
        "mean nothing; put it back",
        folder);
  AdapterFolder(folder).check(plan.model);
  return AdapterFolderSource({"", folder}, plan.model);
}

}  // namespace

bool writes_start_adapter(const Config& config) {
  const PeftSection& peft = config.peft;
  if (peft.type != "lora" || !peft.path.empty()) return false;
  return peft.use_dora || peft.init_lora_weights == "pissa" || peft.init_lora_weights == "olora";
}

std::string start_adapter_folder(const RunPlan& plan) {
  if (!plan.weights.start.empty()) return plan.weights.start;
  return (fs::path(plan.config.run.dir) / start_adapter_name).string();
}

void make_start_adapter(RunPlan& plan) {
  if (plan.checkpoint || !writes_start_adapter(plan.config)) return;
  log::info("computing what {} adapters begin with from the weights in '{}'", plan.model.adapters.size(),
            plan.config.model.path);
  const std::string folder = start_adapter_folder(plan);
  const Checkpoint start(
      std::make_shared<const StartSource>(weights_in_model_path(plan), plan.model, plan.config.run.seed));
  write_adapter_folder(folder, plan.folder->run(), contents_of_start(plan), *plan.tokenizer, start);
  plan.weights.start = folder;
  plan.weights.adapters = {{"", folder}};
  plan.base_hash = base_hash(plan, plan.config.run.dir + "/cache");
}

std::shared_ptr<const CheckpointSource> base_source(const RunPlan& plan) {
  const std::string& folder = plan.config.model.path;
  check_weights(folder, plan.model.base());
  const auto model = weights_of_folder(folder, plan.model, dtype_of(plan.config.model));
  if (!plan.model.changes_base()) return model;
  const auto start = std::make_shared<const AdapterFolderSource>(start_source_in_run(plan));
  return std::make_shared<const MergedSource>(Checkpoint(std::make_shared<const LayeredSource>(start, model)),
                                              plan.model, true);
}

FinalAdapter final_adapter(const RunPlan& plan, const Checkpoint& checkpoint) {
  if (plan.model.prompt.exists())
    return {plan.config.peft, Checkpoint(std::make_shared<const PromptSource>(checkpoint, plan.model))};
  if (!plan.model.adapters.empty() && plan.model.adapters.begin()->second.front().is_allocated) {
    const auto kept = std::make_shared<const AllocatedSource>(checkpoint, plan.model);
    PeftSection peft = plan.config.peft;
    if (!peft.total_step && plan.total_steps > 0) peft.total_step = plan.total_steps;
    return {std::move(peft), Checkpoint(kept), kept->rank_pattern()};
  }
  if (!plan.model.changes_base()) return {plan.config.peft, checkpoint};
  const Checkpoint start(std::make_shared<const AdapterFolderSource>(start_source_in_run(plan)));
  return {equivalent_adapter(plan.config.peft),
          Checkpoint(std::make_shared<const EquivalentSource>(checkpoint, start, plan.model))};
}

}  // namespace collie
