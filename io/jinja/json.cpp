// json.dumps() of values, and values of JSON.
#include <algorithm>
#include <cmath>

#include "base/quote.hpp"
#include "io/jinja/limits.hpp"
#include "io/jinja/number.hpp"
#include "io/jinja/print.hpp"
#include "io/jinja/problem.hpp"
#include "io/jinja/runtime.hpp"
#include "io/utf8.hpp"

namespace collie::jinja {

namespace {

void append_json_escape(std::string& text, char32_t c) {
  switch (c) {
    case '"':
      text += "\\\"";
      return;
    case '\\':
      text += "\\\\";
      return;
    case '\n':
      text += "\\n";
      return;
    case '\r':
      text += "\\r";
      return;
    case '\t':
      text += "\\t";
      return;
    case '\b':
      text += "\\b";
      return;
    case '\f':
      text += "\\f";
      return;
    default:
      break;
  }
  if (c >= 0x10000) {
    append_json_escape(text, 0xD800 + ((c - 0x10000) >> 10));
    c = 0xDC00 + ((c - 0x10000) & 0x3FF);
  }
  text += fmt::format("\\u{:04x}", static_cast<uint32_t>(c));
}

std::string json_number(const Value& value) {
  if (value.is_bool()) return value.is_true() ? "true" : "false";
  if (value.is_integer()) return fmt::format("{}", value.integer());
  if (std::isnan(value.number())) return "NaN";
  if (std::isinf(value.number())) return value.number() < 0 ? "-Infinity" : "Infinity";
  return float_text(value.number());
}

class JsonPrinter {
 public:
  JsonPrinter(Runtime& runtime, const JsonStyle& style) : runtime_(runtime), style_(style) {}

  void append(const Value& value) {
    runtime_.charge(1);
    if (text.size() > longest_text) throw Problem("a string of more than {} bytes is made", longest_text);
    if (value.is_text())
      append_text(value.bytes());
    else if (value.is_none())
      text += "null";
    else if (value.is_number())
      text += json_number(value);
    else if (value.is_dict())
      append_dict(value.dict());
    else if (value.is(SequenceKind::list) || value.is(SequenceKind::tuple))
      append_list(value.sequence().items);
    else
      throw Problem("Object of type {} is not JSON serializable{}", value.type_name(),
                    value.is_undefined() ? ": " + value.undefined_reason() : "");
  }

  std::string text;

 private:
  void append_text(std::string_view bytes) {
    runtime_.charge_bytes(bytes.size());
    text += '"';
    for (size_t position = 0; position < bytes.size();) {
      const size_t start = position;
      const char32_t c = next_code_point(bytes, position);
      if (c < 0x20 || c == '"' || c == '\\' || (style_.ensure_ascii && c >= 0x7F && c != 0x7F))
        append_json_escape(text, c);
      else
        text += bytes.substr(start, position - start);
    }
    text += '"';
  }

  std::string key_text(const Value& key) const {
    if (key.is_text()) return key.bytes();
    if (key.is_none()) return "null";
    if (key.is_number()) return json_number(key);
    throw Problem("keys must be str, int, float, bool or None, not {}", key.type_name());
  }

  void begin_line() {
    if (!style_.indented) return;
    runtime_.charge_bytes(style_.indent.size() * static_cast<size_t>(level_));
    text += '\n';
    for (int i = 0; i < level_; ++i) text += style_.indent;
  }

  // Appends BEGIN, the parts, END.
  template <class Items, class Append>
  void append_parts(char begin, const Items& items, char end, Append append_item) {
    text += begin;
    if (!items.empty()) {
      ++level_;
      for (size_t i = 0; i < items.size(); ++i) {
        if (i > 0) text += style_.item_separator;
        begin_line();
        append_item(items[i]);
      }
      --level_;
      begin_line();
    }
    text += end;
  }

  void append_list(const std::vector<Value>& items) {
    append_parts('[', items, ']', [&](const Value& item) { append(item); });
  }

  void append_dict(const Dict& dict) {
    std::vector<const Dict::Entry*> entries;
    for (const auto& entry : dict.entries()) entries.push_back(&entry);
    if (style_.sort_keys)
      std::stable_sort(entries.begin(), entries.end(),
                       [&](const auto* a, const auto* b) { return less(runtime_, a->first, b->first); });
    append_parts('{', entries, '}', [&](const Dict::Entry* entry) {
      append_text(key_text(entry->first));
      text += style_.key_separator;
      append(entry->second);
    });
  }

  Runtime& runtime_;
  const JsonStyle& style_;
  int level_ = 0;
};

}  // namespace

std::string json_of(Runtime& runtime, const Value& value, const JsonStyle& style) {
  JsonPrinter printer(runtime, style);
  printer.append(value);
  return std::move(printer.text);
}

Value value_of_json(const nlohmann::ordered_json& json) {
  switch (json.type()) {
    case nlohmann::ordered_json::value_t::boolean:
      return json.get<bool>();
    case nlohmann::ordered_json::value_t::number_integer:
      return json.get<int64_t>();
    case nlohmann::ordered_json::value_t::number_unsigned:
      if (json.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX))
        throw Problem("the number {} goes beyond 64 bits with a sign, which is not supported",
                      json.get<uint64_t>());
      return json.get<int64_t>();
    case nlohmann::ordered_json::value_t::number_float:
      return json.get<double>();
    case nlohmann::ordered_json::value_t::string:
      return Value(json.get<std::string>());
    case nlohmann::ordered_json::value_t::array: {
      std::vector<Value> items;
      for (const auto& item : json) items.push_back(value_of_json(item));
      return make_list(std::move(items));
    }
    case nlohmann::ordered_json::value_t::object: {
      Dict dict;
      for (const auto& [key, item] : json.items()) dict.set(key, value_of_json(item));
      return make_dict(std::move(dict));
    }
    case nlohmann::ordered_json::value_t::binary:  // parse_ordered_json()
      throw Problem("the number {} goes beyond 64 bits, which is not supported",
                    shortened(std::string(json.get_binary().begin(), json.get_binary().end())));
    default:
      return None{};
  }
}

}  // namespace collie::jinja
