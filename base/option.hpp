// Options that a piece declares by name, such as an optimizer's betas, and the values that a user gave them.
// The configuration reads, checks, writes and explains them by their declaration (io/config_schema.hpp).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace collie {

struct NumberRange {
  std::optional<double> least, most;
  bool least_excluded = false, most_excluded = false;

  bool holds(double number) const;
  std::string words() const;  // " of at least 0", " from 0 to 1", ""

  static NumberRange at_least(double least) { return {least, {}}; }
  static NumberRange above(double least) { return {least, {}, true}; }
  static NumberRange from_to(double least, double most) { return {least, most}; }
  static NumberRange from_to_below(double least, double most) { return {least, most, false, true}; }
};

using OptionValue = std::variant<bool, int64_t, double, std::string, std::vector<double>>;

struct Option {
  std::string name;
  OptionValue initial;     // what it is unless it is given. Its type is the option's; a list keeps its length
  std::string doc;         // for the page of the keys
  NumberRange range = {};  // of a number, or of every number of a list
  std::vector<std::string> aliases = {};  // names in other programs; for suggestions only
  std::vector<std::string> choices = {};  // of a text: the valid ones
  // Another option that says the same in another way: at most one of the two may be given, and while the
  // other is given, this one has no value.
  std::string instead_of = "";
  bool unset = false;  // has no value unless it is given; `initial` only says its type

  // Whether it can be without a value.
  bool nullable() const { return unset || !instead_of.empty(); }
};

// Values by the names of their options.
class OptionValues {
 public:
  OptionValues() = default;
  OptionValues(std::initializer_list<std::pair<const std::string, OptionValue>> values) : values_(values) {}

  void set(const std::string& name, OptionValue value) { values_[name] = std::move(value); }
  void erase(const std::string& name) { values_.erase(name); }
  bool has(const std::string& name) const { return values_.count(name) > 0; }
  const std::map<std::string, OptionValue>& all() const { return values_; }

  // The value of an option that is there and has the type.
  const OptionValue& at(const std::string& name) const;
  bool flag(const std::string& name) const;
  int64_t whole_number(const std::string& name) const;
  double number(const std::string& name) const;
  const std::string& text(const std::string& name) const;
  const std::vector<double>& numbers(const std::string& name) const;

  bool operator==(const OptionValues&) const = default;

 private:
  std::map<std::string, OptionValue> values_;
};

// The declared option of that name; null if there is none.
const Option* find_option(const std::vector<Option>& options, const std::string& name);

// The value of a declared option beside those that are given: its own, or what it is at first. Null if it has
// none (Option::instead_of, Option::unset).
const OptionValue* value_in_force(const Option& option, const OptionValues& given);

// A value for every declared option that has one. Every value that is given must be of a declared option and
// of its type.
OptionValues with_defaults(const std::vector<Option>& options, const OptionValues& given);

// "lr, betas, eps": for messages.
std::string names_of_options(const std::vector<Option>& options);

// What a piece declares of its options.
struct OptionDeclaration {
  std::vector<Option> options;
  // Options in force that contradict each other, or one that is missing: the name of one, and what is wrong.
  // ("", "") if all is well.
  std::function<std::pair<std::string, std::string>(const OptionValues&)> complaint = {};
};

}  // namespace collie
