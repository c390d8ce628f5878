// Options of a rule or a schedule as a golden has them.
#pragma once

#include <nlohmann/json.hpp>

#include "io/optimizer_options.hpp"

namespace collie::test {

// With the types that are declared.
inline OptionValues typed_options(const std::vector<Option>& declared, const nlohmann::json& object) {
  OptionValues options;
  for (const auto& [name, value] : object.items()) {
    const Option* const option = find_option(declared, name);
    COLLIE_ASSERT(option != nullptr, "no option '{}' is declared", name);
    std::visit(
        [&, &name = name, &value = value](const auto& initial) {
          options.set(name, value.template get<std::decay_t<decltype(initial)>>());
        },
        option->initial);
  }
  return options;
}

inline OptionValues options_of_rule(const std::string& rule, const nlohmann::json& object) {
  return typed_options(optimizer_declarations().find(rule).options, object);
}

}  // namespace collie::test
