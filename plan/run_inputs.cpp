#include "plan/run_inputs.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "base/error.hpp"
#include "io/files.hpp"
#include "io/run_folder.hpp"

namespace collie {

namespace fs = std::filesystem;

namespace {

struct Input {
  std::string key, path;
};

void add_data(const std::vector<DataSource>& sources, const std::string& key, std::vector<Input>& inputs) {
  for (size_t i = 0; i < sources.size(); ++i)
    for (const std::string& path : expand_glob(sources[i].path))
      inputs.push_back({fmt::format("{}.{}.path", key, i), path});
}

std::vector<Input> inputs_of(const Config& config) {
  std::vector<Input> inputs = {{"model.path", config.model.path},
                               {"tokenizer.path", config.tokenizer.path},
                               {"peft.path", config.peft.path},
                               {"parallel.schedule", config.parallel.schedule},
                               {"cluster.tls.certificate", config.cluster.tls.certificate},
                               {"cluster.tls.key", config.cluster.tls.key},
                               {"cluster.tls.ca", config.cluster.tls.ca}};
  for (const std::string& path : config.plugins) inputs.push_back({"plugins", path});
  add_data(config.data.train, "data.train", inputs);
  add_data(config.data.eval, "data.eval", inputs);
  for (size_t i = 0; i < config.eval.sets.size(); ++i)
    for (const std::string& path : expand_glob(config.eval.sets[i].source.path))
      inputs.push_back({fmt::format("eval.sets.{}.path", i), path});
  // The resolved configuration that a run has written itself may describe the run again, so it does not
  // count.
  if (fs::path(config.file.path).filename() != resolved_config_name)
    inputs.push_back({"the configuration", config.file.path});
  return inputs;
}

void refuse_within(const std::vector<Input>& inputs, const fs::path& folder, const std::string& what) {
  std::error_code error;
  const fs::path whole = fs::canonical(folder, error);
  if (error) return;  // the folder does not exist
  for (const Input& input : inputs) {
    if (input.path.empty()) continue;
    const fs::path path = fs::canonical(input.path, error);
    if (error || !is_within(path, whole)) continue;
    throw UserError("{}: '{}' is in '{}', {}; copy it to another place, or give another run.dir", input.key,
                    input.path, folder.string(), what);
  }
}

}  // namespace

void check_inputs_are_safe(const Config& config, bool replaces) {
  const std::vector<Input> inputs = inputs_of(config);
  const fs::path folder = config.run.dir;
  if (replaces) refuse_within(inputs, folder, "which --overwrite would move or empty before it is read");
  refuse_within(inputs, folder / "final", "where this run writes its final model");
  refuse_within(inputs, folder / "checkpoints", "where this run writes and removes its checkpoints");
}

}  // namespace collie
