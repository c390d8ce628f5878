#include "plan/final_folder.hpp"

#include "io/model_folder.hpp"
#include "io/weight_shards.hpp"
#include "models/pieces.hpp"
#include "peft/adapter_config.hpp"
#include "peft/adapter_folder.hpp"
#include "peft/prompt_files.hpp"
#include "plan/companion_files.hpp"
#include "plan/start_adapter.hpp"

namespace collie {
namespace {

// An adapter is small, and peft keeps it in float32 whatever the model is stored in.
AdapterContents adapter_contents(const RunPlan& plan, const FinalAdapter& adapter) {
  AdapterContents contents;
  Config config = plan.config;
  config.peft = adapter.peft;
  contents.config = adapter_config_of(config, plan.model);
  if (!adapter.rank_pattern.is_null()) contents.config["rank_pattern"] = adapter.rank_pattern;
  if (plan.model.prompt.exists())
    contents.names[prompt_tensor] = prompt_tensor;
  else
    for (const NamedTensor& tensor : adapter_tensors(plan.model))
      contents.names[tensor.name] = name_in_adapter(plan.model, tensor.name);
  const std::string& dtype = plan.config.model.save_dtype;
  if (dtype != "auto") contents.dtype = dtype;
  contents.others = plan.kept_files;
  return contents;
}

}  // namespace

void write_final_folder(const RunPlan& plan, const std::string& folder, const std::string& run,
                        const Checkpoint& checkpoint) {
  if (plan.model.has_adapters()) {
    const FinalAdapter adapter = final_adapter(plan, checkpoint);
    return write_adapter_folder(folder, run, adapter_contents(plan, adapter), *plan.tokenizer,
                                adapter.weights);
  }
  std::vector<std::string> names;
  for (const NamedTensor& tensor : tensors_of(model_parameters(plan.model))) names.push_back(tensor.name);
  write_model_folder(folder, run, plan.model_json, *plan.tokenizer, names, checkpoint,
                     shard_bytes_of(plan.config.checkpoint.max_shard_size, "checkpoint.max_shard_size"),
                     plan.kept_files);
}

}  // namespace collie
