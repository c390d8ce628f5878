#include "peft/prompt_files.hpp"

#include <algorithm>

#include "models/pieces.hpp"
#include "models/stage_model.hpp"

namespace collie {
namespace {

int64_t block_of_prefix(const std::string& tensor) {
  return std::stoll(tensor.substr(std::string(prompt_tensor).size() + 1));
}

// Rows [0, v) of a block's tensor are keys, and rows [v, 2 v) values.
void append_pieces_in_file(const ModelSpec& model, const Piece& piece, std::vector<Piece>& pieces) {
  const int64_t v = model.prompt.tokens, width = piece.tensor_shape[1];
  const int64_t first = piece.offsets[0], block = block_of_prefix(piece.tensor);
  for (int64_t half = 0; half < 2; ++half) {
    const int64_t begin = std::max(first, half * v), end = std::min(first + piece.rows, (half + 1) * v);
    if (begin >= end) continue;
    Piece part{prompt_tensor, prompt_in_file(model).shape, piece.row + begin - first, end - begin, {}, false};
    part.offsets[0] = begin - half * v;
    part.offsets[1] = (2 * block + half) * width + piece.offsets[1];
    pieces.push_back(std::move(part));
  }
}

std::vector<float> evaluated(const Checkpoint& weights, const NamedTensor& tensor) {
  Tensor values =
      Tensor::host(tensor.shape, DType::f32, std::make_shared<MemoryAccount>(), Category::workspace);
  weights.read_evaluated(tensor.name, tensor.shape, {0, 0}, values);
  return {values.data<float>(), values.data<float>() + values.numel()};
}

}  // namespace

NamedTensor prompt_in_file(const ModelSpec& model) {
  const ModelConfig& config = model.architecture;
  const int64_t of_block = 2 * config.num_key_value_heads * config.head_dim;
  const bool is_prefix = model.prompt.kind == PromptKind::prefix;
  return {prompt_tensor,
          {model.prompt.tokens, is_prefix ? config.num_hidden_layers * of_block : config.hidden_size},
          true,
          false};
}

Parameter parameter_in_prompt_file(const ModelSpec& model, const Parameter& parameter) {
  if (model.prompt.kind != PromptKind::prefix) return parameter;
  Parameter in_file = parameter;
  in_file.pieces.clear();
  for (const Piece& piece : pieces_of(parameter)) append_pieces_in_file(model, piece, in_file.pieces);
  return in_file;
}

PromptSource::PromptSource(const Checkpoint& weights, const ModelSpec& model)
    : place_(weights.path()), step_(weights.step()) {
  const NamedTensor whole = prompt_in_file(model);
  const std::vector<int64_t> shape = whole.shape.to_vector();
  slices_.push_back({whole.name, "weight", shape, {0, 0}, shape});
  values_.resize(static_cast<size_t>(whole.shape.numel()));
  for (const Parameter& parameter : model_parameters(model)) {
    if (!parameter.is_adapter) continue;
    const std::vector<float> own = evaluated(weights, {parameter.name, parameter.shape});
    for_each_run(parameter_in_prompt_file(model, parameter), 0, parameter.shape.numel(),
                 [&](const TensorRun& run) {
                   std::copy_n(own.begin() + run.held, run.count, values_.begin() + run.first);
                 });
  }
}

void PromptSource::read(size_t index, int64_t begin, std::span<float> values) const {
  COLLIE_ASSERT(index == 0 && begin >= 0 && static_cast<size_t>(begin) + values.size() <= values_.size(),
                "{}: values [{}, {}) of {}", place_, begin, begin + static_cast<int64_t>(values.size()),
                values_.size());
  std::copy_n(values_.begin() + begin, values.size(), values.begin());
}

}  // namespace collie
