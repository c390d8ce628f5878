#include "io/model_folder.hpp"

#include <algorithm>
#include <filesystem>
#include <unordered_map>

#include "base/error.hpp"
#include "base/failpoint.hpp"
#include "io/files.hpp"
#include "io/safetensors.hpp"

namespace collie {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr const char* weights_file = "model.safetensors";
constexpr const char* step_key = "step";

// Parameters that no rank has cut: pieces of one are put together here once there are layouts that cut them.
std::unordered_map<std::string, Tensor> whole_weights(
    const std::vector<std::vector<CheckpointSlice>>& parts) {
  std::unordered_map<std::string, Tensor> weights;
  for (const auto& part : parts)
    for (const auto& slice : part) {
      if (slice.state != "weight") continue;
      COLLIE_ASSERT(slice.data.shape() == slice.global_shape, "'{}' is cut: {} of {}", slice.name,
                    slice.data.shape().to_string(), slice.global_shape.to_string());
      weights.emplace(slice.name, slice.data);
    }
  return weights;
}

std::vector<SafetensorsItem> items_of(const std::vector<std::string>& names,
                                      const std::unordered_map<std::string, Tensor>& weights) {
  std::vector<SafetensorsItem> items;
  for (const auto& name : names) {
    const auto found = weights.find(name);
    COLLIE_ASSERT(found != weights.end(), "no rank gave '{}' for the final model", name);
    const Tensor tensor = found->second;
    std::vector<int64_t> shape;
    for (int axis = 0; axis < tensor.shape().rank(); ++axis) shape.push_back(tensor.dim(axis));
    items.push_back({name, "F32", shape, [tensor] {
                       return std::span(static_cast<const std::byte*>(tensor.raw()), tensor.bytes());
                     }});
  }
  return items;
}

json generation_config(const json& config) {
  json generation = json::object();
  for (const char* key : {"bos_token_id", "eos_token_id"})
    if (config.contains(key)) generation[key] = config.at(key);
  return generation;
}

}  // namespace

void write_model_folder(const std::string& folder, const json& config, const Tokenizer& tokenizer,
                        const std::vector<std::string>& names, int64_t step,
                        const std::vector<std::vector<CheckpointSlice>>& parts) {
  const fs::path complete = folder, partial = folder + ".partial";
  std::error_code error;
  fs::remove_all(partial, error);
  if (fs::create_directories(partial, error); error)
    throw RunError("{}: cannot be created: {}", partial.string(), error.message());
  try {
    failpoint("final.begin");
    const auto weights = whole_weights(parts);
    write_safetensors(
        partial / weights_file, items_of(names, weights), true,
        {{"format", "pt"}, {step_key, std::to_string(step)}});  // the format is for transformers
    write_file_durably((partial / "config.json").string(), config.dump(2) + "\n");
    write_file_durably((partial / "generation_config.json").string(),
                       generation_config(config).dump(2) + "\n");
    tokenizer.save_to(partial);
    fsync_directory(partial.string());
    failpoint("final.rename");
    fs::remove_all(complete, error);
    fs::rename(partial, complete, error);
    if (error) throw RunError("{}: cannot be renamed to {}: {}", partial.string(), folder, error.message());
    fsync_directory(complete.parent_path().string());
  } catch (...) {
    fs::remove_all(partial, error);
    throw;
  }
}

std::optional<int64_t> step_of_model_folder(const std::string& folder) {
  try {
    const SafetensorsFile file(fs::path(folder) / weights_file);
    return std::stoll(file.metadata().at(step_key));
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

}  // namespace collie
