#include "models/parameter_list.hpp"

#include "models/stage_model.hpp"

namespace collie {
namespace {

const char* const embedding_name = "model.embed_tokens.weight";

ParameterId add(std::vector<Parameter>& list, Parameter parameter) {
  parameter.global_shape = parameter.shape;
  list.push_back(std::move(parameter));
  return static_cast<ParameterId>(list.size()) - 1;
}

ParameterId add_norm(const ModelConfig& config, const std::string& name, std::vector<Parameter>& list) {
  Parameter norm{name, {config.hidden_size}};
  norm.initialisation = Initialisation::ones;
  return add(list, std::move(norm));
}

MatrixIds add_matrix(const ModelConfig& config, const std::string& name, int64_t out, int64_t in, bool bias,
                     std::vector<Parameter>& list) {
  MatrixIds ids;
  Parameter weight{name + ".weight", {out, in}};
  weight.deviation = config.initializer_range;
  ids.weight = add(list, std::move(weight));
  if (!bias) return ids;
  Parameter shift{name + ".bias", {out}};
  shift.initialisation = Initialisation::zeros;
  ids.bias = add(list, std::move(shift));
  return ids;
}

}  // namespace

ParameterId add_embedding(const ModelConfig& config, std::vector<Parameter>& list) {
  Parameter table{embedding_name, {config.vocab_size, config.hidden_size}};
  table.deviation = config.initializer_range;
  return add(list, std::move(table));
}

BlockIds add_block(const ModelConfig& config, int64_t block, std::vector<Parameter>& list) {
  const std::string prefix = fmt::format("model.layers.{}.", block);
  const int64_t hidden = config.hidden_size, width = config.intermediate_size;
  const int64_t q_width = config.num_attention_heads * config.head_dim;
  const int64_t kv_width = config.num_key_value_heads * config.head_dim;
  const bool attention_bias = config.attention_bias, mlp_bias = config.mlp_bias;
  BlockIds ids;
  ids.q = add_matrix(config, prefix + "self_attn.q_proj", q_width, hidden, attention_bias, list);
  ids.k = add_matrix(config, prefix + "self_attn.k_proj", kv_width, hidden, attention_bias, list);
  ids.v = add_matrix(config, prefix + "self_attn.v_proj", kv_width, hidden, attention_bias, list);
  ids.o = add_matrix(config, prefix + "self_attn.o_proj", hidden, q_width, attention_bias, list);
  ids.gate = add_matrix(config, prefix + "mlp.gate_proj", width, hidden, mlp_bias, list);
  ids.up = add_matrix(config, prefix + "mlp.up_proj", width, hidden, mlp_bias, list);
  ids.down = add_matrix(config, prefix + "mlp.down_proj", hidden, width, mlp_bias, list);
  ids.attention_norm = add_norm(config, prefix + "input_layernorm.weight", list);
  ids.mlp_norm = add_norm(config, prefix + "post_attention_layernorm.weight", list);
  return ids;
}

ParameterId add_final_norm(const ModelConfig& config, std::vector<Parameter>& list) {
  return add_norm(config, "model.norm.weight", list);
}

ParameterId add_head(const ModelConfig& config, std::vector<Parameter>& list) {
  const bool tied = config.tie_word_embeddings;
  Parameter matrix{tied ? embedding_name : "lm_head.weight", {config.vocab_size, config.hidden_size}};
  matrix.deviation = config.initializer_range;
  matrix.tied_copy = tied;
  return add(list, std::move(matrix));
}

std::vector<Parameter> model_parameters(const ModelConfig& config) {
  std::vector<Parameter> list;
  add_embedding(config, list);
  for (int64_t block = 0; block < config.num_hidden_layers; ++block) add_block(config, block, list);
  add_final_norm(config, list);
  if (!config.tie_word_embeddings) add_head(config, list);
  return list;
}

int64_t parameter_count(const ModelConfig& config) {
  int64_t count = 0;
  for (const Parameter& parameter : model_parameters(config)) count += parameter.shape.numel();
  return count;
}

}  // namespace collie
