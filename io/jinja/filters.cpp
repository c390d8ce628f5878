#include "io/jinja/filters.hpp"

#include <algorithm>
#include <array>

#include "io/jinja/access.hpp"
#include "io/jinja/number.hpp"
#include "io/jinja/problem.hpp"
#include "io/jinja/runtime.hpp"
#include "io/jinja/text.hpp"

namespace collie::jinja {

namespace {

const Filters& all_filters() {
  static const Filters filters = [] {
    Filters made;
    add_text_filters(made);
    add_number_filters(made);
    add_sequence_filters(made);
    add_selecting_filters(made);
    return made;
  }();
  return filters;
}

}  // namespace

Value apply_filter(Runtime& runtime, std::string_view name, const Value& value, const Arguments& arguments) {
  runtime.charge(1);
  const auto found = all_filters().find(name);
  if (found == all_filters().end()) throw Problem("there is no filter '{}'", name);
  return found->second(runtime, value, arguments);
}

bool is_filter(std::string_view name) {
  return all_filters().count(name) != 0;
}

bool is_missing_filter(std::string_view name) {
  constexpr std::array<std::string_view, 8> names = {"groupby", "urlize",    "xmlattr",  "pprint",
                                                     "random",  "striptags", "wordwrap", "filesizeformat"};
  return std::find(names.begin(), names.end(), name) != names.end();
}

Filter with_signature(std::string_view name, Signature signature, BoundFilter body) {
  return [function = fmt::format("the filter '{}'", name), signature = std::move(signature), body](
             Runtime& runtime, const Value& value, const Arguments& arguments) {
    return body(runtime, value, bind_arguments(function, signature, arguments));
  };
}

bool is_given(const std::optional<Value>& argument) {
  return argument && !argument->is_none() && !argument->is_undefined();
}

Value attribute_path(Runtime& runtime, const Value& item, const std::optional<Value>& attribute) {
  if (!is_given(attribute)) return item;
  if (attribute->is_integer()) return get_item(runtime, item, *attribute);
  Value value = item;
  for (const auto part : split_at(text_argument(*attribute, "the argument 'attribute'"), ".", -1, false)) {
    const bool is_number = !part.empty() && part.find_first_not_of("0123456789") == std::string_view::npos;
    value = get_item(runtime, value, is_number ? Value(*parse_python_integer(part, 10)) : Value(part));
  }
  return value;
}

Value ignoring_case(Runtime& runtime, const Value& value) {
  if (!value.is_text()) return value;
  runtime.charge_bytes(value.bytes().size());
  return lower_case(value.bytes());
}

}  // namespace collie::jinja
