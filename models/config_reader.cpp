#include "models/config_reader.hpp"

#include <cmath>
#include <filesystem>

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
      "prefix", "cache_implementation"};
  return keys;
}

constexpr const char* unknown_key =
    "the engine does not know this key, and it may change the maths; remove it if it does not";

// Among the keys that are read; those that are not, but harmless, are no mistake.
std::string suggestion(const ConfigReader& reader, const std::string& key) {
  const std::vector<std::string> known(reader.seen().begin(), reader.seen().end());
  const auto nearest = nearest_name(key, known);
  return nearest ? fmt::format(" (the nearest key that it knows is {})", *nearest) : "";
}

}  // namespace

bool is_off(const json& value) {
  if (value.is_null()) return true;
  if (value.is_boolean()) return !value.get<bool>();
  if (value.is_number()) return value.get<double>() == 0.0;
  if (value.is_string()) return value.get<std::string>().empty();
  return value.empty();
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

const json& ConfigReader::value(const std::string& key) {
  static const json null;
  seen_.insert(key);
  const auto found = object_.find(key);
  return found == object_.end() ? null : *found;
}

void ConfigReader::refuse(const std::string& key, const json& found, const std::string& right) const {
  throw UserError("{} is {}; {}", place(key), in_short(found), right);
}

std::string ConfigReader::place(const std::string& key) const {
  const ModelKeys::Origin* origin = origin_of(key);
  return origin ? origin->place : fmt::format("{}: {}", where_, shortened(key));
}

int64_t ConfigReader::size(const std::string& key, int64_t most, int64_t otherwise) {
  const json& found = value(key);
  if (found.is_null()) {
    if (otherwise > 0) return otherwise;
    throw UserError("{}: {} is missing; a whole number of at least 1 is needed", where_, key);
  }
  if (!found.is_number_integer() || found < 1 || found > most)
    refuse(key, found, fmt::format("it must be a whole number from 1 to {}", most));
  return found.get<int64_t>();
}

double ConfigReader::number(const std::string& key, double otherwise, double least, bool open) {
  const json& found = value(key);
  if (found.is_null()) return otherwise;
  const double number = found.is_number() ? found.get<double>() : std::nan("");
  if (!std::isfinite(number) || number < least || (open && number == least))
    refuse(key, found, fmt::format("it must be a number {} {}", open ? "above" : "of at least", least));
  return number;
}

double ConfigReader::rate(const std::string& key, double otherwise) {
  const json& found = value(key);
  if (found.is_null()) return otherwise;
  const double rate = found.is_number() ? found.get<double>() : std::nan("");
  if (!(rate >= 0 && rate < 1)) refuse(key, found, "it must be a number from 0 up to, but not including, 1");
  return rate;
}

bool ConfigReader::flag(const std::string& key, bool otherwise) {
  const json& found = value(key);
  if (found.is_null()) return otherwise;
  if (!found.is_boolean()) refuse(key, found, "it must be true or false");
  return found.get<bool>();
}

void ConfigReader::refuse_the_rest() const {
  for (const auto& [key, value] : object_.items()) {
    if (seen_.count(key) || harmless_keys().count(key) || key.starts_with("_")) continue;
    if (is_off(value) && !is_ours(key)) continue;
    refuse(key, value, fmt::format("{}{}", unknown_key, suggestion(*this, key)));
  }
}

const ModelKeys::Origin* ConfigReader::origin_of(const std::string& key) const {
  if (origins_ == nullptr) return nullptr;
  const auto found = origins_->find(key);
  return found == origins_->end() ? nullptr : &found->second;
}

bool ConfigReader::is_ours(const std::string& key) const {
  const ModelKeys::Origin* origin = origin_of(key);
  return origin && origin->of_the_engine;
}

}  // namespace collie
