// The tensors in a folder of Hugging Face's peft: adapter_model.safetensors, or adapter_model.bin, which is
// read only. (adapter_config.hpp has what describes them.)
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "io/checkpoint_source.hpp"
#include "io/weight_folder.hpp"
#include "kernels/operations.hpp"
#include "models/model_spec.hpp"
#include "models/parameter.hpp"

namespace collie {

constexpr const char* adapter_weights_name = "adapter_model.safetensors";

// What an adapter's tensors are called there: the model's name behind `name_prefix`; a matrix that has an
// adapter is called MODULE.base_layer.
constexpr const char* adapter_name_prefix = "base_model.model.";
constexpr const char* adapter_base_layer = ".base_layer";
// The files of a folder that may have them, as WeightFolder takes them. One of P-tuning v2
// (peft/ptuning_v2.hpp) has those of a model.
std::span<const char* const> adapter_weight_files(const std::string& folder);

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
  std::vector<Parameter> in_file_;  // [slices] of virtual tokens, where they stand in the folder's tensor
};

}  // namespace collie
