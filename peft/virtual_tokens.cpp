// Prompt tuning (arXiv 2104.08691), P-tuning (arXiv 2103.10385) and prefix tuning (arXiv 2101.00190).
#include "peft/virtual_tokens.hpp"

#include <filesystem>

#include "base/error.hpp"
#include "peft/adapter_kind.hpp"
#include "peft/module_choice.hpp"

namespace collie {
namespace {

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

int64_t key_width(const ModelConfig& config) {
  return config.num_key_value_heads * config.head_dim;
}

// Of a folder the tensor is what the encoder gave.
bool wants_encoder(const PeftSection& peft) {
  return peft.path.empty() && (peft.type == "p_tuning" || peft.prefix_projection);
}

EncoderSettings encoder_of(const PeftSection& peft, const ModelSpec& model, const ModuleChoice& choice) {
  const bool is_prefix = model.prompt.kind == PromptKind::prefix;
  const bool is_lstm = !is_prefix && peft.encoder_reparameterization_type == "LSTM";
  EncoderSettings encoder;
  encoder.kind = is_prefix ? EncoderKind::projection : is_lstm ? EncoderKind::lstm : EncoderKind::mlp;
  encoder.hidden = peft.encoder_hidden_size.value_or(is_prefix ? key_width(model.architecture)
                                                               : model.architecture.hidden_size);
  if (!is_lstm) return encoder;
  encoder.layers = peft.encoder_num_layers;
  encoder.dropout = peft.encoder_dropout;
  if (encoder.dropout > 0 && encoder.layers == 1)
    throw UserError("{}: found {}, but an LSTM of one layer has nothing between layers to drop; 0 is right",
                    choice.place("encoder_dropout"), encoder.dropout);
  return encoder;
}

void add_virtual_tokens(const Config& config, ModelSpec& model) {
  const PeftSection& peft = config.peft;
  const ModuleChoice choice(config, model);
  const std::string place = choice.place("num_virtual_tokens");
  const int64_t positions = model.architecture.max_position_embeddings;
  if (!peft.num_virtual_tokens)
    throw UserError("{}: missing; {} needs the number of virtual tokens", place, peft.type);
  if (*peft.num_virtual_tokens >= positions)
    throw UserError(
        "{}: {} virtual tokens leave no room in the model's {} positions (max_position_embeddings); fewer "
        "are "
        "wanted",
        place, *peft.num_virtual_tokens, positions);
  const bool is_prefix = peft.type == "prefix_tuning";
  if (is_prefix) check_no_windows(model.architecture, choice.place("type"));
  model.prompt.kind = is_prefix ? PromptKind::prefix : PromptKind::embeddings;
  model.prompt.tokens = *peft.num_virtual_tokens;
  if (wants_encoder(peft)) model.prompt.encoder = encoder_of(peft, model, choice);
  model.trained = {prompt_tensor, std::string(prompt_tensor) + ".*", "prompt_encoder.*"};
}

// Whatever a folder says of an encoder, it has what that gave.
PeftSection read_virtual_tokens(const AdapterConfigFile& file) {
  std::set<std::string> known = common_adapter_keys();
  known.insert({"encoder_dropout", "encoder_hidden_size", "encoder_num_layers",
                "encoder_reparameterization_type", "init_weights", "num_attention_heads", "num_layers",
                "num_transformer_submodules", "num_virtual_tokens", "prefix_projection", "prompt_tuning_init",
                "prompt_tuning_init_text", "runtime_config", "token_dim", "tokenizer_kwargs",
                "tokenizer_name_or_path"});
  file.check_keys(known);
  for (const char* key : {"modules_to_save", "target_modules"})
    if (const nlohmann::json* const found = file.find(key); found != nullptr && !found->empty())
      file.refuse(key, *found, "null");
  if (file.whole("num_transformer_submodules", 1) != 1)
    file.refuse("num_transformer_submodules", *file.find("num_transformer_submodules"), "1, of a decoder,");
  if (file.find("num_virtual_tokens") == nullptr)
    file.refuse("num_virtual_tokens", nullptr, "a whole number from 1 to 65536");
  PeftSection peft;
  peft.num_virtual_tokens = file.whole("num_virtual_tokens", 1);
  peft.prefix_projection = file.flag("prefix_projection");
  return peft;
}

// What peft says of every kind of virtual tokens.
void write_sizes(const ModelSpec& model, nlohmann::ordered_json& object) {
  const ModelConfig& config = model.architecture;
  const bool is_prefix = model.prompt.kind == PromptKind::prefix;
  object["num_virtual_tokens"] = model.prompt.tokens;
  object["token_dim"] = is_prefix ? key_width(config) : config.hidden_size;
  object["num_transformer_submodules"] = 1;
  object["num_attention_heads"] = is_prefix ? config.num_key_value_heads : config.num_attention_heads;
  object["num_layers"] = config.num_hidden_layers;
}

// peft wants to know the tokenizer of a text, although it does not read the text again.
void write_prompt_tuning(const Config& config, const ModelSpec& model, nlohmann::ordered_json& object) {
  write_sizes(model, object);
  const PeftSection& peft = config.peft;
  const std::string& tokenizer = config.tokenizer.path.empty() ? config.model.path : config.tokenizer.path;
  const bool says_text = peft.prompt_tuning_init == "TEXT" && config.tokenizer.kind != "byte";
  object["prompt_tuning_init"] =
      peft.prompt_tuning_init == "TEXT" && !says_text ? "RANDOM" : peft.prompt_tuning_init;
  if (!says_text) return;
  object["prompt_tuning_init_text"] = peft.prompt_tuning_init_text;
  object["tokenizer_name_or_path"] = std::filesystem::absolute(tokenizer).lexically_normal().string();
}

void write_p_tuning(const Config& config, const ModelSpec& model, nlohmann::ordered_json& object) {
  write_sizes(model, object);
  const PeftSection& peft = config.peft;
  object["encoder_reparameterization_type"] = peft.encoder_reparameterization_type;
  object["encoder_hidden_size"] = peft.encoder_hidden_size.value_or(model.architecture.hidden_size);
  object["encoder_num_layers"] = peft.encoder_num_layers;
  object["encoder_dropout"] = peft.encoder_dropout;
}

void write_prefix_tuning(const Config& config, const ModelSpec& model, nlohmann::ordered_json& object) {
  write_sizes(model, object);
  const PeftSection& peft = config.peft;
  object["encoder_hidden_size"] = peft.encoder_hidden_size.value_or(key_width(model.architecture));
  object["prefix_projection"] = peft.prefix_projection;
}

}  // namespace

void check_can_be_trained(const Config& config) {
  const PeftSection& peft = config.peft;
  if (peft.path.empty() || (peft.type != "p_tuning" && !peft.prefix_projection)) return;
  throw UserError(
      "{}: '{}' has what the encoder of its virtual tokens gave, and not the encoder, so a training cannot "
      "go "
      "on from it; a resume of the run goes on, and generate and eval use the folder",
      config.file.place("peft.path"), peft.path);
}

AdapterKind prompt_tuning_kind() {
  return {"prompt_tuning",    "PROMPT_TUNING",     false,
          add_virtual_tokens, read_virtual_tokens, write_prompt_tuning};
}

AdapterKind p_tuning_kind() {
  return {"p_tuning", "P_TUNING", false, add_virtual_tokens, read_virtual_tokens, write_p_tuning};
}

AdapterKind prefix_tuning_kind() {
  return {"prefix_tuning",    "PREFIX_TUNING",     false,
          add_virtual_tokens, read_virtual_tokens, write_prefix_tuning};
}

}  // namespace collie
