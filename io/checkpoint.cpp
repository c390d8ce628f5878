#include "io/checkpoint.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>

#include "base/error.hpp"
#include "base/failpoint.hpp"
#include "base/log.hpp"
#include "io/checkpoint_manifest.hpp"
#include "io/files.hpp"
#include "io/safetensors.hpp"

namespace collie {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr const char* partial_suffix = ".partial";

std::string folder_name(int64_t step) {
  return fmt::format("step-{:08}", step);
}

// The step of a complete checkpoint's folder name, or -1.
int64_t step_of(const std::string& name) {
  if (name.size() < 13 || name.rfind("step-", 0) != 0) return -1;
  const std::string digits = name.substr(5);
  if (digits.find_first_not_of("0123456789") != std::string::npos) return -1;
  return std::stoll(digits);
}

std::vector<int64_t> complete_steps(const std::string& folder) {
  std::vector<int64_t> steps;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const int64_t step = step_of(entry.path().filename().string());
    if (step >= 0) steps.push_back(step);
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

std::string tensor_key(const CheckpointSlice& slice) {
  std::string key = slice.name + "|" + slice.state;
  for (const int64_t offset : slice.offsets) key += fmt::format("|{}", offset);
  return key;
}

std::vector<int64_t> dims(const Shape& shape) {
  std::vector<int64_t> all;
  for (int axis = 0; axis < shape.rank(); ++axis) all.push_back(shape[axis]);
  return all;
}

SafetensorsItem item_of(const CheckpointSlice& slice) {
  const Tensor data = slice.data;
  const bool narrow = data.dtype() == DType::bf16;
  COLLIE_ASSERT(data.contiguous() && (narrow || data.dtype() == DType::f32),
                "slice {} is {}, not dense float32 or bfloat16", slice.name, name(data.dtype()));
  return {tensor_key(slice), narrow ? "BF16" : "F32", dims(data.shape()),
          [data] { return std::span(static_cast<const std::byte*>(data.raw()), data.bytes()); }};
}

// One rename, so that at every moment the step is there as a whole or not at all. Where a checkpoint of the
// same step exists (a resumed run that stopped again at once), the two folders are exchanged and the old one
// removed.
void publish(const fs::path& partial, const fs::path& complete) {
  failpoint("checkpoint.rename");
  const bool replace = fs::exists(complete);
  if (::renameat2(AT_FDCWD, partial.c_str(), AT_FDCWD, complete.c_str(), replace ? RENAME_EXCHANGE : 0) != 0)
    throw RunError("{}: cannot be renamed to {}: {}", partial.string(), complete.string(),
                   std::strerror(errno));
  fsync_directory(complete.parent_path().string());
  failpoint("checkpoint.renamed");
  std::error_code ignored;
  if (replace) fs::remove_all(partial, ignored);
}

}  // namespace

namespace {

fs::path complete_folder(const std::string& folder, int64_t step) {
  return fs::path(folder) / folder_name(step);
}

fs::path partial_folder(const std::string& folder, int64_t step) {
  return complete_folder(folder, step).string() + partial_suffix;
}

}  // namespace

std::string begin_checkpoint(const std::string& folder, int64_t step) {
  const fs::path partial = partial_folder(folder, step);
  std::error_code error;
  fs::remove_all(partial, error);
  if (fs::create_directories(partial, error); error)
    throw RunError("{}: cannot be created: {}", partial.string(), error.message());
  failpoint("checkpoint.begin");
  return partial.string();
}

json write_checkpoint_shard(const std::string& partial, int index,
                            const std::vector<CheckpointSlice>& slices) {
  const std::string file = fmt::format("shard-{:05}.safetensors", index);
  json entry = {{"slices", json::array()}};
  std::vector<SafetensorsItem> items;
  for (const auto& slice : slices) {
    items.push_back(item_of(slice));
    entry["slices"].push_back({{"name", slice.name},
                               {"state", slice.state},
                               {"file", file},
                               {"tensor", items.back().name},
                               {"global_shape", dims(slice.global_shape)},
                               {"offsets", slice.offsets},
                               {"shape", dims(slice.data.shape())}});
  }
  failpoint("checkpoint.shard");
  const WrittenSafetensors written = write_safetensors(fs::path(partial) / file, items, true);
  entry["file"] = {{"name", file}, {"bytes", written.bytes}, {"sha256", written.sha256}};
  return entry;
}

std::string finish_checkpoint(const std::string& folder, int64_t step, const json& metadata,
                              const std::vector<json>& shards) {
  const fs::path partial = partial_folder(folder, step), complete = complete_folder(folder, step);
  json manifest = {{"format", checkpoint_format},
                   {"step", step},
                   {"metadata", metadata},
                   {"files", json::array()},
                   {"slices", json::array()}};
  for (const json& shard : shards) {
    manifest["files"].push_back(shard.at("file"));
    for (const json& slice : shard.at("slices")) manifest["slices"].push_back(slice);
  }
  failpoint("checkpoint.manifest");
  write_file_durably((partial / manifest_name).string(), manifest.dump(1) + "\n");
  fsync_directory(partial.string());
  publish(partial, complete);
  return complete.string();
}

void abandon_checkpoint(const std::string& folder, int64_t step) noexcept {
  std::error_code ignored;
  fs::remove_all(partial_folder(folder, step), ignored);
}

std::string write_checkpoint(const std::string& folder, int64_t step, const json& metadata,
                             const std::vector<std::vector<CheckpointSlice>>& parts) {
  try {
    const std::string partial = begin_checkpoint(folder, step);
    std::vector<json> shards;
    for (size_t i = 0; i < parts.size(); ++i)
      shards.push_back(write_checkpoint_shard(partial, static_cast<int>(i), parts[i]));
    return finish_checkpoint(folder, step, metadata, shards);
  } catch (...) {
    abandon_checkpoint(folder, step);
    throw;
  }
}

void purge_checkpoints(const std::string& folder, int64_t newest_step, int64_t keep_last) {
  failpoint("checkpoint.purge");
  std::vector<fs::path> condemned;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (entry.path().extension() == partial_suffix) condemned.push_back(entry.path());
  auto steps = complete_steps(folder);
  const auto later = std::upper_bound(steps.begin(), steps.end(), newest_step);
  const int64_t up_to_newest = later - steps.begin(), kept = std::max<int64_t>(keep_last, 1);
  // What stays is cut out of the list; what is left goes.
  steps.erase(steps.begin() + std::max<int64_t>(up_to_newest - kept, 0), later);
  for (const int64_t step : steps) {
    // Renamed first: a folder that is being removed must not look complete after a crash.
    const fs::path doomed = fs::path(folder) / folder_name(step);
    const fs::path renamed = doomed.string() + partial_suffix;
    fs::rename(doomed, renamed, error);
    if (!error) condemned.push_back(renamed);
  }
  for (const auto& path : condemned) fs::remove_all(path, error);
}

Checkpoint Checkpoint::open(const std::string& path) {
  const json manifest = read_manifest(path);
  Checkpoint checkpoint;
  checkpoint.path_ = path;
  checkpoint.step_ = manifest.at("step").get<int64_t>();
  checkpoint.metadata_ = manifest.at("metadata");
  for (const auto& file : manifest.at("files")) {
    const std::string name = file.at("name");
    checkpoint.files_[name] = std::make_shared<const SafetensorsFile>(fs::path(path) / name);
  }
  for (const auto& slice : manifest.at("slices"))
    checkpoint.entries_[{slice.at("name"), slice.at("state")}].push_back(
        {slice.at("file"), slice.at("tensor"), slice.at("global_shape"), slice.at("offsets"),
         slice.at("shape")});
  return checkpoint;
}

namespace {

bool overlap(const std::vector<int64_t>& a_offsets, const std::vector<int64_t>& a_shape,
             const std::vector<int64_t>& b_offsets, const std::vector<int64_t>& b_shape) {
  for (size_t axis = 0; axis < a_offsets.size(); ++axis)
    if (a_offsets[axis] + a_shape[axis] <= b_offsets[axis] ||
        b_offsets[axis] + b_shape[axis] <= a_offsets[axis])
      return false;
  return true;
}

// Copies the overlap of two rectangles of one global array, rows of the innermost dimension at a time.
// Returns the number of elements copied.
int64_t copy_overlap(const std::vector<int64_t>& from_offsets, const std::vector<int64_t>& from_shape,
                     const float* from, const std::vector<int64_t>& to_offsets,
                     const std::vector<int64_t>& to_shape, float* to) {
  const size_t rank = to_shape.size();
  std::vector<int64_t> begin(rank), extent(rank);
  int64_t total = 1;
  for (size_t axis = 0; axis < rank; ++axis) {
    begin[axis] = std::max(from_offsets[axis], to_offsets[axis]);
    const int64_t end = std::min(from_offsets[axis] + from_shape[axis], to_offsets[axis] + to_shape[axis]);
    extent[axis] = std::max<int64_t>(end - begin[axis], 0);
    total *= extent[axis];
  }
  if (total == 0) return 0;
  const int64_t run = rank == 0 ? 1 : extent[rank - 1];
  std::vector<int64_t> index(rank, 0);
  for (int64_t copied = 0; copied < total; copied += run) {
    int64_t from_at = 0, to_at = 0;
    for (size_t axis = 0; axis < rank; ++axis) {
      from_at = from_at * from_shape[axis] + begin[axis] + index[axis] - from_offsets[axis];
      to_at = to_at * to_shape[axis] + begin[axis] + index[axis] - to_offsets[axis];
    }
    std::memcpy(to + to_at, from + from_at, static_cast<size_t>(run) * sizeof(float));
    for (size_t axis = rank; axis-- > 0;) {  // next row
      if (axis + 1 == rank) continue;
      if (++index[axis] < extent[axis]) break;
      index[axis] = 0;
    }
  }
  return total;
}

}  // namespace

const std::vector<Checkpoint::Entry>& Checkpoint::entries_of(const std::string& name,
                                                             const std::string& state) const {
  static const std::vector<Entry> none;
  const auto found = entries_.find({name, state});
  return found == entries_.end() ? none : found->second;
}

Shape Checkpoint::global_shape(const std::string& name, const std::string& state) const {
  const auto& entries = entries_of(name, state);
  if (entries.empty()) throw UserError("{}: {} of '{}' is missing", path_, state, name);
  return Shape::from(entries.front().global_shape);
}

void Checkpoint::read(const std::string& name, const std::string& state, const Shape& global_shape,
                      const std::vector<int64_t>& offsets, Tensor& out) const {
  int64_t filled = 0;
  for (const auto& entry : entries_of(name, state)) {
    if (entry.global_shape != dims(global_shape))
      throw UserError("{}: {} of '{}' has shape {}, the model has {}", path_, state, name,
                      Shape::from(entry.global_shape).to_string(), global_shape.to_string());
    const auto file = files_.find(entry.file);
    if (file == files_.end())
      throw UserError("{}: '{}' is in {}, which the manifest does not list", path_, name, entry.file);
    if (!overlap(entry.offsets, entry.shape, offsets, dims(out.shape()))) continue;
    int64_t elements = 1;
    for (const int64_t extent : entry.shape) elements *= extent;
    std::vector<float> values(static_cast<size_t>(elements));
    file->second->to_float(entry.tensor, values);
    filled += copy_overlap(entry.offsets, entry.shape, values.data(), offsets, dims(out.shape()),
                           out.data<float>());
  }
  if (filled != out.numel())
    throw UserError("{}: {} of '{}' holds {} of the {} values that are needed", path_, state, name, filled,
                    out.numel());
}

std::optional<Checkpoint> latest_checkpoint(const std::string& folder) {
  auto steps = complete_steps(folder);
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    const std::string path = (fs::path(folder) / folder_name(*step)).string();
    try {
      return Checkpoint::open(path);
    } catch (const std::exception& error) {
      log::warn("skipping a defective checkpoint: {}", error.what());
    }
  }
  if (!steps.empty())
    throw UserError(
        "{}: none of its {} checkpoints can be read; restore one, or start the run anew with --overwrite",
        folder, steps.size());
  return std::nullopt;
}

}  // namespace collie
