#include "models/families/rotary_keys.hpp"

#include "base/error.hpp"
#include "io/json_text.hpp"
#include "models/families/rope_scaling_keys.hpp"

namespace collie {
namespace {

using nlohmann::json;

// The channels of a head that are rotated, from the key that says which part of them.
int64_t read_rotated(ConfigReader& reader, const std::string& key, bool whole_heads, int64_t head_dim,
                     int64_t otherwise) {
  if (!reader.has(key)) return otherwise;
  const double part = reader.number(key, 1.0, 0.0, true);
  if (whole_heads && part != 1)
    reader.refuse(
        key, reader.value(key),
        fmt::format("models of this family rotate all of a head's {} channels; 1 is right", head_dim));
  const auto rotated = static_cast<int64_t>(part * static_cast<double>(head_dim));
  if (part > 1 || rotated < 2 || rotated % 2 != 0)
    reader.refuse(
        key, reader.value(key),
        fmt::format("an even number of a head's {} channels must be rotated, at most all", head_dim));
  return rotated;
}

// Of the files of both versions; both may name it, and then the same.
void read_base(ConfigReader& reader, ConfigReader& in_older, ConfigReader& in_newer, const RotaryKeys& keys,
               ModelConfig& config) {
  const json older = reader.value(keys.theta);
  config.rope_theta = reader.number(keys.theta, keys.theta_otherwise, 0.0, true);
  for (ConfigReader* inner : {&in_older, &in_newer}) {
    const double newer = inner->number("rope_theta", config.rope_theta, 0.0, true);
    if (!older.is_null() && newer != config.rope_theta)
      reader.refuse(keys.theta, older,
                    fmt::format("{} says {}: they must agree", inner->place("rope_theta"), newer));
    config.rope_theta = newer;
  }
}

void read_rotated_part(ConfigReader& reader, ConfigReader& in_older, ConfigReader& in_newer,
                       const RotaryKeys& keys, ModelConfig& config) {
  const auto whole = static_cast<int64_t>(keys.part_otherwise * static_cast<double>(config.head_dim));
  config.rotary_dim = read_rotated(reader, keys.part, keys.whole_heads, config.head_dim, whole);
  bool given = reader.has(keys.part);
  for (ConfigReader* inner : {&in_older, &in_newer}) {
    given = given || inner->has("partial_rotary_factor");
    config.rotary_dim =
        read_rotated(*inner, "partial_rotary_factor", keys.whole_heads, config.head_dim, config.rotary_dim);
  }
  if (!given && (whole < 2 || whole % 2 != 0) && keys.part_otherwise != 1)
    reader.refuse(
        keys.part, keys.part_otherwise,
        fmt::format("by default, and then {} of a head's {} channels are rotated; it must be an even "
                    "number of at least 2",
                    whole, config.head_dim));
}

// transformers 5 takes rope_scaling where there are both.
void check_same_scaling(ConfigReader& in_newer, ConfigReader& reader, const RotaryKeys& keys,
                        const ModelConfig& config) {
  json taken = json::object(), other = json::object();
  write_rope_scaling(config.rope_scaling, taken);
  write_rope_scaling(read_rope_scaling(in_newer, reader, keys, config), other);
  if (taken != other)
    reader.refuse("rope_scaling", reader.value("rope_scaling"),
                  fmt::format("rope_parameters says {}: they must agree", in_short(in_newer.object())));
}

}  // namespace

void refuse_unknown_rotary_keys(const ConfigReader& inner) {
  for (const auto& [key, value] : inner.object().items())
    if (!inner.seen().count(key) && !is_off(value))
      inner.refuse(key, value, "the engine has no such rotary feature, or this rope_type has none");
}

void read_rotary_keys(ConfigReader& reader, const RotaryKeys& keys, ModelConfig& config) {
  const json& older = reader.value("rope_scaling");
  const json& newer = reader.value("rope_parameters");
  if (!older.is_null() && !older.is_object())
    reader.refuse("rope_scaling", older, "it must be null or an object");
  if (!newer.is_null() && !newer.is_object()) reader.refuse("rope_parameters", newer, "it must be an object");
  ConfigReader in_older(older, reader.where() + ": rope_scaling"),
      in_newer(newer, reader.where() + ": rope_parameters");
  read_base(reader, in_older, in_newer, keys, config);
  read_rotated_part(reader, in_older, in_newer, keys, config);
  config.rope_scaling = read_rope_scaling(older.empty() ? in_newer : in_older, reader, keys, config);
  if (!older.empty() && !newer.is_null()) check_same_scaling(in_newer, reader, keys, config);
  refuse_unknown_rotary_keys(in_older);
  refuse_unknown_rotary_keys(in_newer);
}

void write_rotary_keys(const RotaryKeys& keys, const ModelConfig& config, json& object) {
  object[keys.theta] = config.rope_theta;  // read by transformers 4
  json scaling = json::object();
  write_rope_scaling(config.rope_scaling, scaling);
  if (config.rope_scaling.kind != RopeScalingKind::none) object["rope_scaling"] = scaling;
  scaling["rope_theta"] = config.rope_theta;
  object["rope_parameters"] = scaling;  // and by 5
  if (config.rotary_dim == config.head_dim && keys.part_otherwise == 1) return;
  const double part = static_cast<double>(config.rotary_dim) / static_cast<double>(config.head_dim);
  object[keys.part] = object["rope_parameters"]["partial_rotary_factor"] = part;
}

}  // namespace collie
