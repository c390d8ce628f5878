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

void check_no_partial_rotation(ConfigReader& reader) {
  const json& factor = reader.value("partial_rotary_factor");
  if (!factor.is_null() && factor != 1.0)
    reader.refuse("partial_rotary_factor", factor, "the engine rotates whole heads only (1.0)");
}

}  // namespace

double read_rope_theta(ConfigReader& reader) {
  const json& scaling = reader.value("rope_scaling");
  if (!scaling.is_null()) {
    if (!scaling.is_object()) reader.refuse("rope_scaling", scaling, "it must be null or an object");
    ConfigReader inner(scaling, reader.where() + ": rope_scaling");
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
  ConfigReader inner(parameters, reader.where() + ": rope_parameters");
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

void write_rope_theta(double theta, json& object) {
  object["rope_theta"] = theta;                                                   // read by transformers 4
  object["rope_parameters"] = {{"rope_theta", theta}, {"rope_type", "default"}};  // and by 5
}

}  // namespace collie
