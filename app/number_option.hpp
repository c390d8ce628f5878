// Options whose value is a number. CLI11's own options silently accept -1 for an unsigned number, 10^30 for
// the largest one, and nan.
#pragma once

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <string>
#include <type_traits>

#include "base/error.hpp"
#include "base/quote.hpp"

namespace collie {

// Parses all of `text` as a number. Throws UserError "--top-k: found 'many'; a whole number from 0 to 9 is
// wanted".
template <class Number>
Number parse_number_option(const std::string& name, const std::string& text, Number least, Number most) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || !(number >= least && number <= most))
    throw UserError("{}: found '{}'; a {} from {} to {} is wanted", name, shortened(text),
                    std::is_integral_v<Number> ? "whole number" : "number", least, most);
  return number;
}

// Adds an option that fills `target`, a Number or an std::optional of one. The value in `target` is the
// default. `target` must outlive `command`.
template <class Number, class Target>
CLI::Option* add_number_option(CLI::App& command, const std::string& name, Target& target, Number least,
                               Number most, const std::string& description) {
  const auto set = [=, &target](const std::string& text) {
    target = parse_number_option<Number>(name, text, least, most);
  };
  CLI::Option* option = command.add_option_function<std::string>(name, set, description);
  option->type_name("NUMBER");
  if constexpr (std::is_same_v<Number, Target>) option->default_str(fmt::format("{}", target));
  return option;
}

}  // namespace collie
