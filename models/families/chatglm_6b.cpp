// ChatGLM-6B (GLM: Du et al., arXiv 2103.10360), as its own code stores it: a document is a context that sees
// itself in both directions and an answer that does not, each half of a head has a position of its own
// (models/blanks.hpp), and branches add to α times what their norms give. Its code divides queries by the
// block's number and multiplies scores by it again, in float32: that keeps float16 within its range and has
// no effect on what the engine computes.
#include <cmath>

#include "models/families/family.hpp"

namespace collie {
namespace {

// α = sqrt(2 · 28), of the published model's blocks. Its code gives every block this number and never the
// model's own num_layers, so that a model of another depth has the same α.
constexpr double layers_of_alpha = 28;

bool is_chatglm_6b(ConfigReader& reader) {
  bool found = false;
  for (const char* key : {"position_encoding_2d", "inner_hidden_size", "gmask_token_id"})
    found = reader.has(key) || found;
  return found;
}

// Not optional: the places of all tokens follow from these ids.
int32_t read_token_id(ConfigReader& reader, const char* key, int64_t vocabulary) {
  const nlohmann::json& id = reader.value(key);
  if (!id.is_number_integer() || id < 0 || id >= vocabulary)
    reader.refuse(key, id,
                  fmt::format("it must be a token of the vocabulary, from 0 to {}: positions and the mask of "
                              "attention follow from where it stands",
                              vocabulary - 1));
  return id.get<int32_t>();
}

void read_blanks(ConfigReader& reader, ModelConfig& config) {
  config.blanks = {read_token_id(reader, "bos_token_id", config.vocab_size),
                   read_token_id(reader, "gmask_token_id", config.vocab_size),
                   read_token_id(reader, "mask_token_id", config.vocab_size)};
  for (const auto& [key, id] :
       {std::pair("gmask_token_id", config.blanks.gmask), std::pair("mask_token_id", config.blanks.mask)})
    if (id == config.blanks.start)
      reader.refuse(key, id, "it must be another token than bos_token_id, with which the answer starts");
}

void read_chatglm_6b(ConfigReader& reader, ModelConfig& config) {
  config.intermediate_size =
      reader.size("inner_hidden_size", 4 * model_limits::width, 4 * config.hidden_size);
  config.max_position_embeddings = reader.size("max_sequence_length", model_limits::tokens, 2048);
  config.norm = {NormKind::layer, reader.number("layernorm_epsilon", 1e-5, 0.0, false)};
  config.norm.bias = config.qkv_bias = config.output_bias = config.mlp_bias = true;
  config.gated_mlp = false;
  config.activation = Activation::gelu_tanh;
  config.residual_scale = std::sqrt(2.0 * layers_of_alpha);
  if (!reader.flag("position_encoding_2d", true))
    reader.refuse("position_encoding_2d", false, "the engine has true only, as every published ChatGLM-6B");
  if (config.head_dim % 4 != 0)
    reader.refuse("hidden_size", config.hidden_size,
                  fmt::format("{} heads (num_attention_heads) have {} channels then, and each half of a head "
                              "is rotated: it must be a multiple of 4",
                              config.num_attention_heads, config.head_dim));
  config.rotary_dim = config.head_dim / 2;
  config.half_frequencies = true;
  read_blanks(reader, config);
  config.tie_word_embeddings = reader.flag("tie_word_embeddings", true);  // as transformers without the key
  if (const nlohmann::json& tokens = reader.value("pre_seq_len"); !is_off(tokens))
    reader.refuse("pre_seq_len", tokens,
                  "a prefix is no part of the model here: without the key the model is as published, and a "
                  "folder of P-tuning v2 is an adapter (peft.path, or --adapter)");
  reader.ignore("prefix_projection");  // of the prefix
  reader.ignore("auto_map");           // the code that this family is
}

void write_chatglm_6b(const ModelConfig& config, nlohmann::json& object) {
  object["layernorm_epsilon"] = config.norm.eps;
  object["position_encoding_2d"] = true;
  object["bos_token_id"] = config.blanks.start;
  object["gmask_token_id"] = config.blanks.gmask;
  object["mask_token_id"] = config.blanks.mask;
  const char* const model = "modeling_chatglm.ChatGLMForConditionalGeneration";
  object["auto_map"] = {{"AutoConfig", "configuration_chatglm.ChatGLMConfig"},
                        {"AutoModel", model},
                        {"AutoModelForSeq2SeqLM", model}};
}

BlockIds add_chatglm_6b_block(LayerParameters& layer, int64_t block) {
  const ModelConfig& config = layer.config();
  const std::string prefix = fmt::format("transformer.layers.{}.", block);
  const int64_t width = config.intermediate_size;
  BlockIds ids;
  ids.attention_norm = layer.add_norm(prefix + "input_layernorm");
  ids.qkv = layer.add_interleaved_qkv(prefix + "attention.query_key_value", true, Stored::out_in);
  ids.o = layer.add_row_parallel(prefix + "attention.dense", config.num_attention_heads * config.head_dim,
                                 true, Stored::out_in);
  ids.mlp_norm = layer.add_norm(prefix + "post_attention_layernorm");
  ids.up = layer.add_column_parallel(prefix + "mlp.dense_h_to_4h", width, true, Stored::out_in);
  ids.down = layer.add_row_parallel(prefix + "mlp.dense_4h_to_h", width, true, Stored::out_in);
  return ids;
}

}  // namespace

const Family& chatglm_6b_family() {
  static const Family family = {
      .model_type = "chatglm_6b",
      .architecture = "ChatGLMModel",
      .keys = {.intermediate = "inner_hidden_size",
               .blocks = "num_layers",
               .key_value_heads = nullptr,
               .head_dim = nullptr,
               .positions = "max_sequence_length"},
      .names = {.embedding = "transformer.word_embeddings.weight",
                .final_norm = "transformer.final_layernorm"},
      .ignored = {"*.rotary_emb.inv_freq"},
      .stored_type = "chatglm",
      .is_meant = is_chatglm_6b,
      .read = read_chatglm_6b,
      .write = write_chatglm_6b,
      .add_block = add_chatglm_6b_block,
  };
  return family;
}

}  // namespace collie
