#include "models/weights_io.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <optional>
#include <set>
#include <utility>

#include "base/error.hpp"
#include "base/name_pattern.hpp"
#include "base/quote.hpp"
#include "models/families/family.hpp"
#include "models/pieces.hpp"
#include "models/stage_model.hpp"
#include "models/stored_codes.hpp"
#include "models/weight_reader.hpp"

namespace collie {

namespace fs = std::filesystem;

namespace {

std::string text_of(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t dim : shape) text += (text.empty() ? "" : ", ") + std::to_string(dim);
  return "[" + shortened(text) + "]";
}

// What does not fit, in kinds, each with a few of its tensors in words.
class Mismatches {
 public:
  // Notes what is wrong with the tensor, if anything.
  void check(const WeightFolder& folder, const NamedTensor& wanted) {
    const Shape whole = wanted.stored_shape();
    const std::string &name = wanted.name, expected = whole.to_string(), found = name_in_folder(folder, name);
    if (!folder.contains(found)) return missing_.push_back(fmt::format("{} {}", name, expected));
    const StoredTensor& tensor = *folder.find(found).tensor;
    // Of several files the one that has the tensor is named, too.
    const fs::path& file = folder.find(found).file->path();
    const std::string where = file == folder.path() ? "" : " in " + file.filename().string();
    if (tensor.shape != whole.to_vector())
      misshapen_.push_back(
          fmt::format("{}{} has shape {}, {} is right", name, where, text_of(tensor.shape), expected));
    else if (!is_real_dtype(tensor.dtype))
      unreadable_.push_back(fmt::format("{}{} is {}", name, where, tensor.dtype));
  }

  // Throws if anything is wrong.
  void refuse(const WeightFolder& folder, const std::vector<std::string>& surplus) const {
    const std::array<std::pair<const char*, const std::vector<std::string>*>, 4> kinds = {
        {{"of another shape", &misshapen_},
         {"of a dtype that cannot be read (F32, BF16, F16 or F64 is needed)", &unreadable_},
         {"missing", &missing_},
         {"left over", &surplus}}};
    if (misshapen_.empty() && unreadable_.empty() && missing_.empty()) return;
    const auto present =
        std::count_if(kinds.begin(), kinds.end(), [](const auto& kind) { return !kind.second->empty(); });
    std::string text;
    for (const auto& [words, names] : kinds)
      if (!names->empty())
        text += fmt::format("{}{} {}: {}", text.empty() ? "" : "; ", names->size(), words,
                            a_few_of(*names, most_named / static_cast<size_t>(present)));
    throw UserError("{}: its tensors are not the model's: {}", folder.path().string(), text);
  }

  static std::string a_few_of(const std::vector<std::string>& names, size_t most) {
    std::string text;
    for (size_t i = 0; i < std::min(most, names.size()); ++i)
      text += (i ? ", " : "") + shortened(names[i], longest_name);
    if (names.size() > most) text += fmt::format(" and {} more", names.size() - most);
    return text;
  }

 private:
  static constexpr size_t most_named = 10, longest_name = 200;  // bytes
  std::vector<std::string> missing_, misshapen_, unreadable_;
};

bool is_expected_surplus(const std::string& name, const ModelConfig& config) {
  const Family& family = family_of(config);
  if (config.tie_word_embeddings && name == family.names.head) return true;
  return std::any_of(family.ignored.begin(), family.ignored.end(),
                     [&](const char* pattern) { return matches_pattern(pattern, name); });
}

std::set<std::string> names_of_codes(const WeightFolder& folder, const std::string& tensor) {
  const std::vector<std::string> names = stored_code_tensors(folder, tensor);
  return {names.begin(), names.end()};
}

}  // namespace

std::vector<std::string> check_weights(const std::string& path, const ModelSpec& model) {
  const WeightFolder folder(path);
  Mismatches mismatches;
  std::set<std::string> known;
  for (const NamedTensor& tensor : tensors_of(model_parameters(model))) {
    if (stored_quantisation(folder, tensor.name)) {
      check_stored_codes(folder, tensor.name, tensor.shape[tensor.transposed ? 1 : 0],
                         tensor.shape[tensor.transposed ? 0 : 1]);
      known.merge(names_of_codes(folder, tensor.name));
      continue;
    }
    mismatches.check(folder, tensor);
    known.insert(name_in_folder(folder, tensor.name));
  }
  std::vector<std::string> surplus;
  for (const auto& [name, place] : folder.tensors())
    if (!known.count(name) && !is_expected_surplus(name, model.architecture)) surplus.push_back(name);
  mismatches.refuse(folder, surplus);
  return surplus;
}

std::vector<std::string> check_tensors(const WeightFolder& folder, const std::vector<NamedTensor>& expected) {
  Mismatches mismatches;
  std::set<std::string> known;
  for (const NamedTensor& tensor : expected) {
    mismatches.check(folder, tensor);
    known.insert(tensor.name);
  }
  std::vector<std::string> surplus;
  for (const auto& [name, place] : folder.tensors())
    if (known.count(name) == 0) surplus.push_back(name);
  mismatches.refuse(folder, surplus);
  return surplus;
}

std::string a_few_tensors(const std::vector<std::string>& names) {
  return Mismatches::a_few_of(names, 5);
}

bool has_own_head(const std::string& path, const ModelConfig& config) {
  if (!WeightFolder::is_there(path)) return false;
  const WeightFolder folder(path);
  const TensorNames& names = family_of(config).names;
  const std::string embedding_name = name_in_folder(folder, names.embedding);
  if (!folder.contains(names.head) || !folder.contains(embedding_name)) return false;
  const WeightFolder::Place &head = folder.find(names.head), &embedding = folder.find(embedding_name);
  // What is not as it must be is refused later, by check_weights().
  if (head.tensor->shape != embedding.tensor->shape) return true;
  const int64_t rows = config.stored_vocab_size == 0 ? config.vocab_size : config.stored_vocab_size;
  if (head.tensor->shape != std::vector<int64_t>{rows, config.hidden_size}) return false;
  if (!is_real_dtype(head.tensor->dtype) || !is_real_dtype(embedding.tensor->dtype)) return true;
  const TensorReader left_reader(*head.file, *head.tensor), right_reader(*embedding.file, *embedding.tensor);
  constexpr int64_t piece = 1 << 16;
  std::vector<float> left(piece), right(piece);
  for (int64_t begin = 0; begin < head.tensor->elements; begin += piece) {
    const auto count = static_cast<size_t>(std::min(piece, head.tensor->elements - begin));
    left_reader.read(begin, std::span(left).first(count));
    right_reader.read(begin, std::span(right).first(count));
    if (std::memcmp(left.data(), right.data(), count * sizeof(float)) != 0) return true;
  }
  return false;
}

std::string surplus_warning(const std::string& folder, const std::vector<std::string>& surplus) {
  if (surplus.empty()) return "";
  return fmt::format("{}: {} tensor{} ignored, the model has no use for: {}",
                     WeightFolder(folder).path().string(), surplus.size(), surplus.size() == 1 ? "" : "s",
                     Mismatches::a_few_of(surplus, 5));
}

namespace {

// The reader of the tensor that was asked for last: parameters come in the order of their pieces.
class LastReader {
 public:
  explicit LastReader(const WeightFolder& folder) : folder_(folder) {}

  const WeightReader& of(const Parameter& parameter, const Piece& piece) {
    if (reader_ && piece.tensor == tensor_) return *reader_;
    reader_.reset();  // before the next tensor is in memory
    reader_.emplace(folder_, named_tensor_of(parameter, piece));
    tensor_ = piece.tensor;
    return *reader_;
  }

 private:
  const WeightFolder& folder_;
  std::string tensor_;
  std::optional<WeightReader> reader_;
};

// Some elements at a time, so that no second copy of the parameter is in memory.
void read_parameter(const Parameter& parameter, LastReader& readers, Operations& operations, Tensor& weight) {
  constexpr int64_t most = 1 << 20;  // elements
  const int64_t elements = parameter.shape.numel();
  const Tensor flat = weight.reshape({elements});
  std::vector<float> values;
  for (int64_t begin = 0; begin < elements; begin += most) {
    const int64_t end = std::min(elements, begin + most);
    values.resize(static_cast<size_t>(end - begin));
    for_each_run(parameter, begin, end, [&](const TensorRun& run) {
      fill_run(run, values.data() + (run.held - begin),
               [&](std::span<float> dense) { readers.of(parameter, run.piece).read(run.first, dense); });
    });
    Tensor part = flat.rows(begin, end);
    operations.upload(values, part);
  }
}

}  // namespace

void read_weights(const WeightFolder& folder, const std::vector<Parameter>& parameters,
                  Operations& operations, std::vector<Tensor>& weights) {
  COLLIE_ASSERT(parameters.size() == weights.size(), "{} tensors for {} parameters", weights.size(),
                parameters.size());
  Mismatches mismatches;
  for (const NamedTensor& tensor : tensors_of(parameters)) mismatches.check(folder, tensor);
  mismatches.refuse(folder, {});
  LastReader readers(folder);
  for (size_t i = 0; i < parameters.size(); ++i) {
    COLLIE_ASSERT(weights[i].shape() == parameters[i].shape, "{}: {} given for {}", parameters[i].name,
                  weights[i].shape().to_string(), parameters[i].shape.to_string());
    read_parameter(parameters[i], readers, operations, weights[i]);
  }
}

}  // namespace collie
