#include "io/jinja/print.hpp"

#include <algorithm>

#include "io/jinja/limits.hpp"
#include "io/jinja/number.hpp"
#include "io/jinja/objects.hpp"
#include "io/jinja/problem.hpp"
#include "io/jinja/runtime.hpp"
#include "io/jinja/text.hpp"
#include "io/utf8.hpp"

namespace collie::jinja {

namespace {

void append_escaped(std::string& text, char32_t c) {
  if (c < 0x100)
    text += fmt::format("\\x{:02x}", static_cast<uint32_t>(c));
  else if (c < 0x10000)
    text += fmt::format("\\u{:04x}", static_cast<uint32_t>(c));
  else
    text += fmt::format("\\U{:08x}", static_cast<uint32_t>(c));
}

void append_represented_text(std::string& text, std::string_view bytes) {
  const bool double_quotes =
      bytes.find('\'') != std::string_view::npos && bytes.find('"') == std::string_view::npos;
  const char32_t quote = double_quotes ? U'"' : U'\'';
  append_utf8(text, quote);
  for (size_t position = 0; position < bytes.size();) {
    const size_t start = position;
    const char32_t c = next_code_point(bytes, position);
    if (c == quote || c == '\\') {
      text += '\\';
      append_utf8(text, c);
    } else if (c == '\n') {
      text += "\\n";
    } else if (c == '\r') {
      text += "\\r";
    } else if (c == '\t') {
      text += "\\t";
    } else if (is_python_printable(c)) {
      text += bytes.substr(start, position - start);
    } else {
      append_escaped(text, c);
    }
  }
  append_utf8(text, quote);
}

// Appends repr() of values one inside the other to one text.
class Printer {
 public:
  explicit Printer(Runtime& runtime) : runtime_(runtime) {}

  void append(const Value& value) {
    runtime_.charge(1);
    if (text.size() > longest_text) throw Problem("a string of more than {} bytes is made", longest_text);
    if (value.is_text()) {
      runtime_.charge_bytes(value.bytes().size());
      if (value.text().is_safe) text += "Markup(";
      append_represented_text(text, value.bytes());
      if (value.text().is_safe) text += ")";
    } else if (value.is_dict()) {
      append_entries(value.dict());
    } else if (value.is_sequence()) {
      append_sequence(value.sequence());
    } else {
      append_scalar(value);
    }
  }

  std::string text;

 private:
  void append_scalar(const Value& value) {
    if (value.is_undefined())
      text += "Undefined";
    else if (value.is_none())
      text += "None";
    else if (value.is_bool())
      text += value.is_true() ? "True" : "False";
    else if (value.is_integer())
      text += fmt::format("{}", value.integer());
    else if (value.is_float())
      text += float_text(value.number());
    else
      append_object(value);
  }

  void append_object(const Value& value) {
    const auto* space = dynamic_cast<const Namespace*>(value.object());
    if (space == nullptr)
      throw Problem("a {} is printed; Python prints its address there, which is not supported",
                    value.type_name());
    const Level level(depth_, deepest_value, "namespaces");
    text += "<Namespace ";
    append_entries(space->entries());
    text += '>';
  }

  void append_entries(const Dict& dict) {
    text += '{';
    for (const auto& [key, value] : dict.entries()) {
      if (&key != &dict.entries().front().first) text += ", ";
      append(key);
      text += ": ";
      append(value);
    }
    text += '}';
  }

  void append_items(const std::vector<Value>& items) {
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) text += ", ";
      append(items[i]);
    }
  }

  void append_sequence(const Sequence& sequence) {
    switch (sequence.kind) {
      case SequenceKind::generator:
        throw Problem("a generator is printed; make a list of it first, with the filter 'list'");
      case SequenceKind::range:
        text += fmt::format("range({}, {}", sequence.range.start, sequence.range.stop);
        if (sequence.range.step != 1) text += fmt::format(", {}", sequence.range.step);
        text += ')';
        return;
      case SequenceKind::tuple:
        text += '(';
        append_items(sequence.items);
        text += sequence.items.size() == 1 ? ",)" : ")";
        return;
      case SequenceKind::list:
        break;
      default:
        text += Value(make_sequence(sequence.kind, {})).type_name();
        text += '(';
    }
    text += '[';
    append_items(sequence.items);
    text += sequence.kind == SequenceKind::list ? "]" : "])";
  }

  Runtime& runtime_;
  int depth_ = 0;
};

}  // namespace

std::string represented(Runtime& runtime, const Value& value) {
  Printer printer(runtime);
  printer.append(value);
  return std::move(printer.text);
}

std::string text_of(Runtime& runtime, const Value& value) {
  if (value.is_undefined()) return "";
  if (!value.is_text()) return represented(runtime, value);
  runtime.charge_bytes(value.bytes().size());
  return value.bytes();
}

}  // namespace collie::jinja
