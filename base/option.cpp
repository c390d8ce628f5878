#include "base/option.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.hpp"

namespace collie {

bool NumberRange::holds(double number) const {
  if (least && (least_excluded ? number <= *least : number < *least)) return false;
  return !(most && (most_excluded ? number >= *most : number > *most));
}

std::string NumberRange::words() const {
  if (least && most && least_excluded) return fmt::format(" above {:.0f} and at most {:.0f}", *least, *most);
  if (least && most)
    return most_excluded ? fmt::format(" of at least {:.0f} and below {:.0f}", *least, *most)
                         : fmt::format(" from {:.0f} to {:.0f}", *least, *most);
  if (least) return fmt::format("{} {:.0f}", least_excluded ? " above" : " of at least", *least);
  return "";
}

const OptionValue& OptionValues::at(const std::string& name) const {
  const auto found = values_.find(name);
  COLLIE_ASSERT(found != values_.end(), "there is no value of the option '{}'", name);
  return found->second;
}

bool OptionValues::flag(const std::string& name) const {
  return std::get<bool>(at(name));
}

int64_t OptionValues::whole_number(const std::string& name) const {
  return std::get<int64_t>(at(name));
}

double OptionValues::number(const std::string& name) const {
  return std::get<double>(at(name));
}

const std::string& OptionValues::text(const std::string& name) const {
  return std::get<std::string>(at(name));
}

const std::vector<double>& OptionValues::numbers(const std::string& name) const {
  return std::get<std::vector<double>>(at(name));
}

const Option* find_option(const std::vector<Option>& options, const std::string& name) {
  const auto found =
      std::find_if(options.begin(), options.end(), [&](const Option& each) { return each.name == name; });
  return found == options.end() ? nullptr : &*found;
}

const OptionValue* value_in_force(const Option& option, const OptionValues& given) {
  if (given.has(option.name)) return &given.at(option.name);
  const bool replaced = !option.instead_of.empty() && given.has(option.instead_of);
  return option.unset || replaced ? nullptr : &option.initial;
}

OptionValues with_defaults(const std::vector<Option>& options, const OptionValues& given) {
  OptionValues values;
  for (const Option& option : options)
    if (const OptionValue* const value = value_in_force(option, given)) values.set(option.name, *value);
  for (const auto& [name, value] : given.all()) {
    const Option* const option = find_option(options, name);
    COLLIE_ASSERT(option != nullptr, "no option '{}' is declared", name);
    COLLIE_ASSERT(option->initial.index() == value.index(), "the option '{}' has a value of another type",
                  name);
  }
  return values;
}

std::string names_of_options(const std::vector<Option>& options) {
  std::string names;
  for (const Option& option : options) names += (names.empty() ? "" : ", ") + option.name;
  return names;
}

}  // namespace collie
