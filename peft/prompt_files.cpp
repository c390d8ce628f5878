#include "peft/prompt_files.hpp"

#include <algorithm>

#include "models/parameter_list.hpp"
#include "models/pieces.hpp"
#include "models/prompt_encoder.hpp"
#include "models/resident_source.hpp"
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

// [v, width] in float32, as a run's last evaluation computes it, but for the run's own dtype.
std::vector<float> encoded(const Checkpoint& weights, const ModelSpec& model) {
  const auto operations = make_cpu_operations(1, std::make_shared<MemoryAccount>());
  std::vector<Parameter> parameters;
  const EmbeddingIds ids = add_embedding(model, parameters);
  std::vector<Tensor> values(parameters.size());
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (!parameters[i].is_adapter) continue;
    values[i] = operations->empty(parameters[i].shape, Category::weights);
    weights.read_evaluated(parameters[i].name, parameters[i].shape,
                           std::vector<int64_t>(static_cast<size_t>(parameters[i].shape.rank()), 0),
                           values[i]);
  }
  ResidentSource source(std::move(values));
  LayerContext context{*operations, source};
  PromptStash stash;
  const Tensor rows = PromptEncoder(ids.prompt, model.prompt.encoder).forward(context, stash);
  std::vector<float> all(static_cast<size_t>(rows.numel()));
  operations->download(rows, all);
  return all;
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
  slices_.push_back(whole_weight_slice(whole.name, whole.shape));
  if (model.prompt.has_encoder()) {
    values_ = encoded(weights, model);
    return;
  }
  values_.resize(static_cast<size_t>(whole.shape.numel()));
  for (const Parameter& parameter : model_parameters(model)) {
    if (!parameter.is_adapter) continue;
    const std::vector<float> own = weights.evaluated(parameter.name, parameter.shape);
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
