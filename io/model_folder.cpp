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
constexpr const char* adapter_file = "adapter_model.safetensors";

struct SavedDType {
  const char* name;  // in config.json
  const char* in_file;
};
constexpr std::array<SavedDType, 3> saved_dtypes = {
    {{"float32", "F32"}, {"bfloat16", "BF16"}, {"float16", "F16"}}};

std::string dtype_in_file(const std::string& name) {
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

// Has write(partial) write the files, of which it returns the hashes that it knows, and then the tokenizer's,
// and lets them appear at `folder` at once.
template <class Write>
void publish_model(const std::string& folder, const std::string& run, const Tokenizer& tokenizer,
                   const std::map<std::string, std::string>& others, const Write& write) {
  const fs::path partial = folder + ".partial";
  begin_folder(partial.string(), run);
  try {
    failpoint("final.begin");
    const std::map<std::string, std::string> weights = write(partial);
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

}  // namespace

void write_model_folder(const std::string& folder, const std::string& run, const json& config,
                        const Tokenizer& tokenizer, const std::vector<std::string>& names,
                        const Checkpoint& checkpoint, uint64_t most_bytes,
                        const std::map<std::string, std::string>& others) {
  publish_model(folder, run, tokenizer, others, [&](const fs::path& partial) {
    const std::string dtype = dtype_in_file(config.value("dtype", "float32"));
    const auto weights =
        write_weights(partial, items_of(names, checkpoint, dtype), most_bytes, checkpoint.step());
    write_file_durably((partial / "config.json").string(), config.dump(2) + "\n");
    write_file_durably((partial / "generation_config.json").string(),
                       generation_config(config).dump(2) + "\n");
    return weights;
  });
}

void write_adapter_folder(const std::string& folder, const std::string& run, const AdapterContents& contents,
                          const Tokenizer& tokenizer, const Checkpoint& checkpoint) {
  std::vector<std::string> names;
  for (const auto& [ours, in_file] : contents.names) names.push_back(ours);
  std::vector<SafetensorsItem> items = items_of(names, checkpoint, dtype_in_file(contents.dtype));
  for (SafetensorsItem& item : items) item.name = contents.names.at(item.name);
  publish_model(folder, run, tokenizer, contents.others, [&](const fs::path& partial) {
    write_file_durably((partial / "adapter_config.json").string(), contents.config.dump(2) + "\n");
    const std::map<std::string, std::string> metadata = {{"format", "pt"},
                                                         {step_key, std::to_string(checkpoint.step())}};
    return std::map<std::string, std::string>{
        {adapter_file, write_safetensors(partial / adapter_file, items, true, metadata).sha256}};
  });
}

std::optional<int64_t> step_of_model_folder(const std::string& folder) {
  try {
    constexpr std::array<const char*, 1> of_adapter = {adapter_file};
    const WeightFolder weights =
        WeightFolder::is_there(folder) ? WeightFolder(folder) : WeightFolder(folder, of_adapter);
    return std::stoll(weights.metadata().at(step_key));
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

}  // namespace collie
