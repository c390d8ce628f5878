#include "io/jinja/operations.hpp"

#include <algorithm>

#include "io/jinja/format.hpp"
#include "io/jinja/limits.hpp"
#include "io/jinja/print.hpp"
#include "io/jinja/problem.hpp"
#include "io/jinja/runtime.hpp"
#include "io/jinja/text.hpp"

namespace collie::jinja {

namespace {

std::string_view operator_name(Operator operation) {
  switch (operation) {
    case Operator::add:
      return "+";
    case Operator::subtract:
      return "-";
    case Operator::multiply:
      return "*";
    case Operator::divide:
      return "/";
    case Operator::floor_divide:
      return "//";
    case Operator::modulo:
      return "%";
    case Operator::power:
      return "**";
  }
  return "";
}

bool is_list_or_tuple(const Value& value) {
  return value.is(SequenceKind::list) || value.is(SequenceKind::tuple);
}

Value add_texts(Runtime& runtime, const Value& a, const Value& b) {
  runtime.charge_bytes(a.bytes().size() + b.bytes().size());
  if (!a.text().is_safe && !b.text().is_safe) return a.bytes() + b.bytes();
  return Value(escaped(runtime, a).bytes() + escaped(runtime, b).bytes(), true);
}

Value add_sequences(Runtime& runtime, const Value& a, const Value& b) {
  std::vector<Value> items = a.sequence().items;
  const auto& more = b.sequence().items;
  runtime.charge((items.size() + more.size()) * 2);
  items.insert(items.end(), more.begin(), more.end());
  return make_sequence(a.sequence().kind, std::move(items));
}

Value repeated(Runtime& runtime, const Value& value, int64_t times) {
  if (value.is_text()) {
    std::string text = repeat_text(value.bytes(), times);
    runtime.charge_bytes(text.size());
    return Value(std::move(text), value.text().is_safe);
  }
  const auto& items = value.sequence().items;
  std::vector<Value> result;
  if (items.empty()) return make_sequence(value.sequence().kind, {});
  for (int64_t i = 0; i < times; ++i) {
    runtime.charge(items.size() * 2);
    result.insert(result.end(), items.begin(), items.end());
  }
  return make_sequence(value.sequence().kind, std::move(result));
}

void append_entity(std::string& text, char c) {
  switch (c) {
    case '&':
      text += "&amp;";
      return;
    case '<':
      text += "&lt;";
      return;
    case '>':
      text += "&gt;";
      return;
    case '\'':
      text += "&#39;";
      return;
    case '"':
      text += "&#34;";
      return;
    default:
      text += c;
  }
}

}  // namespace

Value apply_operator(Runtime& runtime, Operator operation, const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) return calculate(operation, a, b);
  if (operation == Operator::modulo && a.is_text()) {
    if (a.text().is_safe) throw Problem("% of a string that the filter 'safe' has made is not supported");
    return percent_format(runtime, a.bytes(), b);
  }
  defined(a);
  defined(b);
  if (operation == Operator::add && a.is_text() && b.is_text()) return add_texts(runtime, a, b);
  if (operation == Operator::add && is_list_or_tuple(a) && b.is(a.sequence().kind))
    return add_sequences(runtime, a, b);
  if (operation == Operator::multiply) {
    if ((a.is_text() || is_list_or_tuple(a)) && b.is_integer()) return repeated(runtime, a, b.integer());
    if ((b.is_text() || is_list_or_tuple(b)) && a.is_integer()) return repeated(runtime, b, a.integer());
  }
  throw Problem("unsupported operand types for {}: '{}' and '{}'", operator_name(operation), a.type_name(),
                b.type_name());
}

bool contains(Runtime& runtime, const Value& container, const Value& item) {
  if (container.is_text()) {
    if (!item.is_text()) throw Problem("'in' of a str looks for a {}; it must be a str", item.type_name());
    runtime.charge_bytes(container.bytes().size());
    return find_text(container.bytes(), item.bytes()) != std::string_view::npos;
  }
  if (container.is_dict()) return container.dict().find(item) != nullptr;
  if (container.is_sequence() && !container.is(SequenceKind::generator)) {
    const auto& items = container.sequence().items;
    return std::any_of(items.begin(), items.end(),
                       [&](const Value& each) { return equal(runtime, each, item); });
  }
  const auto items = items_of(runtime, container);
  return std::any_of(items.begin(), items.end(),
                     [&](const Value& each) { return equal(runtime, each, item); });
}

Value escaped(Runtime& runtime, const Value& value) {
  if (value.is_text() && value.text().is_safe) return value;
  std::string text;
  for (const char c : text_of(runtime, value)) append_entity(text, c);
  runtime.charge_bytes(text.size());
  return Value(std::move(text), true);
}

}  // namespace collie::jinja
