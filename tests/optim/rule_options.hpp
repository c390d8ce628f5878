// Options of a rule as a golden has them.
#pragma once

#include <nlohmann/json.hpp>

#include "base/option.hpp"

namespace collie::test {

inline OptionValues options_of(const nlohmann::json& object) {
  OptionValues options;
  for (const auto& [name, value] : object.items())
    if (value.is_boolean())
      options.set(name, value.get<bool>());
    else if (value.is_array())
      options.set(name, value.get<std::vector<double>>());
    else
      options.set(name, value.get<double>());
  return options;
}

}  // namespace collie::test
