// Adapters that are virtual tokens: prompt tuning (arXiv 2104.08691), P-tuning (2103.10385) and prefix tuning
// (2101.00190).
#include <algorithm>
#include <filesystem>
#include <set>

#include "base/error.hpp"
#include "base/quote.hpp"
#include "io/json_text.hpp"
#include "peft/adapter_kind.hpp"
#include "peft/module_choice.hpp"
#include "peft/prompt_files.hpp"

namespace collie {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

// Keys that say nothing about what the folder's tensor is, or that the engine reads. Where an encoder made
// it, the folder has what the encoder gave.
const std::set<std::string>& known_prompt_keys() {
  static const std::set<std::string> keys = {"auto_mapping",
                                             "base_model_name_or_path",
                                             "encoder_dropout",
                                             "encoder_hidden_size",
                                             "encoder_num_layers",
                                             "encoder_reparameterization_type",
                                             "inference_mode",
                                             "init_weights",
                                             "num_attention_heads",
                                             "num_layers",
                                             "num_transformer_submodules",
                                             "num_virtual_tokens",
                                             "peft_type",
                                             "peft_version",
                                             "prefix_projection",
                                             "prompt_tuning_init",
                                             "prompt_tuning_init_text",
                                             "revision",
                                             "runtime_config",
                                             "task_type",
                                             "token_dim",
                                             "tokenizer_kwargs",
                                             "tokenizer_name_or_path"};
  return keys;
}

// A window counts keys from a query's own back, and a prefix has no place among them.
void check_no_windows(const ModelConfig& config, const std::string& place) {
  for (int64_t block = 0; block < config.num_hidden_layers; ++block)
    if (config.block(block).window > 0)
      throw UserError(
          "{}: prefix_tuning, but block {} of the model sees {} keys at most (a sliding window), and a "
          "prefix "
          "would fall out of it; prompt_tuning works with windows",
          place, block, config.block(block).window);
}

// What the keys of an encoder say that trains virtual tokens.
void add_encoder(const Config& config, const ModuleChoice& choice, ModelSpec& model) {
  const PeftSection& peft = config.peft;
  const ModelConfig& architecture = model.architecture;
  EncoderSettings& encoder = model.prompt.encoder;
  const bool is_prefix = model.prompt.kind == PromptKind::prefix;
  const bool is_lstm = !is_prefix && peft.encoder_reparameterization_type == "LSTM";
  encoder.kind = is_prefix ? EncoderKind::projection : is_lstm ? EncoderKind::lstm : EncoderKind::mlp;
  encoder.hidden = peft.encoder_hidden_size.value_or(
      is_prefix ? architecture.num_key_value_heads * architecture.head_dim : architecture.hidden_size);
  if (!is_lstm) return;
  encoder.layers = peft.encoder_num_layers;
  encoder.dropout = peft.encoder_dropout;
  if (encoder.dropout > 0 && encoder.layers == 1)
    throw UserError("{}: found {}, but an LSTM of one layer has nothing between layers to drop; 0 is right",
                    choice.place("encoder_dropout"), encoder.dropout);
}

bool wants_encoder(const PeftSection& peft) {
  return peft.path.empty() && (peft.type == "p_tuning" || peft.prefix_projection);
}

template <PromptKind kind>
void add_virtual_tokens(const Config& config, ModelSpec& model) {
  const ModuleChoice choice(config, model);
  const PeftSection& peft = config.peft;
  const int64_t positions = model.architecture.max_position_embeddings;
  if (!peft.num_virtual_tokens)
    throw UserError("{}: missing; {} needs the number of virtual tokens", choice.place("num_virtual_tokens"),
                    peft.type);
  if (*peft.num_virtual_tokens >= positions)
    throw UserError(
        "{}: {} virtual tokens leave no room in the model's {} positions (max_position_embeddings); fewer "
        "are "
        "wanted",
        choice.place("num_virtual_tokens"), *peft.num_virtual_tokens, positions);
  model.prompt.kind = kind;
  model.prompt.tokens = *peft.num_virtual_tokens;
  if (model.prompt.kind == PromptKind::prefix) check_no_windows(model.architecture, choice.place("type"));
  if (wants_encoder(peft)) add_encoder(config, choice, model);
  model.trained = {prompt_tensor, std::string(prompt_tensor) + ".*", "prompt_encoder.*"};
}

PeftSection read_virtual_tokens(const AdapterConfigFile& file) {
  file.check_keys(known_prompt_keys());
  const json* const submodules = file.find("num_transformer_submodules");
  if (submodules != nullptr && *submodules != 1)
    file.refuse("num_transformer_submodules", *submodules, "1, as of a decoder,");
  if (file.find("num_virtual_tokens") == nullptr)
    file.refuse("num_virtual_tokens", json(), "a whole number from 1 to 65536");
  PeftSection peft;
  peft.num_virtual_tokens = file.whole("num_virtual_tokens", 1);
  peft.prefix_projection = file.flag("prefix_projection");
  return peft;
}

void write_virtual_tokens(const Config& config, const ModelSpec& model, nlohmann::ordered_json& object) {
  const PeftSection& peft = config.peft;
  const ModelConfig& architecture = model.architecture;
  const bool is_prefix = model.prompt.kind == PromptKind::prefix;
  const int64_t heads = is_prefix ? architecture.num_key_value_heads : architecture.num_attention_heads;
  object["num_virtual_tokens"] = model.prompt.tokens;
  object["token_dim"] = is_prefix ? heads * architecture.head_dim : architecture.hidden_size;
  object["num_transformer_submodules"] = 1;
  object["num_attention_heads"] = heads;
  object["num_layers"] = architecture.num_hidden_layers;
  const int64_t width = object["token_dim"];
  if (is_prefix || peft.type == "p_tuning")
    object["encoder_hidden_size"] = peft.encoder_hidden_size.value_or(width);
  if (is_prefix) object["prefix_projection"] = peft.prefix_projection;
  if (peft.type == "p_tuning") {
    object["encoder_reparameterization_type"] = peft.encoder_reparameterization_type;
    object["encoder_num_layers"] = peft.encoder_num_layers;
    object["encoder_dropout"] = peft.encoder_dropout;
  }
  if (peft.type != "prompt_tuning") return;
  // peft wants to know the tokenizer of a text, although it does not read the text again.
  const std::string& tokenizer = config.tokenizer.path.empty() ? config.model.path : config.tokenizer.path;
  const bool knows_text = peft.prompt_tuning_init != "TEXT" || config.tokenizer.kind != "byte";
  object["prompt_tuning_init"] = knows_text ? peft.prompt_tuning_init : "RANDOM";
  if (peft.prompt_tuning_init == "TEXT" && knows_text) {
    object["prompt_tuning_init_text"] = peft.prompt_tuning_init_text;
    object["tokenizer_name_or_path"] = fs::absolute(tokenizer).lexically_normal().string();
  }
}

}  // namespace

AdapterKind prompt_tuning_kind() {
  return {"prompt_tuning",     "PROMPT_TUNING",     false, add_virtual_tokens<PromptKind::embeddings>,
          read_virtual_tokens, write_virtual_tokens};
}

AdapterKind p_tuning_kind() {
  return {"p_tuning",          "P_TUNING",          false, add_virtual_tokens<PromptKind::embeddings>,
          read_virtual_tokens, write_virtual_tokens};
}

AdapterKind prefix_tuning_kind() {
  return {"prefix_tuning",     "PREFIX_TUNING",     false, add_virtual_tokens<PromptKind::prefix>,
          read_virtual_tokens, write_virtual_tokens};
}

}  // namespace collie
