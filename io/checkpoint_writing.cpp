// Writes and removes checkpoints in folders.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "base/error.hpp"
#include "base/failpoint.hpp"
#include "io/checkpoint_files.hpp"
#include "io/checkpoint_name.hpp"
#include "io/evaluated_checkpoints.hpp"
#include "io/files.hpp"
#include "io/run_files.hpp"
#include "io/run_marker.hpp"
#include "io/safetensors.hpp"

namespace collie {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr std::string_view partial_suffix = ".partial";

std::string complete_folder(const CheckpointPlace& place, int64_t step) {
  return (fs::path(place.folder) / checkpoint_name(step)).string();
}

std::string partial_folder(const CheckpointPlace& place, int64_t step) {
  return complete_folder(place, step) + std::string(partial_suffix);
}

std::string tensor_key(const CheckpointSlice& slice) {
  std::string key = slice.name + "|" + slice.state;
  for (const int64_t offset : slice.offsets) key += fmt::format("|{}", offset);
  return key;
}

std::string dtype_in_file(const CheckpointSlice& slice) {
  switch (slice.data.dtype()) {
    case DType::f32:
      return "F32";
    case DType::bf16:
      return "BF16";
    case DType::u8:
      return "U8";
    default:
      COLLIE_ASSERT(false, "slice {} is {}, not float32, bfloat16 or uint8", slice.name,
                    name(slice.data.dtype()));
      return "";
  }
}

SafetensorsItem item_of(const CheckpointSlice& slice) {
  const Tensor data = slice.data;
  COLLIE_ASSERT(data.contiguous(), "slice {} of {} is not dense", slice.name, slice.state);
  return {tensor_key(slice), dtype_in_file(slice), data.shape().to_vector(),
          [data] { return std::span(static_cast<const std::byte*>(data.raw()), data.bytes()); }};
}

std::map<std::string, std::string> files_of(const Manifest& manifest) {
  std::map<std::string, std::string> files = {{manifest_name, ""}};
  for (const ManifestFile& file : manifest.files) files[file.name] = "";
  return files;
}

void add_shard(const json& shard, Manifest& manifest) {
  const json& file = shard.at("file");
  manifest.files.push_back({file.at("name"), file.at("bytes"), file.at("sha256")});
  for (const json& slice : shard.at("slices"))
    manifest.slices.push_back({slice.at("name"), slice.at("state"), file.at("name"), slice.at("tensor"),
                               slice.at("dtype"), slice.at("global_shape"), slice.at("offsets"),
                               slice.at("shape")});
}

// Restores a checkpoint's damaged marker if the manifest says whose checkpoint it is.
void restore_marker(const std::string& folder, const std::string& run) {
  if (entry_type(folder) != fs::file_type::directory || find_marker(folder)) return;
  try {
    const Manifest manifest = read_manifest(folder);
    if (manifest.run == run) write_marker(folder, {run, files_of(manifest)});
  } catch (const UserError&) {
    return;  // nothing says whose it is, so it stays
  }
}

// The step of a checkpoint's folder, or of a folder that is being written.
std::optional<int64_t> step_of_folder(std::string name) {
  for (const std::string_view suffix : {discarded_suffix, partial_suffix})
    if (name.ends_with(suffix)) name.resize(name.size() - suffix.size());
  return step_of_checkpoint(name);
}

void discard(const fs::path& folder, const std::string& run) {
  restore_marker(folder.string(), run);
  discard_folder(folder.string(), run);
}

// Says whether it is a complete folder of the run.
bool is_whole(const CheckpointPlace& place, int64_t step) {
  const std::string folder = complete_folder(place, step);
  restore_marker(folder, place.run);
  return is_of_run(folder, place.run) && fs::exists(fs::path(folder) / manifest_name);
}

// The newest steps up to `newest_step` for which the run has complete folders.
std::set<std::string> newest_names(const CheckpointPlace& place, int64_t newest_step, int64_t keep_last) {
  std::set<std::string> kept;
  const auto steps = checkpoint_steps(place.folder);
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    if (*step > newest_step || static_cast<int64_t>(kept.size()) >= std::max<int64_t>(keep_last, 1)) continue;
    if (is_whole(place, *step)) kept.insert(checkpoint_name(*step));
  }
  return kept;
}

// The best of the steps up to `newest_step`.
std::set<std::string> best_names(const CheckpointPlace& place, int64_t newest_step, int64_t keep_best) {
  std::set<std::string> kept;
  if (keep_best == 0) return kept;
  std::vector<EvaluatedCheckpoint> evaluated = evaluated_checkpoints(place.folder);
  std::erase_if(evaluated, [&](const auto& each) { return each.step > newest_step; });
  for (const EvaluatedCheckpoint& each : best_first(evaluated))
    if (static_cast<int64_t>(kept.size()) < keep_best && is_whole(place, each.step))
      kept.insert(checkpoint_name(each.step));
  return kept;
}

// Those of steps up to `newest_step` that `every` divides.
std::set<std::string> regular_names(const CheckpointPlace& place, int64_t newest_step, int64_t every) {
  std::set<std::string> kept;
  if (every == 0) return kept;
  for (const int64_t step : checkpoint_steps(place.folder))
    if (step <= newest_step && step % every == 0 && is_whole(place, step)) kept.insert(checkpoint_name(step));
  return kept;
}

// Removes the run's checkpoints and the beginnings of one, except those whose names are in `kept`.
void discard_all_but(const CheckpointPlace& place, const std::set<std::string>& kept) {
  std::vector<fs::path> doomed;
  std::error_code error;
  for (fs::directory_iterator it(place.folder, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (step_of_folder(name) && !kept.count(name)) doomed.push_back(it->path());
  }
  for (const fs::path& folder : doomed) discard(folder, place.run);
}

}  // namespace

std::vector<int64_t> checkpoint_steps(const std::string& folder) {
  std::vector<int64_t> steps;
  std::error_code error, ignored;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    if (const auto step = step_of_checkpoint(it->path().filename().string());
        step && it->is_directory(ignored))
      steps.push_back(*step);
  std::sort(steps.begin(), steps.end());
  return steps;
}

std::string CheckpointFolderSink::begin(int64_t step) {
  std::error_code error;
  // Somebody may have removed this folder alone. The caller must check that the folder around it exists.
  if (fs::create_directory(place_.folder, error); error)
    throw RunError("{}: cannot be created: {}", place_.folder, error.message());
  begin_folder(partial_folder(place_, step), place_.run);
  failpoint("checkpoint.begin");
  return partial_folder(place_, step);
}

json CheckpointFolderSink::write_shard(const std::string& token, int index,
                                       const std::vector<CheckpointSlice>& slices) {
  const std::string file = fmt::format("shard-{:05}.safetensors", index);
  json entry = {{"slices", json::array()}};
  std::vector<SafetensorsItem> items;
  for (const auto& slice : slices) {
    items.push_back(item_of(slice));
    entry["slices"].push_back({{"name", slice.name},
                               {"state", slice.state},
                               {"tensor", items.back().name},
                               {"dtype", items.back().dtype},
                               {"global_shape", slice.global_shape.to_vector()},
                               {"offsets", slice.offsets},
                               {"shape", slice.data.shape().to_vector()}});
  }
  failpoint("checkpoint.shard");
  const WrittenSafetensors written = write_safetensors(fs::path(token) / file, items, true);
  entry["file"] = {{"name", file}, {"bytes", written.bytes}, {"sha256", written.sha256}};
  return entry;
}

std::string CheckpointFolderSink::seal(int64_t step, const json& metadata, const std::vector<json>& shards) {
  const std::string partial = partial_folder(place_, step), complete = complete_folder(place_, step);
  Manifest manifest{step, place_.run, metadata, {}, {}};
  for (const json& shard : shards) add_shard(shard, manifest);
  failpoint("checkpoint.manifest");
  write_file_durably((fs::path(partial) / manifest_name).string(), text_of(manifest));
  failpoint("checkpoint.rename");
  restore_marker(complete, place_.run);
  // It takes one rename, so that at every moment the step is there as a whole or not at all, even if a
  // checkpoint of the same step exists (a resumed run that stopped again at once).
  publish_folder(partial, complete, place_.run, files_of(manifest));
  failpoint("checkpoint.renamed");
  clear_replaced(partial, complete, place_.run);
  return complete;
}

void CheckpointFolderSink::abandon(int64_t step) noexcept {
  discard_folder(partial_folder(place_, step), place_.run);
}

std::string write_checkpoint(CheckpointSink& sink, int64_t step, const json& metadata,
                             const std::vector<std::vector<CheckpointSlice>>& parts) {
  try {
    const std::string token = sink.begin(step);
    std::vector<json> shards;
    for (size_t i = 0; i < parts.size(); ++i)
      shards.push_back(sink.write_shard(token, static_cast<int>(i), parts[i]));
    return sink.seal(step, metadata, shards);
  } catch (...) {
    sink.abandon(step);
    throw;
  }
}

void purge_checkpoints(const CheckpointPlace& place, int64_t newest_step, const KeptCheckpoints& keep) {
  failpoint("checkpoint.purge");
  std::set<std::string> kept = newest_names(place, newest_step, keep.last);
  kept.merge(best_names(place, newest_step, keep.best));
  kept.merge(regular_names(place, newest_step, keep.every));
  discard_all_but(place, kept);
}

void discard_checkpoints(const CheckpointPlace& place) {
  discard_all_but(place, {});
}

}  // namespace collie
