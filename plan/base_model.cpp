#include "plan/base_model.hpp"

#include <memory>
#include <set>

#include "base/error.hpp"
#include "base/sha256.hpp"
#include "io/checkpoint_layers.hpp"
#include "io/file_hash.hpp"
#include "io/files.hpp"
#include "io/json_text.hpp"
#include "peft/adapter_folder.hpp"
#include "plan/start_adapter.hpp"

namespace collie {

namespace {

void check_no_more(const Checkpoint& checkpoint, const ModelSpec& model) {
  std::set<std::string> known;
  for (const NamedTensor& tensor : adapter_tensors(model)) known.insert(tensor.name);
  for (const CheckpointSource::Slice& slice : checkpoint.source()->slices())
    if (known.count(slice.name) == 0)
      throw UserError(
          "{}: it has '{}', which is nothing that peft trains in this configuration; the adapters must be "
          "those "
          "of the run",
          checkpoint.path(), slice.name);
}

}  // namespace

// The kind of adapters says more than their other keys, or their tensors, do.
static void check_type(const RunPlan& plan, const Checkpoint& checkpoint) {
  const nlohmann::json::json_pointer type("/maths/peft/type");
  const nlohmann::json then = checkpoint.metadata().value(type, nlohmann::json(plan.config.peft.type));
  if (then != plan.config.peft.type)
    throw UserError("{}: is {}, but the run of '{}' was trained with {}", plan.config.file.place("peft.type"),
                    plan.config.peft.type, checkpoint.path(), in_short(then));
}

std::optional<Checkpoint> over_base(const RunPlan& plan, std::optional<Checkpoint> checkpoint) {
  if (!checkpoint || !plan.model.has_adapters()) return checkpoint;
  check_type(plan, *checkpoint);
  std::shared_ptr<const CheckpointSource> base = base_source(plan);
  check_no_more(*checkpoint, plan.model);
  return Checkpoint(std::make_shared<const LayeredSource>(checkpoint->source(), std::move(base)));
}

void check_adapters_of_run(const RunPlan& plan) {
  const nlohmann::json maths = plan.checkpoint->metadata().value("maths", nlohmann::json::object());
  const nlohmann::json now = fingerprint(plan.config).at("peft");
  // Runs of versions without adapters had none.
  const nlohmann::json then = maths.value("peft", fingerprint(Config()).at("peft"));
  check_type(plan, *plan.checkpoint);
  for (const auto& [key, value] : then.items())
    if (now.contains(key) && now.at(key) != value)
      throw UserError("{}: is {}, but the run in '{}' was trained with {}",
                      plan.config.file.place("peft." + key), in_short(now.at(key)), plan.config.run.dir,
                      in_short(value));
  const nlohmann::json::json_pointer weights("/model/weights");
  if (!plan.model.has_adapters() || !maths.contains(weights)) return;
  const std::string cache = plan.config.run.dir + "/cache";
  if (maths.at(weights) != base_hash(plan, cache))
    throw UserError(
        "model.path: the weights in '{}' are not those that the adapters of the run in '{}' were trained "
        "for{}; put them back, or give another model.path",
        plan.config.model.path, plan.config.run.dir,
        plan.model.changes_base() ? ", or the run's start/ is not what they began with" : "");
}

std::string base_hash(const RunPlan& plan, const std::filesystem::path& cache) {
  std::vector<std::filesystem::path> files = WeightFolder(plan.config.model.path).files();
  const auto start = std::filesystem::path(start_adapter_folder(plan)) / adapter_weights_name;
  if (plan.model.changes_base() && entry_exists(start)) files.push_back(start);
  std::string hashes;
  for (const std::filesystem::path& path : files) {
    const FileHash hash(path.string(), cache);
    hash.remember();
    hashes += hash.sha256() + "\n";
  }
  return sha256_hex(std::as_bytes(std::span(hashes)));
}

}  // namespace collie
