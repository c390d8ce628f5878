#include "models/families/rope_scaling_keys.hpp"

#include <cmath>
#include <map>

#include "base/error.hpp"

namespace collie {
namespace {

using nlohmann::json;

const std::map<std::string, RopeScalingKind>& scaling_names() {
  static const std::map<std::string, RopeScalingKind> names = {
      {"default", RopeScalingKind::none},    {"linear", RopeScalingKind::linear},
      {"dynamic", RopeScalingKind::dynamic}, {"llama3", RopeScalingKind::llama3},
      {"yarn", RopeScalingKind::yarn},       {"longrope", RopeScalingKind::longrope},
  };
  return names;
}

const std::map<std::string, RopeScalingKind>& phi3_scaling_names() {
  static const std::map<std::string, RopeScalingKind> names = {
      {"default", RopeScalingKind::none},
      {"longrope", RopeScalingKind::longrope},
      {"su", RopeScalingKind::longrope},
      {"yarn", RopeScalingKind::longrope},
  };
  return names;
}

const char* name_of_kind(RopeScalingKind kind) {
  for (const auto& [name, meaning] : scaling_names())
    if (meaning == kind) return name.c_str();
  return "";
}

RopeScalingKind read_kind(ConfigReader& inner, const RotaryKeys& keys) {
  const auto& names = keys.longrope_alone ? phi3_scaling_names() : scaling_names();
  const RopeScalingKind older = inner.one_of("type", names, RopeScalingKind::none);
  const RopeScalingKind kind = inner.one_of("rope_type", names, older);
  if (inner.has("type") && kind != older)
    inner.refuse("type", inner.value("type"),
                 fmt::format("rope_type says {}: they must agree", inner.value("rope_type").dump()));
  return kind;
}

// A number that the kind cannot do without.
double needed(ConfigReader& inner, const char* key) {
  if (!inner.has(key)) inner.refuse(key, nullptr, "a number above 0 is needed");
  return inner.number(key, 1, 0.0, true);
}

int64_t read_original(ConfigReader& inner, ConfigReader& reader, const RotaryKeys& keys,
                      const ModelConfig& config) {
  constexpr const char* key = "original_max_position_embeddings";
  const int64_t inside = inner.size(key, model_limits::tokens, config.max_position_embeddings);
  const int64_t original =
      reader.size(key, model_limits::tokens, keys.original_otherwise > 0 ? keys.original_otherwise : inside);
  // transformers takes that of the whole file, whatever stands beside the type.
  if (inner.has(key) && original != inside)
    inner.refuse(key, inside,
                 fmt::format("{} {} {}: they must agree", reader.place(key),
                             reader.has(key) ? "says" : "is missing, which means", original));
  return original;
}

// By how much the positions grow, where that is not said.
double growth(const RopeScaling& scaling, const ModelConfig& config) {
  return static_cast<double>(config.max_position_embeddings) /
         static_cast<double>(scaling.original_positions);
}

void read_llama3(ConfigReader& inner, RopeScaling& scaling) {
  scaling.factor = needed(inner, "factor");
  scaling.low_frequency_factor = needed(inner, "low_freq_factor");
  scaling.high_frequency_factor = needed(inner, "high_freq_factor");
  if (scaling.high_frequency_factor <= scaling.low_frequency_factor)
    inner.refuse("high_freq_factor", scaling.high_frequency_factor,
                 fmt::format("it must be above low_freq_factor, {}", scaling.low_frequency_factor));
}

double yarn_scale(double factor, double mscale) {
  return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

void read_yarn(ConfigReader& inner, const ModelConfig& config, RopeScaling& scaling) {
  if (config.rope_theta <= 1)
    inner.refuse("rope_type", "yarn",
                 fmt::format("the base of wavelengths is {}: it must be above 1", config.rope_theta));
  scaling.factor = inner.number("factor", growth(scaling, config), 0.0, true);
  // 0 is as good as nothing.
  const double mscale = inner.number("mscale", 0, 0.0, false),
               all = inner.number("mscale_all_dim", 0, 0.0, false),
               fast = inner.number("beta_fast", 0, 0.0, false),
               slow = inner.number("beta_slow", 0, 0.0, false);
  const double attention = mscale != 0 && all != 0
                               ? yarn_scale(scaling.factor, mscale) / yarn_scale(scaling.factor, all)
                               : yarn_scale(scaling.factor, 1);
  scaling.attention_factor = inner.number("attention_factor", attention, 0.0, true);
  if (fast != 0) scaling.beta_fast = fast;
  if (slow != 0) scaling.beta_slow = slow;
  if (scaling.beta_fast < scaling.beta_slow)
    inner.refuse("beta_fast", scaling.beta_fast,
                 fmt::format("it must be at least beta_slow, {}", scaling.beta_slow));
  scaling.truncate = inner.flag("truncate", true);
  inner.ignore("finetuned");  // a note
}

std::vector<double> read_factors(ConfigReader& inner, const char* key, int64_t count) {
  const json& found = inner.value(key);
  const std::string right =
      fmt::format("it must list {} numbers above 0: half of the channels that are rotated", count);
  if (!found.is_array() || static_cast<int64_t>(found.size()) != count) inner.refuse(key, found, right);
  std::vector<double> factors;
  for (const json& factor : found) {
    if (!factor.is_number() || !(factor.get<double>() > 0)) inner.refuse(key, factor, right);
    factors.push_back(factor.get<double>());
  }
  return factors;
}

void read_longrope(ConfigReader& inner, const ModelConfig& config, RopeScaling& scaling) {
  scaling.factor = inner.number("factor", growth(scaling, config), 0.0, true);
  if (scaling.original_positions < 2)
    inner.refuse("original_max_position_embeddings", scaling.original_positions, "it must be at least 2");
  const auto original = static_cast<double>(scaling.original_positions);
  const double attention =
      scaling.factor <= 1 ? 1.0 : std::sqrt(1 + std::log(scaling.factor) / std::log(original));
  scaling.attention_factor = inner.number("attention_factor", attention, 0.0, true);
  scaling.short_factors = read_factors(inner, "short_factor", config.rotary_dim / 2);
  scaling.long_factors = read_factors(inner, "long_factor", config.rotary_dim / 2);
}

}  // namespace

RopeScaling read_rope_scaling(ConfigReader& inner, ConfigReader& reader, const RotaryKeys& keys,
                              const ModelConfig& config) {
  RopeScaling scaling;
  scaling.kind = read_kind(inner, keys);
  const bool has_original = scaling.kind == RopeScalingKind::llama3 ||
                            scaling.kind == RopeScalingKind::yarn ||
                            scaling.kind == RopeScalingKind::longrope;
  if (has_original)
    scaling.original_positions = read_original(inner, reader, keys, config);
  else
    reader.ignore("original_max_position_embeddings");  // the others have no use for it
  if (scaling.kind == RopeScalingKind::linear || scaling.kind == RopeScalingKind::dynamic)
    scaling.factor = needed(inner, "factor");
  if (scaling.kind == RopeScalingKind::llama3) read_llama3(inner, scaling);
  if (scaling.kind == RopeScalingKind::yarn) read_yarn(inner, config, scaling);
  if (scaling.kind == RopeScalingKind::longrope) read_longrope(inner, config, scaling);
  return scaling;
}

void write_rope_scaling(const RopeScaling& scaling, json& object) {
  object["rope_type"] = name_of_kind(scaling.kind);
  if (scaling.kind == RopeScalingKind::none) return;
  object["factor"] = scaling.factor;
  if (scaling.original_positions > 0) object["original_max_position_embeddings"] = scaling.original_positions;
  if (scaling.kind == RopeScalingKind::llama3) {
    object["low_freq_factor"] = scaling.low_frequency_factor;
    object["high_freq_factor"] = scaling.high_frequency_factor;
  }
  if (scaling.kind == RopeScalingKind::yarn) {
    object["beta_fast"] = scaling.beta_fast;
    object["beta_slow"] = scaling.beta_slow;
    object["truncate"] = scaling.truncate;
  }
  if (scaling.kind == RopeScalingKind::yarn || scaling.kind == RopeScalingKind::longrope)
    object["attention_factor"] = scaling.attention_factor;
  if (scaling.kind == RopeScalingKind::longrope) {
    object["short_factor"] = scaling.short_factors;
    object["long_factor"] = scaling.long_factors;
  }
}

}  // namespace collie
