#include "app/checkpoint_option.hpp"

#include <filesystem>

#include "base/error.hpp"
#include "io/files.hpp"
#include "io/run_folder.hpp"

namespace collie {

namespace fs = std::filesystem;

namespace {

// The layout of the training is not that of what comes after it.
const std::vector<std::string> one_rank = {
    "parallel.dp_size=1",     "parallel.cp_size=1",        "parallel.tp_size=1",
    "parallel.pp_size=1",     "parallel.zero_stage=0",     "parallel.sequence_parallel=false",
    "parallel.schedule=1f1b", "parallel.virtual_stages=1", "parallel.partition=parameters",
    "parallel.offload=none",  "cluster.nodes=[]",          "callbacks=[]"};

// A run's paths are relative to the folder in which it was started.
void check_found(const std::string& folder, const std::string& key, const std::string& path) {
  if (path.empty() || may_be_there(path)) return;
  throw UserError(
      "{}: the run in '{}' has '{}', which is not there; start the command in the folder in which the run "
      "was "
      "started, or give --set {}=DIR",
      key, folder, path, key);
}

}  // namespace

void add_run_options(CLI::App& command, RunOptionValues& values) {
  CLI::Option* run = command.add_option("--run", values.run, "A run's folder, instead of --model");
  command
      .add_option("--checkpoint", values.checkpoint,
                  "With --run: which checkpoint, a step, best or last (the default)")
      ->needs(run);
}

CLI::Option* add_adapter_option(CLI::App& command, std::vector<std::string>& adapters) {
  return command
      .add_option(
          "--adapter", adapters,
          "[NAME=]DIR[@SCALE]: a folder of Hugging Face's peft, used with the model; may be given again")
      ->allow_extra_args(false);
}

CheckpointChoice choice_of(const RunOptionValues& values) {
  if (values.checkpoint.empty()) return CheckpointChoice::last();
  return parse_checkpoint_choice(values.checkpoint, "--checkpoint", false);
}

Config config_of_run(const std::string& folder, const std::vector<std::string>& settings) {
  const std::string file = (fs::path(folder) / resolved_config_name).string();
  if (!entry_exists(file))
    throw UserError("--run: there is no run in '{}': it holds no {}", folder, resolved_config_name);
  std::vector<std::string> all = one_rank, warnings;
  all.insert(all.end(), settings.begin(), settings.end());
  Config config = load_config(file, all, warnings, PluginSource::settings);
  config.run.dir = folder;
  config.peft.path.clear();  // the run's checkpoints have its adapters
  check_found(folder, "model.path", config.model.path);
  check_found(folder, "tokenizer.path", config.tokenizer.path);
  return config;
}

}  // namespace collie
