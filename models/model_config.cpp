#include "models/model_config.hpp"

#include <nlohmann/json.hpp>
#include <optional>

#include "base/checked.hpp"
#include "base/error.hpp"
#include "io/json_text.hpp"
#include "models/families/family.hpp"

namespace collie {
namespace {

using nlohmann::json;

// Known to change the maths; named here so that the message can say what they are. A family that has one has
// read it before.
const std::pair<const char*, const char*> missing_features[] = {
    {"quantization_config", "quantised weights"},
    {"auto_map", "models with code of their own"},
    {"sliding_window", "sliding-window attention"},
    {"attention_dropout", "dropout"},
    {"hidden_dropout", "dropout"},
    {"resid_pdrop", "dropout"},
    {"embd_pdrop", "dropout"},
    {"attn_pdrop", "dropout"},
    {"is_encoder_decoder", "encoder-decoder models"},
    {"add_cross_attention", "cross attention"},
    {"rope_interleaved", "interleaved rotary positions"},
};

constexpr int64_t most_parameters = int64_t{1} << 43;

void refuse_what_is_lacking(ConfigReader& reader) {
  for (const auto& [key, feature] : missing_features) {
    if (reader.seen().count(key)) continue;
    const json& value = reader.value(key);
    if (!is_off(value)) reader.refuse(key, value, fmt::format("the engine does not have {}", feature));
  }
  if (!reader.seen().count("layer_types"))
    for (const json& layer : reader.value("layer_types"))
      if (layer != "full_attention")
        reader.refuse("layer_types", layer, "the engine has \"full_attention\" only");
  reader.refuse_the_rest();
}

// The matrices', which are nearly all.
std::optional<int64_t> parameters_of(const ModelConfig& c) {
  const auto a_block =
      checked_sum({checked_product({2, c.hidden_size, c.num_attention_heads, c.head_dim}),
                   checked_product({2, c.hidden_size, c.num_key_value_heads, c.head_dim}),
                   checked_product({c.gated_mlp ? 3 : 2, c.hidden_size, c.intermediate_size})});
  return checked_sum({a_block ? checked_product({c.num_hidden_layers, *a_block}) : std::nullopt,
                      checked_product({2, c.vocab_size, c.hidden_size})});
}

void check_sizes(const ModelConfig& config, const SizeKeys& keys, bool head_dim_given,
                 const ConfigReader& reader) {
  if (!head_dim_given && config.hidden_size % config.num_attention_heads != 0)
    throw UserError("{} {} is no multiple of {} {}{}", reader.place(keys.hidden), config.hidden_size,
                    keys.heads, config.num_attention_heads,
                    keys.head_dim ? "; without head_dim it must be" : "");
  if (config.num_attention_heads % config.num_key_value_heads != 0)
    throw UserError("{} {} must be a multiple of {} {}", reader.place(keys.heads), config.num_attention_heads,
                    keys.key_value_heads, config.num_key_value_heads);
  if (config.positions == Positions::rotary && keys.head_dim && config.head_dim % 2 != 0)
    throw UserError("{} {} must be even, for rotary positions", reader.place(keys.head_dim), config.head_dim);
  if (config.positions == Positions::rotary && config.rotary_dim % 2 != 0)
    throw UserError("{} {} and {} {} make heads of {} channels, but an even number of them must be rotated",
                    reader.place(keys.hidden), config.hidden_size, keys.heads, config.num_attention_heads,
                    config.rotary_dim);
  const auto parameters = parameters_of(config);
  if (!parameters || *parameters > most_parameters)
    throw UserError(
        "{}: {} {}, {} {}, {} {}, {} {}, head_dim {} and {} {} make more than {} parameters, the most that "
        "the engine takes",
        reader.where(), keys.blocks, config.num_hidden_layers, keys.hidden, config.hidden_size,
        keys.intermediate, config.intermediate_size, keys.heads, config.num_attention_heads, config.head_dim,
        keys.vocabulary, config.vocab_size, most_parameters);
}

int64_t read_key_value_heads(ConfigReader& reader, const SizeKeys& keys, int64_t heads) {
  if (keys.key_value_heads == nullptr) return heads;
  const bool is_missing = !reader.object().contains(keys.key_value_heads);
  return reader.size(
      keys.key_value_heads, model_limits::heads,
      is_missing && keys.key_value_heads_otherwise > 0 ? keys.key_value_heads_otherwise : heads);
}

// The sizes that no family can do without, and those that follow from them if they are not given.
void read_sizes(ConfigReader& reader, const SizeKeys& keys, ModelConfig& config) {
  config.hidden_size = reader.size(keys.hidden, model_limits::width);
  config.num_hidden_layers = reader.size(keys.blocks, model_limits::layers);
  config.num_attention_heads = reader.size(keys.heads, model_limits::heads);
  config.num_key_value_heads = read_key_value_heads(reader, keys, config.num_attention_heads);
  config.head_dim =
      keys.head_dim_otherwise > 0 ? keys.head_dim_otherwise : config.hidden_size / config.num_attention_heads;
  if (keys.head_dim && reader.has(keys.head_dim))
    config.head_dim = reader.size(keys.head_dim, model_limits::heads);
  config.vocab_size = reader.size(keys.vocabulary, model_limits::tokens);
}

}  // namespace

ModelConfig parse_model_config(const json& object, const std::string& where) {
  return parse_model_config(ModelKeys{object, where, {}});
}

ModelConfig parse_model_config(const ModelKeys& keys) {
  const std::string& where = keys.where;
  if (!keys.object.is_object())
    throw UserError("{}: found {}; an object of model settings is needed", where, in_short(keys.object));
  ConfigReader reader(keys);
  const json& type = reader.value("model_type");
  if (type.is_null()) throw UserError("{}: model_type is missing; known: {}", where, known_families());
  const Family* const family = find_family(type.is_string() ? type.get<std::string>() : "", reader);
  if (family == nullptr)
    reader.refuse("model_type", type, right_family(type.is_string() ? type.get<std::string>() : ""));
  if (family->check) family->check(reader);
  ModelConfig config;
  config.model_type = family->model_type;
  read_sizes(reader, family->keys, config);
  family->read(reader, config);
  config.initializer_range = reader.number("initializer_range", config.initializer_range, 0.0, false);
  const SizeKeys& sizes = family->keys;
  const bool head_dim_given = sizes.head_dim_otherwise > 0 || (sizes.head_dim && reader.has(sizes.head_dim));
  check_sizes(config, sizes, head_dim_given, reader);
  refuse_what_is_lacking(reader);
  return config;
}

ModelConfig load_model_config(const std::string& folder) {
  return parse_model_config(read_model_keys(folder));
}

json to_hugging_face(const ModelConfig& config) {
  const Family& family = family_of(config);
  json object = {
      {"architectures", {family.architecture}},
      {"model_type", family.type_in_files()},
      {family.keys.hidden, config.hidden_size},
      {family.keys.intermediate, config.intermediate_size},
      {family.keys.blocks, config.num_hidden_layers},
      {family.keys.heads, config.num_attention_heads},
      {family.keys.vocabulary, config.vocab_size},
      {family.keys.positions, config.max_position_embeddings},
      {"tie_word_embeddings", config.tie_word_embeddings},
      {"initializer_range", config.initializer_range},
  };
  if (family.keys.key_value_heads) object[family.keys.key_value_heads] = config.num_key_value_heads;
  if (family.keys.head_dim) object[family.keys.head_dim] = config.head_dim;
  family.write(config, object);
  return object;
}

}  // namespace collie
