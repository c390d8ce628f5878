// A folder of Hugging Face's peft: adapter_config.json, and the tensors in adapter_model.safetensors (or
// adapter_model.bin, which is read only).
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "io/checkpoint_source.hpp"
#include "io/config.hpp"
#include "io/weight_folder.hpp"
#include "kernels/operations.hpp"
#include "models/model_spec.hpp"
#include "models/parameter.hpp"

namespace collie {

constexpr const char* adapter_config_name = "adapter_config.json";
constexpr const char* adapter_weights_name = "adapter_model.safetensors";

// What adapter_config.json in `folder` says, without peft.path. Regular expressions and names of modules are
// those of the modules whose tensors the folder has. Throws UserError naming file and key: for another kind
// of adapter, and for what the engine does not have (DoRA, biases of adapters, ...).
PeftSection read_adapter_config(const std::string& folder);

// Where config.peft.path is given: fills config.peft from that folder. Throws UserError as
// read_adapter_config(), and for a key that config gives otherwise.
void complete_adapter_config(Config& config);

// The adapter_config.json of `model`, which is config's. The base is named by its absolute path.
nlohmann::json adapter_config_of(const Config& config, const ModelSpec& model);

// The tensors that an adapter's folder has of `model`, by the engine's names, and their names there.
std::vector<NamedTensor> adapter_tensors(const ModelSpec& model);
// `adapter`: of one of several, the name that its tensors have in the model beside those of the others.
std::string name_in_adapter(const ModelSpec& model, const std::string& tensor,
                            const std::string& adapter = "");

// An adapter's folder, and its name among several (LowRankAdapter::name).
struct AdapterOrigin {
  std::string name, folder;
};

// The weights of an adapter. It is immutable, so threads may share it.
class AdapterFolder {
 public:
  explicit AdapterFolder(const AdapterOrigin& origin);
  explicit AdapterFolder(const std::string& folder) : AdapterFolder(AdapterOrigin{"", folder}) {}

  // Throws UserError naming the file: for tensors that are missing, misshapen or left over.
  void check(const ModelSpec& model) const;
  const WeightFolder& weights() const { return weights_; }

  // Whether the parameter is this adapter's, or trained beside it.
  bool has(const Parameter& parameter) const;
  // As read_weights(), of a parameter that it has.
  void read(const ModelSpec& model, const Parameter& parameter, Operations& operations, Tensor& weight) const;

 private:
  std::string name_;
  WeightFolder weights_;
};

// An adapter's folder, read as a checkpoint of it is, after step 0.
class AdapterFolderSource final : public CheckpointSource {
 public:
  // The folder must have passed AdapterFolder::check().
  AdapterFolderSource(const AdapterOrigin& origin, const ModelSpec& model);

  std::string place() const override { return folder_.path().string(); }
  int64_t step() const override { return 0; }
  const nlohmann::json& metadata() const override { return metadata_; }
  const std::vector<Slice>& slices() const override { return slices_; }
  void read(size_t index, int64_t begin, std::span<float> values) const override;

 private:
  WeightFolder folder_;
  nlohmann::json metadata_ = nlohmann::json::object();
  std::vector<Slice> slices_;
  std::vector<std::string> names_;  // [slices] in the folder
};

}  // namespace collie
