#include "models/families/rotary_keys.hpp"

#include "base/error.hpp"

namespace collie {
namespace {

using nlohmann::json;

void check_rope_type(ConfigReader& reader, const std::string& key) {
  const json& type = reader.value(key);
  if (!type.is_null() && type != "default")
    reader.refuse(key, type, "the engine has no rope scaling yet, only type \"default\"");
}

// The channels of a head that are rotated, from the key that says which part of them.
int64_t read_rotated(ConfigReader& reader, const std::string& key, int64_t head_dim, int64_t otherwise) {
  if (!reader.has(key)) return otherwise;
  const double part = reader.number(key, 1.0, 0.0, true);
  const auto rotated = static_cast<int64_t>(part * static_cast<double>(head_dim));
  if (part > 1 || rotated < 2 || rotated % 2 != 0)
    reader.refuse(
        key, reader.value(key),
        fmt::format("an even number of a head's {} channels must be rotated, at most all", head_dim));
  return rotated;
}

}  // namespace

void read_rotary_keys(ConfigReader& reader, const RotaryKeys& keys, ModelConfig& config) {
  const json& scaling = reader.value("rope_scaling");
  if (!scaling.is_null()) {
    if (!scaling.is_object()) reader.refuse("rope_scaling", scaling, "it must be null or an object");
    ConfigReader inner(scaling, reader.where() + ": rope_scaling");
    check_rope_type(inner, "rope_type");
    check_rope_type(inner, "type");
    if (!scaling.contains("rope_type") && !scaling.contains("type") && !scaling.empty())
      reader.refuse("rope_scaling", scaling, "the engine has no rope scaling yet: it must be null");
  }
  const auto whole = static_cast<int64_t>(keys.part_otherwise * static_cast<double>(config.head_dim));
  config.rotary_dim = read_rotated(reader, keys.part, config.head_dim, whole);
  const bool given =
      reader.has(keys.part) || reader.value("rope_parameters").contains("partial_rotary_factor");
  if (!given && keys.part_otherwise != 1 && (whole < 2 || whole % 2 != 0))
    reader.refuse(
        keys.part, keys.part_otherwise,
        fmt::format("by default, and then {} of a head's {} channels are rotated; it must be an even "
                    "number of at least 2",
                    whole, config.head_dim));
  const json older = reader.value(keys.theta);
  config.rope_theta = reader.number(keys.theta, 10000.0, 0.0, true);
  const json& parameters = reader.value("rope_parameters");
  if (parameters.is_null()) return;
  if (!parameters.is_object()) reader.refuse("rope_parameters", parameters, "it must be an object");
  ConfigReader inner(parameters, reader.where() + ": rope_parameters");
  check_rope_type(inner, "rope_type");
  check_rope_type(inner, "type");
  config.rotary_dim = read_rotated(inner, "partial_rotary_factor", config.head_dim, config.rotary_dim);
  const double newer = inner.number("rope_theta", config.rope_theta, 0.0, true);
  for (const auto& [key, value] : parameters.items())
    if (!inner.seen().count(key) && !is_off(value))
      inner.refuse(key, value, "the engine has no such rotary feature");
  if (!older.is_null() && newer != config.rope_theta)
    reader.refuse(keys.theta, older,
                  fmt::format("rope_parameters.rope_theta says {}: they must agree", newer));
  config.rope_theta = newer;
}

void write_rotary_keys(const RotaryKeys& keys, const ModelConfig& config, json& object) {
  object[keys.theta] = config.rope_theta;  // read by transformers 4
  object["rope_parameters"] = {{"rope_theta", config.rope_theta}, {"rope_type", "default"}};  // and by 5
  if (config.rotary_dim == config.head_dim && keys.part_otherwise == 1) return;
  const double part = static_cast<double>(config.rotary_dim) / static_cast<double>(config.head_dim);
  object[keys.part] = object["rope_parameters"]["partial_rotary_factor"] = part;
}

}  // namespace collie
