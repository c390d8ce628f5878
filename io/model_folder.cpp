#include "io/model_folder.hpp"

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>

#include "base/error.hpp"
#include "base/failpoint.hpp"
#include "io/files.hpp"
#include "io/run_files.hpp"
#include "io/run_marker.hpp"
#include "io/safetensors.hpp"
#include "kernels/host_data.hpp"

namespace collie {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr const char* weights_file = "model.safetensors";
constexpr const char* step_key = "step";

Tensor rounded(const Tensor& values, const std::shared_ptr<MemoryAccount>& account) {
  Tensor narrow = Tensor::host(values.shape(), DType::bf16, account, Category::workspace);
  host::upload({values.data<float>(), static_cast<size_t>(values.numel())}, narrow);
  return narrow;
}

// Each weight is put together from its slices when its turn comes, so that one weight is in memory at a time.
std::vector<SafetensorsItem> items_of(const std::vector<std::string>& names, const Checkpoint& checkpoint,
                                      DType dtype) {
  const auto account = std::make_shared<MemoryAccount>();
  const auto whole = std::make_shared<Tensor>();
  std::vector<SafetensorsItem> items;
  for (const auto& name : names) {
    const Shape shape = checkpoint.global_shape(name, "weight");
    std::vector<int64_t> dims;
    for (int axis = 0; axis < shape.rank(); ++axis) dims.push_back(shape[axis]);
    items.push_back({name, dtype == DType::bf16 ? "BF16" : "F32", dims, [=, &checkpoint] {
                       *whole = Tensor();
                       *whole = Tensor::host(shape, DType::f32, account, Category::workspace);
                       checkpoint.read_evaluated(
                           name, shape, std::vector<int64_t>(static_cast<size_t>(shape.rank()), 0), *whole);
                       if (dtype == DType::bf16) *whole = rounded(*whole, account);
                       return std::span(static_cast<const std::byte*>(whole->raw()), whole->bytes());
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

std::map<std::string, std::string> files_of(const fs::path& folder, const WrittenSafetensors& weights) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name != marker_name)
      files[name] = name == weights_file ? weights.sha256 : sha256_of_file(entry.path().string());
  }
  return files;
}

}  // namespace

void write_model_folder(const std::string& folder, const std::string& run, const json& config,
                        const Tokenizer& tokenizer, const std::vector<std::string>& names,
                        const Checkpoint& checkpoint) {
  const fs::path partial = folder + ".partial";
  const DType dtype = config.value("torch_dtype", "float32") == "bfloat16" ? DType::bf16 : DType::f32;
  begin_folder(partial.string(), run);
  try {
    failpoint("final.begin");
    const WrittenSafetensors weights = write_safetensors(
        partial / weights_file, items_of(names, checkpoint, dtype), true,
        {{"format", "pt"}, {step_key, std::to_string(checkpoint.step())}});  // transformers needs "format"
    write_file_durably((partial / "config.json").string(), config.dump(2) + "\n");
    write_file_durably((partial / "generation_config.json").string(),
                       generation_config(config).dump(2) + "\n");
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
    const SafetensorsFile file(fs::path(folder) / weights_file);
    return std::stoll(file.metadata().at(step_key));
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

}  // namespace collie
