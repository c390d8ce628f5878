#include "peft/adapter_folder.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.hpp"
#include "models/pieces.hpp"
#include "models/stage_model.hpp"
#include "models/weights_io.hpp"
#include "peft/adapter_config.hpp"
#include "peft/prompt_files.hpp"
#include "peft/ptuning_v2.hpp"

namespace collie {

std::span<const char* const> adapter_weight_files(const std::string& folder) {
  static constexpr std::array<const char*, 2> files = {adapter_weights_name, "adapter_model.bin"},
                                              of_ptuning_v2 = {"model.safetensors", "pytorch_model.bin"};
  return is_ptuning_v2_folder(folder) ? of_ptuning_v2 : files;
}

// The name of the tensor of virtual tokens there.
static std::string prompt_name_in(const WeightFolder& weights) {
  return weights.contains(ptuning_v2_tensor) ? ptuning_v2_tensor : prompt_tensor;
}

std::vector<NamedTensor> adapter_tensors(const ModelSpec& model) {
  std::vector<Parameter> saved = model_parameters(model);
  std::erase_if(saved, [](const Parameter& parameter) { return !parameter.is_saved; });
  return tensors_of(saved);
}

// Whether a tensor of the model is of the adapter of that name.
static bool is_of(const std::string& tensor, const std::string& adapter) {
  return adapter.empty() || tensor.ends_with(".lora_A." + adapter + ".weight") ||
         tensor.ends_with(".lora_B." + adapter + ".weight");
}

std::string name_in_adapter(const ModelSpec& model, const std::string& tensor, const std::string& adapter) {
  if (model.prompt.exists()) return prompt_tensor;
  const size_t dot = tensor.rfind('.');
  std::string module = tensor.substr(0, dot), part = tensor.substr(dot);
  if (!adapter.empty()) module.resize(module.size() - adapter.size() - 1);
  const bool wraps = model.has_adapter(module) && (part == ".weight" || part == ".bias");
  return adapter_name_prefix + module + (wraps ? adapter_base_layer : "") + part;
}

AdapterFolderSource::AdapterFolderSource(const AdapterOrigin& origin, const ModelSpec& model)
    : folder_(origin.folder, adapter_weight_files(origin.folder)) {
  for (const NamedTensor& tensor : adapter_tensors(model)) {
    if (!is_of(tensor.name, origin.name)) continue;
    slices_.push_back(whole_weight_slice(tensor.name, tensor.shape));
    names_.push_back(model.prompt.exists() ? prompt_name_in(folder_)
                                           : name_in_adapter(model, tensor.name, origin.name));
    if (model.prompt.exists())
      in_file_.push_back(parameter_in_prompt_file(model, whole_tensor(tensor.name, tensor.shape)));
  }
}

void AdapterFolderSource::read(size_t index, int64_t begin, std::span<float> values) const {
  const WeightFolder::Place& place = folder_.find(names_.at(index));
  const TensorReader reader(*place.file, *place.tensor);
  if (!in_file_.empty())
    return for_each_run(
        in_file_.at(index), begin, begin + static_cast<int64_t>(values.size()), [&](const TensorRun& run) {
          reader.read(run.first,
                      values.subspan(static_cast<size_t>(run.held - begin), static_cast<size_t>(run.count)));
        });
  reader.read(begin, values);
}

AdapterFolder::AdapterFolder(const AdapterOrigin& origin)
    : name_(origin.name), weights_(origin.folder, adapter_weight_files(origin.folder)) {}

bool AdapterFolder::has(const Parameter& parameter) const {
  return parameter.is_saved && is_of(parameter.name, name_);
}

// Training that diverged, or float16, leaves such numbers; a model with them computes nothing.
static void check_finite(const WeightFolder& folder, const std::string& name) {
  const WeightFolder::Place& place = folder.find(name);
  const TensorReader reader(*place.file, *place.tensor);
  constexpr int64_t most = 1 << 18;  // elements
  std::vector<float> values;
  for (int64_t begin = 0; begin < place.tensor->elements; begin += most) {
    values.resize(static_cast<size_t>(std::min(most, place.tensor->elements - begin)));
    reader.read(begin, values);
    for (size_t i = 0; i < values.size(); ++i)
      if (!std::isfinite(values[i]))
        throw UserError("{}: {} has {} as element {} of {}; finite numbers are right",
                        place.file->path().string(), name, values[i], begin + static_cast<int64_t>(i),
                        place.tensor->elements);
  }
}

void AdapterFolder::check(const ModelSpec& model) const {
  std::vector<NamedTensor> expected = adapter_tensors(model);
  for (NamedTensor& tensor : expected) tensor.name = name_in_adapter(model, tensor.name);
  if (model.prompt.exists()) {
    expected = {prompt_in_file(model)};
    expected.front().name = prompt_name_in(weights_);
    if (expected.front().name == ptuning_v2_tensor && !model.architecture.blanks.exist())
      throw UserError(
          "{}: {} is a prefix of P-tuning v2, which takes no positions; the engine has that for ChatGLM-6B "
          "alone, and model_type is {}",
          weights_.path().string(), ptuning_v2_tensor, model.architecture.model_type);
  }
  std::vector<std::string> surplus = check_tensors(weights_, expected);
  // peft writes tensors without elements of a matrix that has lost all of its triplets.
  std::erase_if(surplus, [&](const std::string& name) { return weights_.find(name).tensor->elements == 0; });
  if (!surplus.empty())
    throw UserError("{}: its tensors are not those that {} describes: {} left over: {}",
                    weights_.path().string(), adapter_config_name, surplus.size(), a_few_tensors(surplus));
  for (const NamedTensor& tensor : expected) check_finite(weights_, tensor.name);
}

void AdapterFolder::read(const ModelSpec& model, const Parameter& parameter, Operations& operations,
                         Tensor& weight) const {
  Parameter renamed = parameter;
  renamed.pieces = pieces_of(model.prompt.exists() ? parameter_in_prompt_file(model, parameter) : parameter);
  for (Piece& piece : renamed.pieces)
    piece.tensor =
        model.prompt.exists() ? prompt_name_in(weights_) : name_in_adapter(model, piece.tensor, name_);
  std::vector<Tensor> weights{weight};
  read_weights(weights_, {renamed}, operations, weights);
}

}  // namespace collie
