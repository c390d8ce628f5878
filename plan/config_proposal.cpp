#include "plan/config_proposal.hpp"

#include <algorithm>
#include <filesystem>

#include "base/error.hpp"
#include "io/config_comments.hpp"
#include "io/learning_rate_options.hpp"
#include "io/optimizer_options.hpp"
#include "models/loss.hpp"
#include "models/model_config.hpp"
#include "schedule/schedules.hpp"

namespace collie {
namespace {

constexpr int64_t longest_proposed_sequence = 1024;
// Common rates for training a model further: of all weights, and of LoRA's (Hu et al., arXiv 2106.09685).
constexpr double rate_of_all_weights = 2e-5, rate_of_adapters = 2e-4;

std::string name_of_folder(const std::string& folder) {
  const std::filesystem::path path = std::filesystem::weakly_canonical(folder);
  const std::string name = path.filename().string();
  return name.empty() ? "run" : name;
}

int64_t proposed_length(const ModelConfig& model) {
  const int64_t longest = model.max_position_embeddings;
  return longest > 0 ? std::min(longest, longest_proposed_sequence) : longest_proposed_sequence;
}

void propose_adapter(Config& config, const std::string& adapter) {
  COLLIE_ASSERT(adapter == "none" || adapter == "lora", "unknown adapter '{}'", adapter);
  config.optimizer.options.set("lr", adapter == "lora" ? rate_of_adapters : rate_of_all_weights);
  if (adapter == "none") return;
  config.peft.type = "lora";
  config.peft.r = 16;
  config.peft.lora_alpha = 32;
  config.peft.target_modules = {"all-linear"};
}

// The keys that a proposal shows, whatever their values.
std::vector<std::string> shown_keys(const Config& config) {
  std::vector<std::string> keys = {"run.name",
                                   "run.dir",
                                   "run.seed",
                                   "model.path",
                                   "model.dtype",
                                   "model.recompute",
                                   "data.train",
                                   "data.sequence_length",
                                   "data.packing",
                                   config.train.steps ? "train.steps" : "train.epochs",
                                   "train.micro_batch_size",
                                   "train.gradient_accumulation_steps",
                                   "train.clip_grad_norm",
                                   "parallel.dp_size",
                                   "parallel.tp_size",
                                   "parallel.pp_size",
                                   "parallel.zero_stage",
                                   "optimizer.name",
                                   "optimizer.lr",
                                   "optimizer.weight_decay",
                                   "lr_scheduler.name",
                                   "lr_scheduler.warmup_steps",
                                   "lr_scheduler.min_lr_ratio",
                                   "peft.type",
                                   "checkpoint.every_n_steps",
                                   "checkpoint.keep_last",
                                   "device.kind"};
  if (!config.data.eval.empty()) keys.insert(keys.end(), {"data.eval", "eval.every_n_steps"});
  if (config.peft.type == "lora")
    keys.insert(keys.end(), {"peft.r", "peft.lora_alpha", "peft.lora_dropout", "peft.target_modules",
                             "quantization.kind"});
  return keys;
}

}  // namespace

Config proposed_config(const ProposalWishes& wishes) {
  const ModelConfig model = load_model_config(wishes.model);
  Config config;
  config.run.name = wishes.name.empty() ? name_of_folder(wishes.model) : wishes.name;
  config.run.dir = "runs/" + config.run.name;
  config.model.path = wishes.model;
  config.data.train = {wishes.train};
  if (wishes.eval) config.data.eval = {*wishes.eval};
  config.data.sequence_length = wishes.sequence_length.value_or(proposed_length(model));
  config.train.steps = wishes.steps;
  if (!wishes.steps) config.train.epochs = wishes.epochs;
  config.train.micro_batch_size = 1;
  config.train.gradient_accumulation_steps = 16;
  propose_adapter(config, wishes.adapter);
  std::vector<std::string> warnings;
  check_config(config, warnings);
  require_training(config);
  return config;
}

std::string proposal_text(const Config& config) {
  const std::map<std::string, std::vector<std::string>> names = {
      {"optimizer.name", optimizer_declarations().names()},
      {"lr_scheduler.name", learning_rate_declarations().names()}};
  const std::string text =
      "# Made by `collie-engine init`; every value may be changed. With this file, `collie-engine data` "
      "shows the\n"
      "# data, `collie-engine plan` says what a run takes, and `collie-engine run` trains. "
      "docs/configuration.md\n"
      "# has all keys.\n" +
      commented_yaml(config, shown_keys(config), names);
  COLLIE_ASSERT(parse_config(text) == config, "the proposal does not read back");
  return text;
}

}  // namespace collie
