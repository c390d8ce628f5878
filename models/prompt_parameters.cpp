// The parameters of virtual tokens. Where an encoder makes their rows, the names are those of Hugging Face's
// peft's modules.
#include <cmath>
#include <utility>

#include "models/layer_parameters.hpp"
#include "models/pieces.hpp"
#include "models/sharding.hpp"

namespace collie {
namespace {

constexpr const char* encoder_name = "prompt_encoder.";

// Between -bound and bound, as PyTorch's layers begin.
Parameter uniform_tensor(const std::string& name, const Shape& shape, int64_t fan) {
  Parameter parameter = whole_tensor(encoder_name + name, shape);
  parameter.is_adapter = true;
  parameter.initialisation = Initialisation::uniform;
  parameter.deviation = 1.0 / std::sqrt(static_cast<double>(fan));
  return parameter;
}

Parameter normal_rows(const std::string& name, const Shape& shape) {
  Parameter rows = whole_tensor(name, shape);
  rows.deviation = 1;
  rows.is_table = rows.is_adapter = true;
  return rows;
}

// Rows [first, first + rows) of a parameter that is a whole tensor.
Parameter rows_of(const Parameter& whole, int64_t first, int64_t rows) {
  Parameter part = part_of_tensor(whole.name, whole.shape, first, rows, false);
  part.is_adapter = whole.is_adapter;
  part.initialisation = whole.initialisation;
  part.deviation = whole.deviation;
  return part;
}

}  // namespace

// What every rank computes of an encoder alike gets the gradient of what the rank does with it: of its
// tokens, or of a projection of its heads.
ParameterId LayerParameters::add_encoder_part(Parameter part) {
  replicate(part, shard_);
  if (model_.prompt.kind == PromptKind::prefix && shard_.tensor_size > 1)
    part.gradient_shares = GradientShares::tensor;
  return add(std::move(part));
}

MatrixIds LayerParameters::add_encoder_matrix(const std::string& name, int64_t out, int64_t in) {
  MatrixIds ids;
  ids.weight = add_encoder_part(uniform_tensor(name + ".weight", {out, in}, in));
  ids.bias = add_encoder_part(uniform_tensor(name + ".bias", {out}, in));
  return ids;
}

LstmIds LayerParameters::add_encoder_lstm(const std::string& ending, int64_t in, int64_t hidden) {
  const auto add_one = [&](const std::string& name, const Shape& shape) {
    return add_encoder_part(uniform_tensor("lstm_head." + name + ending, shape, hidden));
  };
  LstmIds ids;
  ids.input = add_one("weight_ih_l", {4 * hidden, in});
  ids.hidden = add_one("weight_hh_l", {4 * hidden, hidden});
  ids.input_bias = add_one("bias_ih_l", {4 * hidden});
  ids.hidden_bias = add_one("bias_hh_l", {4 * hidden});
  return ids;
}

PromptIds LayerParameters::add_prompt() {
  const SoftPrompt& prompt = model_.prompt;
  const EncoderSettings& encoder = prompt.encoder;
  PromptIds ids;
  if (!prompt.has_encoder()) {
    ids.rows = add_encoder_part(normal_rows(prompt_tensor, {prompt.tokens, config_.hidden_size}));
    return ids;
  }
  const int64_t width = prompt.kind == PromptKind::prefix ? config_.num_key_value_heads * config_.head_dim
                                                          : config_.hidden_size;
  ids.rows =
      add_encoder_part(normal_rows(std::string(encoder_name) + "embedding.weight", {prompt.tokens, width}));
  if (encoder.kind == EncoderKind::projection) {
    add_projection(width, ids);
    return ids;
  }
  int64_t in = width;
  const bool is_lstm = encoder.kind == EncoderKind::lstm;
  for (int64_t layer = 0; is_lstm && layer < encoder.layers; ++layer, in = 2 * encoder.hidden)
    ids.lstm.push_back({add_encoder_lstm(std::to_string(layer), in, encoder.hidden),
                        add_encoder_lstm(std::to_string(layer) + "_reverse", in, encoder.hidden)});
  const int64_t inner = is_lstm ? 2 * encoder.hidden : encoder.hidden;
  ids.widths = is_lstm ? std::vector<int64_t>{inner, config_.hidden_size}
                       : std::vector<int64_t>{inner, inner, config_.hidden_size};
  for (size_t i = 0; i < ids.widths.size(); ++i, in = inner)
    ids.matrices.push_back(add_encoder_matrix("mlp_head." + std::to_string(2 * i), ids.widths[i], in));
  return ids;
}

// The last matrix gives keys and values of all blocks, one after another. A rank has the rows of its heads.
void LayerParameters::add_projection(int64_t width, PromptIds& ids) {
  const int64_t inner = model_.prompt.encoder.hidden, parts = 2 * config_.num_hidden_layers;
  ids.matrices.push_back(add_encoder_matrix("transform.0", inner, width));
  Parameter own = whole_tensor("heads", {width});
  cut_key_value_heads(own, config_, shard_);
  const int64_t first = own.pieces.front().offsets[0], rows = own.shape[0];
  std::vector<Parameter> weights, shifts;
  for (int64_t part = 0; part < parts; ++part) {
    weights.push_back(rows_of(uniform_tensor("transform.2.weight", {parts * width, inner}, inner),
                              part * width + first, rows));
    shifts.push_back(
        rows_of(uniform_tensor("transform.2.bias", {parts * width}, inner), part * width + first, rows));
  }
  MatrixIds last;
  for (auto [part, id] : {std::pair(&weights, &last.weight), std::pair(&shifts, &last.bias)}) {
    Parameter all = stacked(part->front().name, *part);
    all.gradient_shares = own.gradient_shares;
    all.is_primary = own.is_primary;
    *id = add(std::move(all));
  }
  ids.matrices.push_back(last);
  ids.widths = {inner, parts * rows};
}

PrefixIds LayerParameters::add_prefix(int64_t block) {
  PrefixIds ids{no_parameter, model_.prompt.tokens, block};
  if (model_.prompt.has_encoder()) return ids;  // the encoder gives it
  Parameter rows = normal_rows(prefix_tensor(block),
                               {2 * model_.prompt.tokens, config_.num_key_value_heads * config_.head_dim});
  cut_key_value_heads(rows, config_, shard_, 1);
  ids.id = add(std::move(rows));
  return ids;
}

}  // namespace collie
