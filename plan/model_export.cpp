#include "plan/model_export.hpp"

#include <filesystem>
#include <memory>

#include "base/error.hpp"
#include "io/files.hpp"
#include "io/model_folder.hpp"
#include "io/run_files.hpp"
#include "io/run_marker.hpp"
#include "io/weight_shards.hpp"
#include "models/model_folder_source.hpp"
#include "models/pieces.hpp"

namespace collie {

namespace fs = std::filesystem;

namespace {

// Absolute, and without a slash at its end: the folder's name with a suffix stands beside it.
std::string plain(const std::string& folder) {
  std::string path = fs::absolute(folder).lexically_normal().string();
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

Checkpoint weights_of(const RunPlan& plan) {
  if (plan.checkpoint) return *plan.checkpoint;
  return Checkpoint(std::make_shared<const ModelFolderSource>(plan.weights.path, plan.model));
}

}  // namespace

void check_export_folder(const std::string& folder, const Config& config) {
  if (folder.empty()) throw UserError("--out: is empty; the folder to be written is wanted");
  const std::string path = plain(folder);
  if (entry_exists(path) && !holds_nothing(path))
    throw UserError("--out: '{}' already exists, and export replaces nothing; give another folder", folder);
  if (config.run.dir.empty()) return;
  for (const char* own : {"final", "checkpoints"})
    if (is_within(fs::weakly_canonical(path), fs::weakly_canonical(fs::path(config.run.dir) / own)))
      throw UserError("--out: '{}' is where the run in '{}' keeps its own files; give another folder", folder,
                      config.run.dir);
}

void export_model(const RunPlan& plan, const std::string& folder) {
  const std::string path = plain(folder);
  const fs::path parent = fs::path(path).parent_path();
  std::error_code error;
  if (fs::create_directories(parent, error); error && !fs::is_directory(parent))
    throw UserError("--out: '{}' cannot be created: {}", parent.string(), error.message());
  std::vector<std::string> names;
  for (const NamedTensor& tensor : tensors_of(model_parameters(plan.model))) names.push_back(tensor.name);
  write_model_folder(path, new_run_id(), plan.model_json, *plan.tokenizer, names, weights_of(plan),
                     shard_bytes_of(plan.config.checkpoint.max_shard_size, "checkpoint.max_shard_size"),
                     plan.kept_files);
}

}  // namespace collie
