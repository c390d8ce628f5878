#include "models/model_config.hpp"

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "base/checked.hpp"
#include "base/error.hpp"
#include "base/nearest_name.hpp"
#include "base/quote.hpp"
#include "io/files.hpp"
#include "io/json_text.hpp"

namespace collie {
namespace {

using nlohmann::json;

// Keys that say nothing about the maths of the model: whose file it is, how it was made, how to generate with
// it.
const std::set<std::string>& harmless_keys() {
  static const std::set<std::string> keys = {
      // identity and storage
      "architectures", "name_or_path", "torch_dtype", "dtype", "transformers_version",
      "transformers.js_config", "tokenizer_class", "task_specific_params", "finetuning_task",
      "unsloth_version", "unsloth_fixed", "is_llama_config", "model_max_length",
      // special tokens
      "bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id", "sep_token_id", "cls_token_id",
      "mask_token_id", "decoder_start_token_id",
      // how transformers runs it
      "use_cache", "pretraining_tp", "return_dict", "return_dict_in_generate", "output_attentions",
      "output_hidden_states", "output_scores", "torchscript", "use_bfloat16", "tf_legacy_loss",
      "attn_implementation", "use_flash_attention_2", "gradient_checkpointing",
      // classification heads, which a causal model has not
      "id2label", "label2id", "problem_type", "num_labels",
      // generation
      "temperature", "top_p", "top_k", "typical_p", "do_sample", "num_beams", "num_beam_groups",
      "num_return_sequences", "max_length", "min_length", "max_new_tokens", "early_stopping",
      "length_penalty", "repetition_penalty", "diversity_penalty", "no_repeat_ngram_size",
      "encoder_no_repeat_ngram_size", "bad_words_ids", "forced_bos_token_id", "forced_eos_token_id",
      "suppress_tokens", "begin_suppress_tokens", "exponential_decay_length_penalty", "remove_invalid_values",
      "prefix"};
  return keys;
}

// Known to change the maths; named here so that the message can say what they are.
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

// Each far above the largest that any published model has, and such that a tensor's bytes fit into 64 bits.
constexpr int64_t most_width = int64_t{1} << 20, most_heads = int64_t{1} << 16,
                  most_layers = int64_t{1} << 14, most_tokens = int64_t{1} << 24,
                  most_parameters = int64_t{1} << 43;

// A feature that is there but switched off.
bool is_off(const json& value) {
  if (value.is_null()) return true;
  if (value.is_boolean()) return !value.get<bool>();
  if (value.is_number()) return value.get<double>() == 0.0;
  if (value.is_string()) return value.get<std::string>().empty();
  return value.empty();
}

// Reads the keys of one object and remembers which it has seen.
class Reader {
 public:
  Reader(const json& object, std::string where) : object_(object), where_(std::move(where)) {}
  explicit Reader(const ModelKeys& keys)
      : object_(keys.object), where_(keys.where), origins_(&keys.origins) {}

  // The value, or null where the key is missing or null.
  const json& value(const std::string& key) {
    static const json null;
    seen_.insert(key);
    const auto found = object_.find(key);
    return found == object_.end() ? null : *found;
  }

  [[noreturn]] void refuse(const std::string& key, const json& found, const std::string& right) const {
    throw UserError("{} is {}; {}", place(key), in_short(found), right);
  }

  // What a message about `key` begins with.
  std::string place(const std::string& key) const {
    const ModelKeys::Origin* origin = origin_of(key);
    return origin ? origin->place : fmt::format("{}: {}", where_, shortened(key));
  }

  // Whether `key` was written for the engine alone.
  bool is_ours(const std::string& key) const {
    const ModelKeys::Origin* origin = origin_of(key);
    return origin && origin->of_the_engine;
  }

  int64_t size(const std::string& key, int64_t most, int64_t otherwise = 0) {
    const json& found = value(key);
    if (found.is_null()) {
      if (otherwise > 0) return otherwise;
      throw UserError("{}: {} is missing; a whole number of at least 1 is needed", where_, key);
    }
    if (!found.is_number_integer() || found < 1 || found > most)
      refuse(key, found, fmt::format("it must be a whole number from 1 to {}", most));
    return found.get<int64_t>();
  }

  // A finite number of at least `least`, or above it where `open`.
  double number(const std::string& key, double otherwise, double least, bool open) {
    const json& found = value(key);
    if (found.is_null()) return otherwise;
    const double number = found.is_number() ? found.get<double>() : std::nan("");
    if (!std::isfinite(number) || number < least || (open && number == least))
      refuse(key, found, fmt::format("it must be a number {} {}", open ? "above" : "of at least", least));
    return number;
  }

  bool flag(const std::string& key) {
    const json& found = value(key);
    if (found.is_null()) return false;
    if (!found.is_boolean()) refuse(key, found, "it must be true or false");
    return found.get<bool>();
  }

  const std::set<std::string>& seen() const { return seen_; }
  const json& object() const { return object_; }
  const std::string& where() const { return where_; }

 private:
  const ModelKeys::Origin* origin_of(const std::string& key) const {
    if (origins_ == nullptr) return nullptr;
    const auto found = origins_->find(key);
    return found == origins_->end() ? nullptr : &found->second;
  }

  const json& object_;
  std::string where_;
  const std::map<std::string, ModelKeys::Origin>* origins_ = nullptr;
  std::set<std::string> seen_;
};

void check_rope_type(Reader& reader, const std::string& key) {
  const json& type = reader.value(key);
  if (!type.is_null() && type != "default")
    reader.refuse(key, type, "the engine has no rope scaling yet, only type \"default\"");
}

void check_no_partial_rotation(Reader& reader) {
  const json& factor = reader.value("partial_rotary_factor");
  if (!factor.is_null() && factor != 1.0)
    reader.refuse("partial_rotary_factor", factor, "the engine rotates whole heads only (1.0)");
}

// transformers 5: {"rope_theta": T, "rope_type": "default"}; older: rope_theta beside rope_scaling.
double read_rope_theta(Reader& reader) {
  const json& scaling = reader.value("rope_scaling");
  if (!scaling.is_null()) {
    if (!scaling.is_object()) reader.refuse("rope_scaling", scaling, "it must be null or an object");
    Reader inner(scaling, reader.where() + ": rope_scaling");
    check_rope_type(inner, "rope_type");
    check_rope_type(inner, "type");
    if (!scaling.contains("rope_type") && !scaling.contains("type") && !scaling.empty())
      reader.refuse("rope_scaling", scaling, "the engine has no rope scaling yet: it must be null");
  }
  check_no_partial_rotation(reader);
  const json older = reader.value("rope_theta");
  const double theta = reader.number("rope_theta", 10000.0, 0.0, true);
  const json& parameters = reader.value("rope_parameters");
  if (parameters.is_null()) return theta;
  if (!parameters.is_object()) reader.refuse("rope_parameters", parameters, "it must be an object");
  Reader inner(parameters, reader.where() + ": rope_parameters");
  check_rope_type(inner, "rope_type");
  check_rope_type(inner, "type");
  check_no_partial_rotation(inner);
  const double newer = inner.number("rope_theta", theta, 0.0, true);
  for (const auto& [key, value] : parameters.items())
    if (!inner.seen().count(key) && !is_off(value))
      inner.refuse(key, value, "the engine has no such rotary feature");
  if (!older.is_null() && newer != theta)
    reader.refuse("rope_theta", older,
                  fmt::format("rope_parameters.rope_theta says {}: they must agree", newer));
  return newer;
}

constexpr const char* unknown_key =
    "the engine does not know this key, and it may change the maths; remove it if it does not";

// Among the keys that are read; those that are not, but harmless, are no mistake.
std::string suggestion(const Reader& reader, const std::string& key) {
  const std::vector<std::string> known(reader.seen().begin(), reader.seen().end());
  const auto nearest = nearest_name(key, known);
  return nearest ? fmt::format(" (the nearest key that it knows is {})", *nearest) : "";
}

void refuse_what_is_lacking(Reader& reader) {
  for (const auto& [key, feature] : missing_features) {
    const json& value = reader.value(key);
    if (!is_off(value)) reader.refuse(key, value, fmt::format("the engine does not have {}", feature));
  }
  const json& layers = reader.value("layer_types");
  if (!layers.is_null())
    for (const json& layer : layers)
      if (layer != "full_attention")
        reader.refuse("layer_types", layer, "the engine has \"full_attention\" only");
  for (const auto& [key, value] : reader.object().items()) {
    if (reader.seen().count(key) || harmless_keys().count(key) || key.starts_with("_")) continue;
    if (is_off(value) && !reader.is_ours(key)) continue;
    reader.refuse(key, value, fmt::format("{}{}", unknown_key, suggestion(reader, key)));
  }
}

// The matrices', which are nearly all.
std::optional<int64_t> parameters_of(const ModelConfig& c) {
  const auto a_block = checked_sum({checked_product({2, c.hidden_size, c.num_attention_heads, c.head_dim}),
                                    checked_product({2, c.hidden_size, c.num_key_value_heads, c.head_dim}),
                                    checked_product({3, c.hidden_size, c.intermediate_size})});
  return checked_sum({a_block ? checked_product({c.num_hidden_layers, *a_block}) : std::nullopt,
                      checked_product({2, c.vocab_size, c.hidden_size})});
}

void check_sizes(const ModelConfig& config, bool head_dim_given, const Reader& reader) {
  if (!head_dim_given && config.hidden_size % config.num_attention_heads != 0)
    throw UserError("{} {} is no multiple of num_attention_heads {}; without head_dim it must be",
                    reader.place("hidden_size"), config.hidden_size, config.num_attention_heads);
  if (config.num_attention_heads % config.num_key_value_heads != 0)
    throw UserError("{} {} must be a multiple of num_key_value_heads {}", reader.place("num_attention_heads"),
                    config.num_attention_heads, config.num_key_value_heads);
  if (config.head_dim % 2 != 0)
    throw UserError("{} {} must be even, for rotary positions", reader.place("head_dim"), config.head_dim);
  const auto parameters = parameters_of(config);
  if (!parameters || *parameters > most_parameters)
    throw UserError(
        "{}: num_hidden_layers {}, hidden_size {}, intermediate_size {}, num_attention_heads {}, head_dim {} "
        "and vocab_size {} make more than {} parameters, the most that the engine takes",
        reader.where(), config.num_hidden_layers, config.hidden_size, config.intermediate_size,
        config.num_attention_heads, config.head_dim, config.vocab_size, most_parameters);
}

}  // namespace

ModelConfig parse_model_config(const json& object, const std::string& where) {
  return parse_model_config(ModelKeys{object, where, {}});
}

ModelConfig parse_model_config(const ModelKeys& keys) {
  const std::string& where = keys.where;
  if (!keys.object.is_object())
    throw UserError("{}: found {}; an object of model settings is needed", where, in_short(keys.object));
  Reader reader(keys);
  ModelConfig config;
  const json& type = reader.value("model_type");
  if (type.is_null()) throw UserError("{}: model_type is missing; known: llama", where);
  if (type != "llama") reader.refuse("model_type", type, "known: llama");
  const json& activation = reader.value("hidden_act");
  if (!activation.is_null() && activation != "silu")
    reader.refuse("hidden_act", activation, "the engine has \"silu\" only");
  config.hidden_size = reader.size("hidden_size", most_width);
  config.intermediate_size = reader.size("intermediate_size", 4 * most_width);
  config.num_hidden_layers = reader.size("num_hidden_layers", most_layers);
  config.num_attention_heads = reader.size("num_attention_heads", most_heads);
  config.num_key_value_heads = reader.size("num_key_value_heads", most_heads, config.num_attention_heads);
  config.vocab_size = reader.size("vocab_size", most_tokens);
  config.max_position_embeddings = reader.size("max_position_embeddings", most_tokens, 2048);
  const bool head_dim_given = !reader.value("head_dim").is_null();
  config.head_dim =
      head_dim_given ? reader.size("head_dim", most_heads) : config.hidden_size / config.num_attention_heads;
  config.rms_norm_eps = reader.number("rms_norm_eps", 1e-6, 0.0, false);
  config.rope_theta = read_rope_theta(reader);
  config.tie_word_embeddings = reader.flag("tie_word_embeddings");
  config.attention_bias = reader.flag("attention_bias");
  config.mlp_bias = reader.flag("mlp_bias");
  config.initializer_range = reader.number("initializer_range", 0.02, 0.0, false);
  check_sizes(config, head_dim_given, reader);
  refuse_what_is_lacking(reader);
  return config;
}

ModelKeys read_model_keys(const std::string& folder) {
  ModelKeys keys;
  keys.where = (std::filesystem::path(folder) / "config.json").string();
  std::map<std::string, int> lines;
  keys.object = parse_json_object(read_text_file(keys.where), keys.where, &lines);
  for (const auto& [key, line] : lines)
    keys.origins[key].place = fmt::format("{}:{}: {}", keys.where, line, shortened(key));
  return keys;
}

ModelConfig load_model_config(const std::string& folder) {
  return parse_model_config(read_model_keys(folder));
}

json to_hugging_face(const ModelConfig& config) {
  return {
      {"architectures", {"LlamaForCausalLM"}},
      {"model_type", config.model_type},
      {"hidden_size", config.hidden_size},
      {"intermediate_size", config.intermediate_size},
      {"num_hidden_layers", config.num_hidden_layers},
      {"num_attention_heads", config.num_attention_heads},
      {"num_key_value_heads", config.num_key_value_heads},
      {"head_dim", config.head_dim},
      {"vocab_size", config.vocab_size},
      {"max_position_embeddings", config.max_position_embeddings},
      {"hidden_act", "silu"},
      {"rms_norm_eps", config.rms_norm_eps},
      {"rope_theta", config.rope_theta},  // read by transformers 4
      {"rope_parameters", {{"rope_theta", config.rope_theta}, {"rope_type", "default"}}},  // and by 5
      {"tie_word_embeddings", config.tie_word_embeddings},
      {"attention_bias", config.attention_bias},
      {"mlp_bias", config.mlp_bias},
      {"initializer_range", config.initializer_range},
  };
}

}  // namespace collie
