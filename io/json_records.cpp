#include "io/json_records.hpp"

#include "base/error.hpp"
#include "base/quote.hpp"
#include "io/json_text.hpp"

namespace collie {

JsonRecord::JsonRecord(const DataRecord& line)
    : place_(line.place), value_(parse_ordered_json(line.text, place_)) {
  if (!value_.is_object())
    throw UserError("{}: it must be a JSON object, not {}", place_, in_short(nlohmann::json(value_)));
}

const nlohmann::ordered_json* JsonRecord::find(const std::string& key) const {
  const auto found = value_.find(key);
  return found == value_.end() || found->is_null() ? nullptr : &*found;
}

const nlohmann::ordered_json& JsonRecord::at(const std::string& key) const {
  const auto found = value_.find(key);
  if (found == value_.end())
    throw UserError("{}: it has no key '{}'; it has: {}", place_, shortened(key), keys());
  return *found;
}

const std::string& JsonRecord::text(const std::string& key) const {
  const nlohmann::ordered_json& value = at(key);
  if (!value.is_string())
    throw UserError("{}: key '{}' must be a string, not {}", place_, shortened(key), value.type_name());
  return value.get_ref<const std::string&>();
}

std::string JsonRecord::keys() const {
  constexpr size_t longest_list = 200;
  std::string all;
  for (const auto& [key, value] : value_.items()) {
    all += (all.empty() ? "'" : ", '") + shortened(key) + "'";
    if (all.size() > longest_list) return all + ", ...";
  }
  return all.empty() ? "none" : all;
}

}  // namespace collie
