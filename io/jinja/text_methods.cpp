// The methods of Python's str.
#include <algorithm>

#include "io/jinja/access.hpp"
#include "io/jinja/arguments.hpp"
#include "io/jinja/format.hpp"
#include "io/jinja/format_spec.hpp"
#include "io/jinja/limits.hpp"
#include "io/jinja/print.hpp"
#include "io/jinja/problem.hpp"
#include "io/jinja/runtime.hpp"
#include "io/jinja/text.hpp"
#include "io/utf8.hpp"

#include <utf8proc.h>

namespace collie::jinja {

namespace {

using Bound = std::vector<std::optional<Value>>;
using TextMethod = Value (*)(Runtime& runtime, const Value& self, const Bound& arguments);

struct TextMethodEntry {
  Signature signature;
  TextMethod apply;
  bool makes_text_like_self = false;  // safe if self is
};

bool given(const Bound& arguments, size_t i) {
  return arguments[i] && !arguments[i]->is_none();
}

int64_t integer_or(const Bound& arguments, size_t i, int64_t otherwise, std::string_view what) {
  return given(arguments, i) ? integer_argument(*arguments[i], what) : otherwise;
}

std::optional<std::string> set_argument(const Bound& arguments) {
  if (!given(arguments, 0)) return std::nullopt;
  return text_argument(*arguments[0], "the set of characters of strip()");
}

template <bool left, bool right>
Value strip_method(Runtime& runtime, const Value& self, const Bound& arguments) {
  const auto set = set_argument(arguments);
  runtime.charge((1 + self.bytes().size() / 32) * (1 + (set ? set->size() / 32 : 0)));
  return strip(self.bytes(), set, left, right);
}

template <bool from_right>
Value split_method(Runtime& runtime, const Value& self, const Bound& arguments) {
  const int64_t most = integer_or(arguments, 1, -1, "maxsplit");
  const std::string& text = self.bytes();
  std::vector<std::string_view> parts;
  runtime.charge_bytes(text.size());
  if (given(arguments, 0)) {
    const std::string& separator = text_argument(*arguments[0], "the separator of split()");
    if (separator.empty()) throw Problem("split() gets an empty separator");
    if (from_right) runtime.charge(text.size() / 1024 * separator.size());
    parts = split_at(text, separator, most, from_right);
  } else {
    parts = split_at_space(text, most, from_right);
  }
  runtime.charge(parts.size() * 2);
  std::vector<Value> items;
  for (const auto part : parts) items.emplace_back(std::string(part), self.text().is_safe);
  return make_list(std::move(items));
}

Value splitlines_method(Runtime& runtime, const Value& self, const Bound& arguments) {
  runtime.charge_bytes(self.bytes().size());
  const auto lines = split_lines(self.bytes(), arguments[0] && arguments[0]->is_true());
  runtime.charge(lines.size() * 2);
  std::vector<Value> items;
  for (const auto line : lines) items.emplace_back(std::string(line), self.text().is_safe);
  return make_list(std::move(items));
}

template <bool from_right>
Value partition_method(Runtime& runtime, const Value& self, const Bound& arguments) {
  const std::string& separator = text_argument(*arguments[0], "the separator of partition()");
  if (separator.empty()) throw Problem("partition() gets an empty separator");
  runtime.charge_bytes(self.bytes().size());
  if (from_right) runtime.charge(self.bytes().size() / 1024 * separator.size());
  const auto parts = split_at(self.bytes(), separator, 1, from_right);
  const bool found = parts.size() == 2;
  if (!found && from_right) return make_tuple({"", "", self});
  return make_tuple({found ? Value(parts[0]) : self, found ? separator : "", found ? parts[1] : ""});
}

// The bytes of self[start:end], the optional second and third arguments. None if start is behind the end.
std::optional<std::string_view> searched_part(const Value& self, const Bound& arguments, int64_t& start) {
  const Text& text = self.text();
  const auto bound = [&](int64_t at) {
    return std::clamp<int64_t>(at < 0 ? at + text.length : at, 0, text.length);
  };
  start = integer_or(arguments, 1, 0, "a start");
  if (start > text.length) return std::nullopt;
  start = bound(start);
  const int64_t end = bound(integer_or(arguments, 2, text.length, "an end"));
  if (start > end) return std::nullopt;
  return part_of(text, start, end);
}

template <bool at_start>
bool matches(std::string_view part, std::string_view affix) {
  if (affix.size() > part.size()) return false;
  return part.compare(at_start ? 0 : part.size() - affix.size(), affix.size(), affix) == 0;
}

template <bool at_start>
Value affix_method(Runtime& runtime, const Value& self, const Bound& arguments) {
  int64_t start = 0;
  if (arguments[1] || arguments[2]) runtime.charge_bytes(self.bytes().size());
  const auto part = searched_part(self, arguments, start);
  const Value& affixes = defined(*arguments[0]);
  if (!affixes.is(SequenceKind::tuple)) {
    const std::string& affix =
        text_argument(affixes, at_start ? "what startswith() gets" : "what endswith() gets");
    runtime.charge_bytes(affix.size());
    return part && matches<at_start>(*part, affix);
  }
  for (const Value& affix : affixes.sequence().items) {
    runtime.charge_bytes(text_argument(affix, "an item of what startswith() or endswith() gets").size());
    if (part && matches<at_start>(*part, affix.bytes())) return true;
  }
  return false;
}

// The position of the first or last occurrence in code points, or -1.
template <bool last>
int64_t position_of(Runtime& runtime, const Value& self, const Bound& arguments) {
  const std::string& wanted = text_argument(*arguments[0], "what find() gets");
  runtime.charge_bytes(self.bytes().size());
  if (last) runtime.charge(self.bytes().size() / 1024 * wanted.size());
  int64_t start = 0;
  const auto part = searched_part(self, arguments, start);
  if (!part) return -1;
  const size_t at = last ? part->rfind(wanted) : find_text(*part, wanted);
  return at == std::string_view::npos ? -1 : start + Value(part->substr(0, at)).text().length;
}

template <bool last>
Value find_method(Runtime& runtime, const Value& self, const Bound& arguments) {
  return position_of<last>(runtime, self, arguments);
}

template <bool last>
Value index_method(Runtime& runtime, const Value& self, const Bound& arguments) {
  const int64_t at = position_of<last>(runtime, self, arguments);
  if (at < 0) throw Problem("index(): the substring is not found");
  return at;
}

Value count_method(Runtime& runtime, const Value& self, const Bound& arguments) {
  const std::string& wanted = text_argument(*arguments[0], "what count() gets");
  runtime.charge_bytes(self.bytes().size());
  int64_t start = 0, count = 0;
  const auto part = searched_part(self, arguments, start);
  if (!part) return int64_t{0};
  if (wanted.empty()) return Value(*part).text().length + 1;
  for (size_t at = find_text(*part, wanted); at != std::string_view::npos;
       at = find_text(*part, wanted, at + wanted.size()))
    ++count;
  return count;
}

Value replace_method(Runtime& runtime, const Value& self, const Bound& arguments) {
  runtime.charge_bytes(self.bytes().size());
  std::string result = replace_text(self.bytes(), text_argument(*arguments[0], "what replace() looks for"),
                                    text_argument(*arguments[1], "what replace() puts in its place"),
                                    integer_or(arguments, 2, -1, "the count of replace()"));
  runtime.charge_bytes(result.size());
  return result;
}

Value join_method(Runtime& runtime, const Value& self, const Bound& arguments) {
  std::string result;
  bool first = true;
  for (const Value& item : items_of(runtime, *arguments[0])) {
    if (!first) result += self.bytes();
    first = false;
    result += text_argument(item, "an item that join() gets");
    runtime.charge_bytes(self.bytes().size() + item.bytes().size());
    if (result.size() > longest_text) throw Problem("a string of more than {} bytes is made", longest_text);
  }
  return result;
}

template <std::string (*change)(std::string_view)>
Value case_method(Runtime& runtime, const Value& self, const Bound&) {
  runtime.charge_bytes(self.bytes().size() * 4);
  return change(self.bytes());
}

template <bool front>
Value remove_affix_method(Runtime&, const Value& self, const Bound& arguments) {
  const std::string& affix = text_argument(*arguments[0], "what removeprefix() or removesuffix() gets");
  std::string_view text = self.bytes();
  if (!affix.empty() && matches<front>(text, affix)) {
    if (front)
      text.remove_prefix(affix.size());
    else
      text.remove_suffix(affix.size());
  }
  return text;
}

template <char align>
Value pad_method(Runtime& runtime, const Value& self, const Bound& arguments) {
  FormatSpec spec;
  spec.width = integer_argument(*arguments[0], "a width");
  if (spec.width > widest_field) throw Problem("a width is more than {}", widest_field);
  spec.align = align;
  if (arguments[1]) spec.fill = text_argument(*arguments[1], "a fill character");
  if (Value(spec.fill).text().length != 1) throw Problem("a fill character must be one character");
  runtime.charge_bytes(self.bytes().size() + static_cast<size_t>(std::max<int64_t>(spec.width, 0)));
  const int64_t missing = spec.width - self.text().length;
  if (align != '^' || missing <= 0) return padded(self.bytes(), spec, align);
  const int64_t left = missing / 2 + (missing & spec.width & 1);  // CPython's str.center
  return repeat_text(spec.fill, left) + self.bytes() + repeat_text(spec.fill, missing - left);
}

Value zfill_method(Runtime& runtime, const Value& self, const Bound& arguments) {
  const int64_t width = integer_argument(*arguments[0], "a width");
  if (width > widest_field) throw Problem("a width is more than {}", widest_field);
  runtime.charge_bytes(self.bytes().size());
  const std::string& text = self.bytes();
  const bool has_sign = !text.empty() && (text[0] == '-' || text[0] == '+');
  return text.substr(0, has_sign ? 1 : 0) + repeat_text("0", width - self.text().length) +
         text.substr(has_sign ? 1 : 0);
}

// Whether the text is not empty and each of its characters has the property.
template <bool (*has_property)(char32_t)>
Value all_method(Runtime& runtime, const Value& self, const Bound&) {
  runtime.charge_bytes(self.bytes().size());
  for (size_t position = 0; position < self.bytes().size();)
    if (!has_property(next_code_point(self.bytes(), position))) return false;
  return !self.bytes().empty();
}

utf8proc_category_t category_of(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

bool is_letter(char32_t c) {
  const auto category = category_of(c);
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}
bool is_decimal(char32_t c) {
  return category_of(c) == UTF8PROC_CATEGORY_ND;
}
bool is_digit(char32_t c) {
  const bool superscript = c == 0xB2 || c == 0xB3 || c == 0xB9 || c == 0x2070 ||
                           (c >= 0x2074 && c <= 0x2079) || (c >= 0x2080 && c <= 0x2089);
  return is_decimal(c) || superscript;
}
bool is_numeric(char32_t c) {
  const auto category = category_of(c);
  return category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL ||
         category == UTF8PROC_CATEGORY_NO;
}

bool is_upper_character(char32_t c) {
  return category_of(c) == UTF8PROC_CATEGORY_LU;
}
bool is_lower_character(char32_t c) {
  return category_of(c) == UTF8PROC_CATEGORY_LL || c == 0xAA || c == 0xBA;
}

// Whether there is a letter of the case and none of another.
template <bool upper>
Value case_test_method(Runtime& runtime, const Value& self, const Bound&) {
  runtime.charge_bytes(self.bytes().size());
  bool found = false;
  for (size_t position = 0; position < self.bytes().size();) {
    const char32_t c = next_code_point(self.bytes(), position);
    if (category_of(c) == UTF8PROC_CATEGORY_LT || (upper ? is_lower_character(c) : is_upper_character(c)))
      return false;
    found = found || (upper ? is_upper_character(c) : is_lower_character(c));
  }
  return found;
}

Value istitle_method(Runtime& runtime, const Value& self, const Bound&) {
  runtime.charge_bytes(self.bytes().size());
  bool found = false, in_word = false;
  for (size_t position = 0; position < self.bytes().size();) {
    const char32_t c = next_code_point(self.bytes(), position);
    const bool title = is_upper_character(c) || category_of(c) == UTF8PROC_CATEGORY_LT,
               lower = is_lower_character(c);
    if ((title && in_word) || (lower && !in_word)) return false;
    in_word = title || lower;
    found = found || in_word;
  }
  return found;
}

Value isascii_method(Runtime&, const Value& self, const Bound&) {
  return self.text().is_ascii();
}

using TextMethods = std::unordered_map<std::string_view, TextMethodEntry>;

void add_searching_methods(TextMethods& methods) {
  const Signature search{{"sub", "start", "end"}, 1, false};
  methods["startswith"] = {search, affix_method<true>};
  methods["endswith"] = {search, affix_method<false>};
  methods["find"] = {search, find_method<false>};
  methods["rfind"] = {search, find_method<true>};
  methods["index"] = {search, index_method<false>};
  methods["rindex"] = {search, index_method<true>};
  methods["count"] = {search, count_method};
  methods["replace"] = {{{"old", "new", "count"}, 2, false}, replace_method};
  methods["removeprefix"] = {{{"prefix"}, 1, false}, remove_affix_method<true>, true};
  methods["removesuffix"] = {{{"suffix"}, 1, false}, remove_affix_method<false>, true};
}

void add_cutting_methods(TextMethods& methods) {
  const Signature set{{"chars"}, 0, false};
  methods["strip"] = {set, strip_method<true, true>, true};
  methods["lstrip"] = {set, strip_method<true, false>, true};
  methods["rstrip"] = {set, strip_method<false, true>, true};
  methods["split"] = {{{"sep", "maxsplit"}}, split_method<false>};
  methods["rsplit"] = {{{"sep", "maxsplit"}}, split_method<true>};
  methods["splitlines"] = {{{"keepends"}}, splitlines_method};
  methods["partition"] = {{{"sep"}, 1, false}, partition_method<false>};
  methods["rpartition"] = {{{"sep"}, 1, false}, partition_method<true>};
  methods["join"] = {{{"iterable"}, 1, false}, join_method};
}

void add_writing_methods(TextMethods& methods) {
  const Signature none{{}, 0, false}, padding{{"width", "fillchar"}, 1, false};
  methods["upper"] = {none, case_method<upper_case>, true};
  methods["lower"] = {none, case_method<lower_case>, true};
  methods["title"] = {none, case_method<title_case>, true};
  methods["capitalize"] = {none, case_method<capitalized>, true};
  methods["swapcase"] = {none, case_method<swap_case>, true};
  methods["center"] = {padding, pad_method<'^'>, true};
  methods["ljust"] = {padding, pad_method<'<'>, true};
  methods["rjust"] = {padding, pad_method<'>'>, true};
  methods["zfill"] = {{{"width"}, 1, false}, zfill_method, true};
}

void add_asking_methods(TextMethods& methods) {
  const Signature none{{}, 0, false};
  methods["isspace"] = {none, all_method<is_python_space>};
  methods["isalpha"] = {none, all_method<is_letter>};
  methods["isdigit"] = {none, all_method<is_digit>};
  methods["isdecimal"] = {none, all_method<is_decimal>};
  methods["isnumeric"] = {none, all_method<is_numeric>};
  methods["isalnum"] = {none, all_method<is_python_alphanumeric>};
  methods["isupper"] = {none, case_test_method<true>};
  methods["islower"] = {none, case_test_method<false>};
  methods["istitle"] = {none, istitle_method};
  methods["isascii"] = {none, isascii_method};
}

const TextMethods& text_methods() {
  static const TextMethods methods = [] {
    TextMethods made;
    add_searching_methods(made);
    add_cutting_methods(made);
    add_writing_methods(made);
    add_asking_methods(made);
    return made;
  }();
  return methods;
}

// Markup escapes what is put into it.
void refuse_safe(const Value& self, std::string_view name) {
  if (self.text().is_safe)
    throw Problem("{}() of a string that the filter 'safe' has made is not supported; use the filter last",
                  name);
}

}  // namespace

std::optional<Value> text_method(const Value& value, const std::string& name) {
  if (name == "format")
    return make_method(value, name, [value](Runtime& runtime, const Arguments& arguments) -> Value {
      refuse_safe(value, "format");
      return brace_format(runtime, value.bytes(), arguments);
    });
  const auto found = text_methods().find(name);
  if (found == text_methods().end()) return std::nullopt;
  return make_method(
      value, name, [value, name, entry = &found->second](Runtime& runtime, const Arguments& arguments) {
        if (name == "replace" || name == "join" || name.find("partition") != std::string::npos)
          refuse_safe(value, name);
        Value result = entry->apply(runtime, value, bind_arguments(name + "()", entry->signature, arguments));
        return entry->makes_text_like_self && value.text().is_safe ? Value(result.bytes(), true) : result;
      });
}

}  // namespace collie::jinja
