#include "io/jinja/access.hpp"

#include <algorithm>
#include <array>

#include "io/jinja/arguments.hpp"
#include "io/jinja/objects.hpp"
#include "io/jinja/print.hpp"
#include "io/jinja/problem.hpp"
#include "io/jinja/runtime.hpp"
#include "io/jinja/text.hpp"

namespace collie::jinja {

namespace {

std::string object_name(const Value& value) {
  return value.is_none() ? "None" : fmt::format("{} object", value.type_name());
}

Value missing_item(Runtime& runtime, const Value& value, const Value& key) {
  if (key.is_text())
    return undefined(fmt::format("'{}' has no attribute '{}'", object_name(value), key.bytes()));
  return undefined(fmt::format("{} has no element {}", object_name(value), represented(runtime, key)));
}

std::optional<Value> attribute_of(const Value& value, const std::string& name) {
  if (value.is_text()) return text_method(value, name);
  if (value.is_dict()) return dict_method(value, name);
  if (value.is_sequence()) return sequence_method(value, name);
  if (value.object() != nullptr) return value.object()->attribute(name);
  return std::nullopt;
}

std::optional<Value> item_at(Runtime& runtime, const Value& value, int64_t index) {
  const bool indexed = value.is_text() || value.is(SequenceKind::list) || value.is(SequenceKind::tuple) ||
                       value.is(SequenceKind::range);
  if (!indexed) return std::nullopt;
  const int64_t length = length_of(value);
  if (index < 0) index += length;
  if (index < 0 || index >= length) return std::nullopt;
  if (value.is_sequence()) return value.sequence().items[static_cast<size_t>(index)];
  if (!value.text().is_ascii()) runtime.charge_bytes(value.bytes().size());
  return Value(std::string(part_of(value.text(), index, index + 1)), value.text().is_safe);
}

std::optional<Value> item_of(Runtime& runtime, const Value& value, const Value& key) {
  if (value.is_dict()) {
    if (key.is_dict() || (key.is_sequence() && !key.is(SequenceKind::tuple))) return std::nullopt;
    const Value* item = value.dict().find(key);
    return item == nullptr ? std::nullopt : std::optional<Value>(*item);
  }
  return key.is_integer() ? item_at(runtime, value, key.integer()) : std::nullopt;
}

// Python's PySlice_AdjustIndices.
int64_t slice_bound(const Value& bound, int64_t length, int64_t lowest, int64_t highest, int64_t missing) {
  if (bound.is_none()) return missing;
  int64_t at = integer_argument(bound, "a bound of a slice");
  if (at < 0) at += length;
  return std::clamp(at, lowest, highest);
}

// The indices that a slice takes.
std::vector<int64_t> slice_indices(Runtime& runtime, int64_t length, const Value& start, const Value& stop,
                                   int64_t step) {
  const int64_t lowest = step > 0 ? 0 : -1, highest = step > 0 ? length : length - 1;
  const int64_t first = slice_bound(start, length, lowest, highest, step > 0 ? 0 : length - 1);
  const int64_t end = slice_bound(stop, length, lowest, highest, step > 0 ? length : -1);
  std::vector<int64_t> indices;
  for (int64_t i = first; step > 0 ? i < end : i > end; i += step) indices.push_back(i);
  runtime.charge(indices.size());
  return indices;
}

Value slice_text(Runtime& runtime, const Value& value, const std::vector<int64_t>& indices, int64_t step) {
  const Text& text = value.text();
  runtime.charge_bytes(text.bytes.size());
  if (indices.empty()) return Value(std::string(), text.is_safe);
  if (step == 1) return Value(std::string(part_of(text, indices.front(), indices.back() + 1)), text.is_safe);
  const auto characters = items_of(runtime, value);
  std::string result;
  for (const int64_t index : indices) result += characters[static_cast<size_t>(index)].bytes();
  return Value(std::move(result), text.is_safe);
}

}  // namespace

Value get_attribute(Runtime& runtime, const Value& value, const std::string& name) {
  defined(value);
  if (auto attribute = attribute_of(value, name)) return *attribute;
  const Value key(name);
  if (auto item = item_of(runtime, value, key)) return *item;
  return missing_item(runtime, value, key);
}

Value get_item(Runtime& runtime, const Value& value, const Value& key) {
  defined(value);
  if (auto item = item_of(runtime, value, key)) return *item;
  if (key.is_text())
    if (auto attribute = attribute_of(value, key.bytes())) return *attribute;
  return missing_item(runtime, value, key);
}

Value get_slice(Runtime& runtime, const Value& value, const Value& start, const Value& stop,
                const Value& step) {
  defined(value);
  const bool sliced = value.is_text() || value.is(SequenceKind::list) || value.is(SequenceKind::tuple) ||
                      value.is(SequenceKind::range);
  if (!sliced) throw Problem("a {} is sliced; it must be a str, list or tuple", value.type_name());
  // A step beyond the length takes one item, like the length itself.
  const int64_t length = length_of(value);
  int64_t by = step.is_none() ? 1 : integer_argument(step, "the step of a slice");
  if (by == 0) throw Problem("slice step cannot be zero");
  by = std::clamp(by, -length - 1, length + 1);
  const auto indices = slice_indices(runtime, length, start, stop, by);
  if (value.is_text()) return slice_text(runtime, value, indices, by);
  if (value.is(SequenceKind::range))
    throw Problem("a range is sliced, which is not supported; make a list of it first");
  std::vector<Value> items;
  for (const int64_t index : indices) items.push_back(value.sequence().items[static_cast<size_t>(index)]);
  return make_sequence(value.sequence().kind, std::move(items));
}

bool is_missing_method(std::string_view name) {
  constexpr std::array<std::string_view, 9> names = {"encode",       "decode",      "translate",
                                                     "maketrans",    "format_map",  "expandtabs",
                                                     "isidentifier", "isprintable", "as_integer_ratio"};
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace collie::jinja
