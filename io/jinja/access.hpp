// Attributes, items and slices of values, as Jinja2's sandbox gives them.
#pragma once

#include <string>

#include "io/jinja/value.hpp"

namespace collie::jinja {

// VALUE.NAME: a method or attribute, else the item of that key, else Undefined. Throws Problem if VALUE is
// Undefined.
Value get_attribute(Runtime& runtime, const Value& value, const std::string& name);

// VALUE[KEY]: an item, else the attribute of that name, else Undefined.
Value get_item(Runtime& runtime, const Value& value, const Value& key);

// VALUE[START:STOP:STEP]; None stands for a part that is left out.
Value get_slice(Runtime& runtime, const Value& value, const Value& start, const Value& stop,
                const Value& step);

// A method of a str, a dict, or a list or tuple; none if it has no such method.
std::optional<Value> text_method(const Value& value, const std::string& name);
std::optional<Value> dict_method(const Value& value, const std::string& name);
std::optional<Value> sequence_method(const Value& value, const std::string& name);

// Whether `name` is a method of a Python type that this engine lacks.
bool is_missing_method(std::string_view name);

}  // namespace collie::jinja
