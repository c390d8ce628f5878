#include "io/model_folder.hpp"

#include <array>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>

#include "base/error.hpp"
#include "base/failpoint.hpp"
#include "io/files.hpp"
#include "io/half.hpp"
#include "io/run_files.hpp"
#include "io/run_marker.hpp"
#include "io/safetensors.hpp"
#include "io/weight_folder.hpp"
#include "io/weight_shards.hpp"
#include "kernels/host_data.hpp"

namespace collie {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr const char* step_key = "step";

struct SavedDType {
  const char* name;  // in config.json
  const char* in_file;
};
constexpr std::array<SavedDType, 3> saved_dtypes = {
    {{"float32", "F32"}, {"bfloat16", "BF16"}, {"float16", "F16"}}};

std::string dtype_in_file(const json& config) {
  const std::string name = config.value("dtype", "float32");
  for (const SavedDType& dtype : saved_dtypes)
    if (name == dtype.name) return dtype.in_file;
  COLLIE_ASSERT(false, "weights are not saved as {}", name);
  return "";
}

uint16_t checked_half(float value, const std::string& name) {
  const uint16_t half = half_from_float(value);
  if (std::isfinite(value) && !std::isfinite(float_from_half(half)))
    throw RunError(
        "final/ is not written: {} holds {}, and float16 ends at 65504; model.save_dtype: bfloat16 or "
        "float32 is "
        "right, with --resume",
        name, value);
  return half;
}

// The values in the file's dtype, in their own memory.
std::span<const std::byte> narrowed(Tensor& values, const std::string& dtype, const std::string& name) {
  auto* const bytes = static_cast<std::byte*>(values.raw());
  if (dtype == "F32") return {bytes, values.bytes()};
  for (int64_t i = 0; i < values.numel(); ++i) {
    float value = 0;
    std::memcpy(&value, bytes + i * 4, sizeof(value));
    const uint16_t narrow = dtype == "F16" ? checked_half(value, name) : host::to_bf16(value);
    std::memcpy(bytes + i * 2, &narrow, sizeof(narrow));
  }
  return {bytes, values.bytes() / 2};
}

// Each weight is put together from its slices when its turn comes, so that one weight is in memory at a time.
std::vector<SafetensorsItem> items_of(const std::vector<std::string>& names, const Checkpoint& checkpoint,
                                      const std::string& dtype) {
  const auto account = std::make_shared<MemoryAccount>();
  const auto whole = std::make_shared<Tensor>();
  std::vector<SafetensorsItem> items;
  for (const auto& name : names) {
    const Shape shape = checkpoint.global_shape(name, "weight");
    items.push_back({name, dtype, shape.to_vector(), [=, &checkpoint] {
                       *whole = Tensor();
                       *whole = Tensor::host(shape, DType::f32, account, Category::workspace);
                       checkpoint.read_evaluated(
                           name, shape, std::vector<int64_t>(static_cast<size_t>(shape.rank()), 0), *whole);
                       return narrowed(*whole, dtype, name);
                     }});
  }
  return items;
}

// Writes the files of weights, and their index if they are several. Returns the files' hashes, by name.
std::map<std::string, std::string> write_weights(const fs::path& folder,
                                                 const std::vector<SafetensorsItem>& items,
                                                 uint64_t most_bytes, int64_t step) {
  const std::vector<WeightShard> shards = split_weights(items, most_bytes);
  std::map<std::string, std::string> hashes;
  for (const WeightShard& shard : shards) {
    std::vector<SafetensorsItem> of_shard;
    for (const size_t i : shard.items) of_shard.push_back(items[i]);
    const std::map<std::string, std::string> metadata = {
        {"format", "pt"}, {step_key, std::to_string(step)}};  // transformers needs "format"
    hashes[shard.file] = write_safetensors(folder / shard.file, of_shard, true, metadata).sha256;
  }
  if (shards.size() > 1)
    write_file_durably((folder / weight_index_name).string(), weight_index(items, shards));
  return hashes;
}

json generation_config(const json& config) {
  json generation = json::object();
  for (const char* key : {"bos_token_id", "eos_token_id"})
    if (config.contains(key)) generation[key] = config.at(key);
  return generation;
}

void write_others(const fs::path& folder, const std::map<std::string, std::string>& others) {
  for (const auto& [name, contents] : others) {
    std::error_code error;
    if (fs::create_directories((folder / name).parent_path(), error); error)
      throw RunError("{}: cannot be created: {}", (folder / name).parent_path().string(), error.message());
    write_file_durably((folder / name).string(), std::string_view(contents));
  }
}

// The folder's files and their hashes, of which those of the weights are known.
std::map<std::string, std::string> files_of(const fs::path& folder,
                                            std::map<std::string, std::string> files) {
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const std::string name = entry.path().lexically_relative(folder).string();
    if (entry.is_regular_file() && name != marker_name && files.count(name) == 0)
      files[name] = sha256_of_file(entry.path().string());
  }
  return files;
}

}  // namespace

void write_model_folder(const std::string& folder, const std::string& run, const json& config,
                        const Tokenizer& tokenizer, const std::vector<std::string>& names,
                        const Checkpoint& checkpoint, uint64_t most_bytes,
                        const std::map<std::string, std::string>& others) {
  const fs::path partial = folder + ".partial";
  begin_folder(partial.string(), run);
  try {
    failpoint("final.begin");
    const auto weights = write_weights(partial, items_of(names, checkpoint, dtype_in_file(config)),
                                       most_bytes, checkpoint.step());
    write_file_durably((partial / "config.json").string(), config.dump(2) + "\n");
    write_file_durably((partial / "generation_config.json").string(),
                       generation_config(config).dump(2) + "\n");
    write_others(partial, others);
    tokenizer.save_to(partial);
    const auto files = files_of(partial, weights);
    failpoint("final.rename");
    publish_folder(partial.string(), folder, run, files);
    clear_replaced(partial.string(), folder, run);
  } catch (...) {
    discard_folder(partial.string(), run);
    throw;
  }
}

std::optional<int64_t> step_of_model_folder(const std::string& folder) {
  try {
    return std::stoll(WeightFolder(folder).metadata().at(step_key));
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

}  // namespace collie
