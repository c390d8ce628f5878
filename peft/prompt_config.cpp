#include "peft/prompt_config.hpp"

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/error.hpp"
#include "base/quote.hpp"
#include "io/json_text.hpp"
#include "peft/adapter_config.hpp"
#include "peft/prompt_files.hpp"

namespace collie {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

struct PromptType {
  const char *type, *peft_type;
  PromptKind kind;
};
constexpr PromptType prompt_types[] = {{"prompt_tuning", "PROMPT_TUNING", PromptKind::embeddings},
                                       {"p_tuning", "P_TUNING", PromptKind::embeddings},
                                       {"prefix_tuning", "PREFIX_TUNING", PromptKind::prefix}};

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

[[noreturn]] void refuse_key(const std::string& file, const std::string& key, const json& found,
                             const std::string& wanted) {
  throw UserError("{}: {}: found {}; {} is wanted", file, shortened(key), in_short(found), wanted);
}

void check_prompt_keys(const json& object, const std::string& file) {
  for (const auto& [key, value] : object.items())
    if (known_prompt_keys().count(key) == 0 && !value.is_null() && value != false && !value.empty())
      throw UserError("{}: {}: {} is not supported; only an adapter without it is", file, shortened(key),
                      in_short(value));
  const json submodules = object.value("num_transformer_submodules", json());
  if (!submodules.is_null() && submodules != 1)
    refuse_key(file, "num_transformer_submodules", submodules, "1, as of a decoder,");
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

std::string place_of_key(const Config& config, const std::string& key) {
  if (config.peft.path.empty()) return config.file.place("peft." + key);
  return config.peft.path + "/" + adapter_config_name + ": " + key;
}

// What the keys of an encoder say that trains virtual tokens.
void add_encoder(const Config& config, ModelSpec& model) {
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
                    place_of_key(config, "encoder_dropout"), encoder.dropout);
}

bool wants_encoder(const PeftSection& peft) {
  return peft.path.empty() && (peft.type == "p_tuning" || peft.prefix_projection);
}

}  // namespace

bool is_prompt_type(const std::string& type) {
  return std::any_of(std::begin(prompt_types), std::end(prompt_types),
                     [&](const PromptType& each) { return type == each.type; });
}

bool is_prompt_peft_type(const json& peft_type) {
  return std::any_of(std::begin(prompt_types), std::end(prompt_types),
                     [&](const PromptType& each) { return peft_type == each.peft_type; });
}

void add_prompt(const Config& config, ModelSpec& model) {
  const PeftSection& peft = config.peft;
  const int64_t positions = model.architecture.max_position_embeddings;
  if (!peft.num_virtual_tokens)
    throw UserError("{}: missing; {} needs the number of virtual tokens",
                    place_of_key(config, "num_virtual_tokens"), peft.type);
  if (*peft.num_virtual_tokens >= positions)
    throw UserError(
        "{}: {} virtual tokens leave no room in the model's {} positions (max_position_embeddings); fewer "
        "are "
        "wanted",
        place_of_key(config, "num_virtual_tokens"), *peft.num_virtual_tokens, positions);
  for (const PromptType& each : prompt_types)
    if (peft.type == each.type) model.prompt.kind = each.kind;
  model.prompt.tokens = *peft.num_virtual_tokens;
  if (model.prompt.kind == PromptKind::prefix)
    check_no_windows(model.architecture, place_of_key(config, "type"));
  if (wants_encoder(peft)) add_encoder(config, model);
  model.trained = {prompt_tensor, std::string(prompt_tensor) + ".*", "prompt_encoder.*"};
}

void check_can_be_trained(const Config& config) {
  const PeftSection& peft = config.peft;
  if (peft.path.empty() || (peft.type != "p_tuning" && !peft.prefix_projection)) return;
  throw UserError(
      "{}: '{}' has what the encoder of its virtual tokens gave, and not the encoder, so a training cannot "
      "go on "
      "from it; a resume of the run goes on, and generate and eval use the folder",
      config.file.place("peft.path"), peft.path);
}

PeftSection read_prompt_config(const json& object, const std::string& file) {
  check_prompt_keys(object, file);
  PeftSection peft;
  for (const PromptType& each : prompt_types)
    if (object.at("peft_type") == each.peft_type) peft.type = each.type;
  const json tokens = object.value("num_virtual_tokens", json());
  if (!tokens.is_number_integer() || tokens < 1 || tokens > 65536)
    refuse_key(file, "num_virtual_tokens", tokens, "a whole number from 1 to 65536");
  peft.num_virtual_tokens = tokens.get<int64_t>();
  const json projection = object.value("prefix_projection", json());
  if (!projection.is_null() && !projection.is_boolean())
    refuse_key(file, "prefix_projection", projection, "true or false");
  peft.prefix_projection = projection == true;
  return peft;
}

nlohmann::ordered_json prompt_config_of(const Config& config, const ModelSpec& model) {
  const PeftSection& peft = config.peft;
  const ModelConfig& architecture = model.architecture;
  const bool is_prefix = model.prompt.kind == PromptKind::prefix;
  const int64_t heads = is_prefix ? architecture.num_key_value_heads : architecture.num_attention_heads;
  nlohmann::ordered_json object{
      {"peft_type", ""},
      {"task_type", "CAUSAL_LM"},
      {"base_model_name_or_path", fs::absolute(config.model.path).lexically_normal().string()},
      {"inference_mode", true},
      {"num_virtual_tokens", model.prompt.tokens},
      {"token_dim", is_prefix ? heads * architecture.head_dim : architecture.hidden_size},
      {"num_transformer_submodules", 1},
      {"num_attention_heads", heads},
      {"num_layers", architecture.num_hidden_layers}};
  for (const PromptType& each : prompt_types)
    if (peft.type == each.type) object["peft_type"] = each.peft_type;
  const int64_t width = object["token_dim"];
  if (is_prefix || peft.type == "p_tuning")
    object["encoder_hidden_size"] = peft.encoder_hidden_size.value_or(width);
  if (is_prefix) object["prefix_projection"] = peft.prefix_projection;
  if (peft.type == "p_tuning") {
    object["encoder_reparameterization_type"] = peft.encoder_reparameterization_type;
    object["encoder_num_layers"] = peft.encoder_num_layers;
    object["encoder_dropout"] = peft.encoder_dropout;
  }
  if (peft.type != "prompt_tuning") return object;
  // peft wants to know the tokenizer of a text, although it does not read the text again.
  const std::string& tokenizer = config.tokenizer.path.empty() ? config.model.path : config.tokenizer.path;
  const bool knows_text = peft.prompt_tuning_init != "TEXT" || config.tokenizer.kind != "byte";
  object["prompt_tuning_init"] = knows_text ? peft.prompt_tuning_init : "RANDOM";
  if (peft.prompt_tuning_init == "TEXT" && knows_text) {
    object["prompt_tuning_init_text"] = peft.prompt_tuning_init_text;
    object["tokenizer_name_or_path"] = fs::absolute(tokenizer).lexically_normal().string();
  }
  return object;
}

}  // namespace collie
