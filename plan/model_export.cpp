#include "plan/model_export.hpp"

#include <filesystem>
#include <memory>

#include "base/error.hpp"
#include "io/checkpoint_layers.hpp"
#include "io/files.hpp"
#include "io/run_files.hpp"
#include "io/run_marker.hpp"
#include "models/dequantised_source.hpp"
#include "peft/adapter_folder.hpp"
#include "peft/merged_source.hpp"
#include "plan/final_folder.hpp"

namespace collie {

namespace fs = std::filesystem;

namespace {

// Absolute, and without a slash at its end: the folder's name with a suffix stands beside it.
std::string plain(const std::string& folder) {
  std::string path = fs::absolute(folder).lexically_normal().string();
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

// The weights of the plan's model, adapters included.
Checkpoint weights_of(const RunPlan& plan) {
  if (plan.checkpoint) return *plan.checkpoint;
  std::shared_ptr<const CheckpointSource> all =
      weights_of_folder(plan.weights.path, plan.model, dtype_of(plan.config.model));
  for (const AdapterOrigin& origin : plan.weights.adapters)
    all = std::make_shared<const LayeredSource>(
        std::make_shared<const AdapterFolderSource>(origin, plan.model), all);
  return Checkpoint(all);
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

void export_model(const RunPlan& plan, const std::string& folder, bool merge) {
  if (merge && !plan.model.has_adapters())
    throw UserError(
        "--merge: there are no adapters to merge; give --adapter DIR, or --run of a run with peft");
  if (merge && plan.model.bottleneck)
    throw UserError(
        "--merge: these adapters are layers of their own, which no matrix of the model can take up; use them "
        "with --adapter");
  if (merge && plan.model.prompt.exists())
    throw UserError(
        "--merge: the adapter is virtual tokens, which are no part of any matrix, so they cannot be merged "
        "into "
        "the model; --adapter uses them with it");
  const std::string path = plain(folder);
  const fs::path parent = fs::path(path).parent_path();
  std::error_code error;
  if (fs::create_directories(parent, error); error && !fs::is_directory(parent))
    throw UserError("--out: '{}' cannot be created: {}", parent.string(), error.message());
  if (!merge && !plan.adapters.empty())
    throw UserError("--adapter: an adapter's folder is one already; --merge is wanted beside it");
  if (!merge) return write_final_folder(plan, path, new_run_id(), weights_of(plan));
  RunPlan merged = plan;
  merged.model = plan.model.base();
  write_final_folder(merged, path, new_run_id(),
                     Checkpoint(std::make_shared<const MergedSource>(weights_of(plan), plan.model)));
}

}  // namespace collie
