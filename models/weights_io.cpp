#include "models/weights_io.hpp"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <set>

#include "base/name_pattern.hpp"
#include "base/quote.hpp"
#include "io/files.hpp"
#include "io/safetensors.hpp"
#include "models/families/family.hpp"
#include "models/pieces.hpp"
#include "models/stage_model.hpp"

namespace collie {
namespace {

SafetensorsFile open_weights(const std::string& folder) {
  const std::filesystem::path file = std::filesystem::path(folder) / "model.safetensors";
  const std::filesystem::path index = std::filesystem::path(folder) / "model.safetensors.index.json";
  if (!may_be_there(file.string()) && may_be_there(index.string()))
    throw UserError("{}: weights in several files are not yet supported; save them as one model.safetensors",
                    index.string());
  return SafetensorsFile(file);
}

std::string text_of(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t dim : shape) text += (text.empty() ? "" : ", ") + std::to_string(dim);
  return "[" + shortened(text) + "]";
}

// What the file calls the tensor. A model that was saved without its head has names without the first part:
// "h.0.ln_1.weight" for "transformer.h.0.ln_1.weight".
std::string name_in_file(const SafetensorsFile& file, const std::string& name) {
  if (file.contains(name)) return name;
  const std::string rest = name.substr(name.find('.') + 1);
  return file.contains(rest) ? rest : name;
}

void check_tensor(const SafetensorsFile& file, const std::string& name, const Shape& whole) {
  const std::string path = file.path().string(), expected = whole.to_string();
  if (!file.contains(name_in_file(file, name)))
    throw UserError("{}: tensor {} is missing; the model needs it with shape {}", path, name, expected);
  const SafetensorsEntry& entry = file.find(name_in_file(file, name));
  bool same = static_cast<int>(entry.shape.size()) == whole.rank();
  for (int axis = 0; same && axis < whole.rank(); ++axis)
    same = entry.shape[static_cast<size_t>(axis)] == whole[axis];
  if (!same)
    throw UserError("{}: tensor {} has shape {}; the model needs {}", path, name, text_of(entry.shape),
                    expected);
  static const std::set<std::string> readable = {"F32", "BF16", "F16", "F64"};
  if (!readable.count(entry.dtype))
    throw UserError("{}: tensor {} is {}; F32, BF16, F16 or F64 is needed", path, name, entry.dtype);
}

bool is_expected_surplus(const std::string& name, const ModelConfig& config) {
  const Family& family = family_of(config);
  if (config.tie_word_embeddings && name == family.names.head) return true;
  return std::any_of(family.ignored.begin(), family.ignored.end(),
                     [&](const char* pattern) { return matches_pattern(pattern, name); });
}

}  // namespace

std::vector<std::string> check_weights(const std::string& folder, const ModelSpec& model) {
  const SafetensorsFile file = open_weights(folder);
  std::set<std::string> known;
  for (const NamedTensor& tensor : tensors_of(model_parameters(model))) {
    check_tensor(file, tensor.name, tensor.shape);
    known.insert(name_in_file(file, tensor.name));
  }
  std::vector<std::string> surplus;
  for (const SafetensorsEntry& entry : file.tensors())
    if (!known.count(entry.name) && !is_expected_surplus(entry.name, model.architecture))
      surplus.push_back(entry.name);
  std::sort(surplus.begin(), surplus.end());
  return surplus;
}

bool has_own_head(const std::string& folder, const ModelConfig& config) {
  if (!std::filesystem::exists(std::filesystem::path(folder) / "model.safetensors")) return false;
  const SafetensorsFile file = open_weights(folder);
  const TensorNames& names = family_of(config).names;
  const std::string head_weight = names.head, embedding_weight = name_in_file(file, names.embedding);
  if (!file.contains(head_weight) || !file.contains(embedding_weight)) return false;
  const SafetensorsEntry &head = file.find(head_weight), &embedding = file.find(embedding_weight);
  if (head.shape != embedding.shape) return true;
  if (head.dtype == embedding.dtype)
    return std::memcmp(head.bytes.data(), embedding.bytes.data(), head.bytes.size()) != 0;
  constexpr int64_t piece = 1 << 16;
  std::vector<float> left(piece), right(piece);
  for (int64_t begin = 0; begin < head.elements; begin += piece) {
    const auto count = static_cast<size_t>(std::min(piece, head.elements - begin));
    file.to_float(head_weight, begin, std::span(left).first(count));
    file.to_float(embedding_weight, begin, std::span(right).first(count));
    if (std::memcmp(left.data(), right.data(), count * sizeof(float)) != 0) return true;
  }
  return false;
}

std::string surplus_warning(const std::string& folder, const std::vector<std::string>& surplus) {
  if (surplus.empty()) return "";
  std::string names;
  constexpr size_t most = 5;
  for (size_t i = 0; i < std::min(most, surplus.size()); ++i)
    names += (i ? ", " : "") + shortened(surplus[i], 120);
  if (surplus.size() > most) names += fmt::format(" and {} more", surplus.size() - most);
  return fmt::format("{}/model.safetensors: {} tensor{} ignored, the model has no use for: {}", folder,
                     surplus.size(), surplus.size() == 1 ? "" : "s", names);
}

void read_weights(const std::string& folder, const std::vector<Parameter>& parameters, Operations& operations,
                  std::vector<Tensor>& weights) {
  COLLIE_ASSERT(parameters.size() == weights.size(), "{} tensors for {} parameters", weights.size(),
                parameters.size());
  const SafetensorsFile file = open_weights(folder);
  for (const NamedTensor& tensor : tensors_of(parameters)) check_tensor(file, tensor.name, tensor.shape);
  std::vector<float> values;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const Parameter& parameter = parameters[i];
    COLLIE_ASSERT(weights[i].shape() == parameter.shape, "{}: {} given for {}", parameter.name,
                  weights[i].shape().to_string(), parameter.shape.to_string());
    values.resize(static_cast<size_t>(parameter.shape.numel()));
    for_each_run(parameter, 0, parameter.shape.numel(), [&](const TensorRun& run) {
      const std::string name = name_in_file(file, run.piece.tensor);
      fill_run(run, values.data() + run.held,
               [&](std::span<float> dense) { file.to_float(name, run.first, dense); });
    });
    operations.upload(values, weights[i]);
  }
}

}  // namespace collie
