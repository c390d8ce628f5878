// Python's str(), repr() and json.dumps() of values.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "io/jinja/value.hpp"

namespace collie::jinja {

// str(). Undefined gives "". Throws Problem for what prints an address in Python (functions, generators).
std::string text_of(Runtime& runtime, const Value& value);
// repr(): strings have quotes and escapes.
std::string represented(Runtime& runtime, const Value& value);

struct JsonStyle {
  bool ensure_ascii = false;
  std::string indent;  // of one level; used if `indented`
  bool indented = false;
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
};

// json.dumps(). Throws Problem for what JSON cannot express.
std::string json_of(Runtime& runtime, const Value& value, const JsonStyle& style);

// A value of a JSON text; the keys keep their order.
Value value_of_json(const nlohmann::ordered_json& json);

}  // namespace collie::jinja
