#include "runtime/sinks/event.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace collie {

void Event::add(std::string name, EventValue value) {
  COLLIE_ASSERT(name != "step" && find(name) == nullptr, "an event has the value '{}' twice", name);
  values.emplace_back(std::move(name), std::move(value));
}

const EventValue* Event::find(std::string_view name) const {
  const auto found =
      std::find_if(values.begin(), values.end(), [&](const auto& value) { return value.first == name; });
  return found == values.end() ? nullptr : &found->second;
}

std::optional<double> Event::number(std::string_view name) const {
  const EventValue* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (const auto* integer = std::get_if<int64_t>(value)) return static_cast<double>(*integer);
  if (const auto* real = std::get_if<double>(value)) return *real;
  return std::nullopt;
}

nlohmann::ordered_json json_of(const EventValue& value) {
  return std::visit([](const auto& held) { return nlohmann::ordered_json(held); }, value);
}

nlohmann::ordered_json json_of(const Event& event) {
  nlohmann::ordered_json object;
  object["step"] = event.step;
  for (const auto& [name, value] : event.values) object[name] = json_of(value);
  return object;
}

}  // namespace collie
