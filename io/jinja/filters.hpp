// Jinja2's filters and tests, with those that transformers replaces.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "io/jinja/arguments.hpp"

namespace collie::jinja {

using Filter = std::function<Value(Runtime& runtime, const Value& value, const Arguments& arguments)>;
using Filters = std::unordered_map<std::string_view, Filter>;
using Test = std::function<bool(Runtime& runtime, const Value& value, const Arguments& arguments)>;
using Tests = std::unordered_map<std::string_view, Test>;

// VALUE | NAME(...) and VALUE is NAME(...). Throw Problem for a name that there is not.
Value apply_filter(Runtime& runtime, std::string_view name, const Value& value, const Arguments& arguments);
bool apply_test(Runtime& runtime, std::string_view name, const Value& value, const Arguments& arguments);

bool is_filter(std::string_view name);
bool is_test(std::string_view name);
// Whether Jinja2 has a filter of this name that this engine lacks.
bool is_missing_filter(std::string_view name);

// The filters by what they take.
void add_text_filters(Filters& filters);
void add_number_filters(Filters& filters);
void add_sequence_filters(Filters& filters);
void add_selecting_filters(Filters& filters);

// A filter whose arguments have these names.
using BoundArguments = std::vector<std::optional<Value>>;
using BoundFilter = Value (*)(Runtime& runtime, const Value& value, const BoundArguments& arguments);
Filter with_signature(std::string_view name, Signature signature, BoundFilter body);

// The argument is there and neither None nor Undefined.
bool is_given(const std::optional<Value>& argument);

// What the argument "attribute" of a filter finds in an item: "a.b", "0", or the item itself where it is not
// given.
Value attribute_path(Runtime& runtime, const Value& item, const std::optional<Value>& attribute);
// The same value, or its lower case where it is a string.
Value ignoring_case(Runtime& runtime, const Value& value);

// The functions that every template has: range, dict, namespace, raise_exception, strftime_now.
Dict global_functions();
// Whether Jinja2 has a function of this name that this engine lacks.
bool is_missing_function(std::string_view name);

}  // namespace collie::jinja
