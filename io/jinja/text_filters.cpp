// Filters that make texts.
#include <algorithm>

#include "io/jinja/access.hpp"
#include "io/jinja/filters.hpp"
#include "io/jinja/format.hpp"
#include "io/jinja/limits.hpp"
#include "io/jinja/operations.hpp"
#include "io/jinja/print.hpp"
#include "io/jinja/problem.hpp"
#include "io/jinja/runtime.hpp"
#include "io/jinja/text.hpp"
#include "io/utf8.hpp"

namespace collie::jinja {

namespace {

// The value as Jinja2's soft_str: a string stays what it is, safe or not.
Value soft_text(Runtime& runtime, const Value& value) {
  return value.is_text() ? value : Value(text_of(runtime, value));
}

Value call_method(Runtime& runtime, const Value& value, const std::string& name,
                  std::vector<Value> arguments) {
  return text_method(value, name)->object()->call(runtime, {std::move(arguments), {}});
}

template <const char* const& method>
Value method_filter(Runtime& runtime, const Value& value, const BoundArguments&) {
  return call_method(runtime, soft_text(runtime, value), method, {});
}
constexpr const char* upper_name = "upper";
constexpr const char* lower_name = "lower";
constexpr const char* capitalize_name = "capitalize";

Value string_filter(Runtime& runtime, const Value& value, const BoundArguments&) {
  return soft_text(runtime, value);
}

Value safe_filter(Runtime& runtime, const Value& value, const BoundArguments&) {
  return Value(text_of(runtime, value), true);
}

Value escape_filter(Runtime& runtime, const Value& value, const BoundArguments&) {
  return escaped(runtime, value);
}

Value force_escape_filter(Runtime& runtime, const Value& value, const BoundArguments&) {
  return escaped(runtime, text_of(runtime, value));
}

Value trim_filter(Runtime& runtime, const Value& value, const BoundArguments& arguments) {
  return call_method(runtime, soft_text(runtime, value), "strip",
                     {is_given(arguments[0]) ? *arguments[0] : Value(None{})});
}

Value center_filter(Runtime& runtime, const Value& value, const BoundArguments& arguments) {
  return call_method(runtime, soft_text(runtime, value), "center",
                     {arguments[0].value_or(Value(int64_t{80}))});
}

Value replace_filter(Runtime& runtime, const Value& value, const BoundArguments& arguments) {
  const Value text(text_of(runtime, value));
  return call_method(runtime, text, "replace",
                     {text_of(runtime, *arguments[0]), text_of(runtime, *arguments[1]),
                      is_given(arguments[2]) ? *arguments[2] : Value(int64_t{-1})});
}

// Jinja2's title: each part between white space, hyphens and opening brackets begins with a capital.
Value title_filter(Runtime& runtime, const Value& value, const BoundArguments&) {
  const Value text = soft_text(runtime, value);
  runtime.charge_bytes(text.bytes().size() * 4);
  const std::string& bytes = text.bytes();
  std::string result;
  const auto add_word = [&](std::string_view word) {
    if (word.empty()) return;
    size_t first = 0;
    next_code_point(word, first);
    result += upper_case(word.substr(0, first)) + lower_case(word.substr(first));
  };
  size_t start = 0;
  for (size_t position = 0; position < bytes.size();) {
    const size_t at = position;
    const char32_t c = next_code_point(bytes, position);
    if (!is_python_space(c) && c != '-' && c != '(' && c != '{' && c != '[' && c != '<') continue;
    add_word(std::string_view(bytes).substr(start, at - start));
    result.append(bytes, at, position - at);
    start = position;
  }
  add_word(std::string_view(bytes).substr(start));
  return result;
}

std::string indentation(const std::optional<Value>& width) {
  if (!width) return "    ";
  if (width->is_text()) return width->bytes();
  const int64_t columns = integer_argument(*width, "the width of the filter 'indent'");
  if (columns > widest_field) throw Problem("a width is more than {}", widest_field);
  return repeat_text(" ", columns);
}

Value indent_filter(Runtime& runtime, const Value& value, const BoundArguments& arguments) {
  const std::string indent = indentation(arguments[0]);
  const bool first = arguments[1] && arguments[1]->is_true(), blank = arguments[2] && arguments[2]->is_true();
  const std::string text = text_argument(value, "what the filter 'indent' gets") + "\n";
  std::string result = first ? indent : "";
  bool is_first = true;
  for (const auto line : split_lines(text, false)) {
    runtime.charge_bytes(line.size() + indent.size());
    if (!is_first) result += '\n';
    if (!is_first && (blank || !line.empty())) result += indent;
    is_first = false;
    result += line;
    if (result.size() > longest_text) throw Problem("a string of more than {} bytes is made", longest_text);
  }
  return result;
}

Value truncate_filter(Runtime& runtime, const Value& value, const BoundArguments& arguments) {
  const std::string end =
      arguments[2] ? text_argument(*arguments[2], "the end of the filter 'truncate'") : "...";
  const int64_t length =
      arguments[0] ? integer_argument(*arguments[0], "the length of the filter 'truncate'") : 255;
  const int64_t leeway =
      is_given(arguments[3]) ? integer_argument(*arguments[3], "the leeway of the filter 'truncate'") : 5;
  const int64_t end_length = Value(end).text().length;
  if (length < end_length || leeway < 0)
    throw Problem("the filter 'truncate' gets a length below that of its end, or a negative leeway");
  if (length_of(value) <= length + leeway) return value;
  runtime.charge_bytes(text_argument(value, "what the filter 'truncate' gets").size());
  std::string_view kept = part_of(value.text(), 0, length - end_length);
  if (!arguments[1] || !arguments[1]->is_true())
    kept = kept.substr(0, std::min(kept.rfind(' '), kept.size()));
  return std::string(kept) + end;
}

Value wordcount_filter(Runtime& runtime, const Value& value, const BoundArguments&) {
  const Value text = soft_text(runtime, value);
  int64_t words = 0;
  bool in_word = false;
  runtime.charge_bytes(text.bytes().size());
  for (size_t position = 0; position < text.bytes().size();) {
    const char32_t c = next_code_point(text.bytes(), position);
    const bool is_word = c == '_' || is_python_alphanumeric(c);
    if (is_word && !in_word) ++words;
    in_word = is_word;
  }
  return words;
}

Value urlencode_filter(Runtime& runtime, const Value& value, const BoundArguments&) {
  if (value.is_dict() || value.is_sequence())
    throw Problem("the filter 'urlencode' gets a {}; only strings are supported", value.type_name());
  std::string result;
  const Value text = soft_text(runtime, value);
  for (const char c : text.bytes()) {
    const bool kept = std::isalnum(static_cast<unsigned char>(c)) ||
                      std::string_view("_.-~/").find(c) != std::string_view::npos;
    result += kept ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  runtime.charge_bytes(result.size());
  return result;
}

Value join_filter(Runtime& runtime, const Value& value, const BoundArguments& arguments) {
  const std::string separator = arguments[0] ? text_of(runtime, *arguments[0]) : "";
  std::string result;
  bool first = true;
  for (const Value& item : items_of(runtime, value)) {
    if (!first) result += separator;
    first = false;
    result += text_of(runtime, attribute_path(runtime, item, arguments[1]));
    runtime.charge_bytes(separator.size());
    if (result.size() > longest_text) throw Problem("a string of more than {} bytes is made", longest_text);
  }
  return result;
}

Value format_filter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  if (!arguments.positional.empty() && !arguments.named.empty())
    throw Problem("the filter 'format' gets arguments by position and by name; it takes one or the other");
  const Value format = soft_text(runtime, value);
  if (arguments.named.empty())
    return apply_operator(runtime, Operator::modulo, format, make_tuple(arguments.positional));
  Dict names;
  for (const auto& [name, item] : arguments.named) names.set(name, item);
  return apply_operator(runtime, Operator::modulo, format, make_dict(std::move(names)));
}

void read_separators(const std::optional<Value>& separators, JsonStyle& style) {
  if (style.indented) style.item_separator = ",";
  if (!is_given(separators)) return;
  const bool pair = separators->is(SequenceKind::tuple) || separators->is(SequenceKind::list);
  if (!pair || separators->sequence().items.size() != 2)
    throw Problem("separators of the filter 'tojson' must be a pair, such as (',', ':')");
  style.item_separator = text_argument(separators->sequence().items[0], "a separator of the filter 'tojson'");
  style.key_separator = text_argument(separators->sequence().items[1], "a separator of the filter 'tojson'");
}

// transformers replaces Jinja2's own: nothing is escaped for HTML.
Value tojson_filter(Runtime& runtime, const Value& value, const BoundArguments& arguments) {
  JsonStyle style;
  style.ensure_ascii = arguments[0] && arguments[0]->is_true();
  style.indented = is_given(arguments[1]);
  if (style.indented) style.indent = indentation(arguments[1]);
  read_separators(arguments[2], style);
  style.sort_keys = arguments[3] && arguments[3]->is_true();
  std::string text = json_of(runtime, value, style);
  runtime.charge_bytes(text.size());
  return text;
}

}  // namespace

void add_text_filters(Filters& filters) {
  const auto add = [&](std::string_view name, Signature signature, BoundFilter body) {
    filters[name] = with_signature(name, std::move(signature), body);
  };
  add("upper", {}, method_filter<upper_name>);
  add("lower", {}, method_filter<lower_name>);
  add("capitalize", {}, method_filter<capitalize_name>);
  add("title", {}, title_filter);
  add("string", {}, string_filter);
  add("safe", {}, safe_filter);
  add("escape", {}, escape_filter);
  add("e", {}, escape_filter);
  add("forceescape", {}, force_escape_filter);
  add("trim", {{"chars"}}, trim_filter);
  add("center", {{"width"}}, center_filter);
  add("replace", {{"old", "new", "count"}, 2}, replace_filter);
  add("indent", {{"width", "first", "blank"}}, indent_filter);
  add("truncate", {{"length", "killwords", "end", "leeway"}}, truncate_filter);
  add("wordcount", {}, wordcount_filter);
  add("urlencode", {}, urlencode_filter);
  add("join", {{"d", "attribute"}}, join_filter);
  add("tojson", {{"ensure_ascii", "indent", "separators", "sort_keys"}}, tojson_filter);
  filters["format"] = format_filter;
}

}  // namespace collie::jinja
