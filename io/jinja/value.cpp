#include "io/jinja/value.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "io/jinja/limits.hpp"
#include "io/jinja/number.hpp"
#include "io/jinja/problem.hpp"
#include "io/jinja/runtime.hpp"
#include "io/utf8.hpp"

namespace collie::jinja {

namespace {

int64_t count_code_points(std::string_view bytes) {
  return std::count_if(bytes.begin(), bytes.end(), [](char byte) { return (byte & 0xC0) != 0x80; });
}

int checked_depth(int depth) {
  if (depth > deepest_value)
    throw Problem("more than {} lists and dicts are one inside the other", deepest_value);
  return depth;
}

std::string_view sequence_name(SequenceKind kind) {
  switch (kind) {
    case SequenceKind::list:
      return "list";
    case SequenceKind::tuple:
      return "tuple";
    case SequenceKind::range:
      return "range";
    case SequenceKind::generator:
      return "generator";
    case SequenceKind::dict_items:
      return "dict_items";
    case SequenceKind::dict_keys:
      return "dict_keys";
    case SequenceKind::dict_values:
      return "dict_values";
  }
  return "";
}

bool same_numbers(const Value& a, const Value& b) {
  if (a.is_integer() && b.is_integer()) return a.integer() == b.integer();
  return a.number() == b.number();
}

bool same_items(Runtime& runtime, const std::vector<Value>& a, const std::vector<Value>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i)
    if (!equal(runtime, a[i], b[i])) return false;
  return true;
}

bool same_entries(Runtime& runtime, const Dict& a, const Dict& b) {
  if (a.entries().size() != b.entries().size()) return false;
  for (const auto& [key, value] : a.entries()) {
    const Value* other = b.find(key);
    if (other == nullptr || !equal(runtime, value, *other)) return false;
  }
  return true;
}

std::vector<Value> characters_of(Runtime& runtime, const Text& text) {
  runtime.charge(static_cast<size_t>(text.length) * 2);
  std::vector<Value> items;
  items.reserve(static_cast<size_t>(text.length));
  for (size_t position = 0; position < text.bytes.size();) {
    const size_t start = position;
    next_code_point(text.bytes, position);
    items.emplace_back(text.bytes.substr(start, position - start));
  }
  return items;
}

}  // namespace

std::optional<Value> Object::attribute(std::string_view) {
  return std::nullopt;
}

Value Object::call(Runtime&, const Arguments&) {
  throw Problem("'{}' object is not callable", type_name());
}

Value::Value(std::string bytes, bool is_safe) {
  if (bytes.size() > longest_text)
    throw Problem("a string of {} bytes is made; at most {} are allowed", bytes.size(), longest_text);
  const int64_t length = count_code_points(bytes);
  held_ = std::make_shared<const Text>(Text{std::move(bytes), length, is_safe});
}

int64_t Value::integer() const {
  if (const bool* truth = std::get_if<bool>(&held_)) return *truth ? 1 : 0;
  return std::get<int64_t>(held_);
}

double Value::number() const {
  return is_float() ? std::get<double>(held_) : static_cast<double>(integer());
}

Object* Value::object() const {
  const auto* object = std::get_if<std::shared_ptr<Object>>(&held_);
  return object == nullptr ? nullptr : object->get();
}

const void* Value::address() const {
  if (is_text()) return &text();
  if (is_sequence()) return &sequence();
  if (is_dict()) return &dict();
  return object();
}

int Value::depth() const {
  if (is_sequence()) return sequence().depth;
  if (is_dict()) return dict().depth();
  return object() == nullptr ? 0 : object()->depth();
}

bool Value::is_true() const {
  if (is_undefined() || is_none()) return false;
  if (is_number()) return number() != 0;
  if (is_text()) return !bytes().empty();
  if (is_dict()) return !dict().entries().empty();
  if (is_sequence()) return is(SequenceKind::generator) || !sequence().items.empty();
  return true;
}

std::string_view Value::type_name() const {
  if (is_undefined()) return "Undefined";
  if (is_none()) return "NoneType";
  if (is_bool()) return "bool";
  if (is_integer()) return "int";
  if (is_float()) return "float";
  if (is_text()) return text().is_safe ? "Markup" : "str";
  if (is_dict()) return "dict";
  if (is_sequence()) return sequence_name(sequence().kind);
  return object()->type_name();
}

Value undefined(std::string reason) {
  return Undefined{std::make_shared<const std::string>(std::move(reason))};
}

Value make_sequence(SequenceKind kind, std::vector<Value> items) {
  auto sequence = std::make_shared<Sequence>();
  sequence->kind = kind;
  int deepest = 0;
  for (const Value& item : items) deepest = std::max(deepest, item.depth());
  sequence->depth = checked_depth(deepest + 1);
  sequence->items = std::move(items);
  return std::shared_ptr<const Sequence>(std::move(sequence));
}

Value make_dict(Dict dict) {
  return std::make_shared<const Dict>(std::move(dict));
}

Value make_range(Range range) {
  if (range.step == 0) throw Problem("range() has the step 0; its step must not be 0");
  const Wide distance = static_cast<Wide>(range.stop) - range.start;
  const Wide step = range.step;
  const Wide count = (step > 0) == (distance > 0) && distance != 0
                         ? (distance + (step > 0 ? step - 1 : step + 1)) / step
                         : 0;
  if (count > longest_range)
    throw Problem("range() has more than {} items, which Jinja2's sandbox does not allow either",
                  longest_range);
  auto sequence = std::make_shared<Sequence>();
  sequence->kind = SequenceKind::range;
  sequence->range = range;
  sequence->items.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < static_cast<int64_t>(count); ++i)
    sequence->items.emplace_back(range.start + i * range.step);
  return std::shared_ptr<const Sequence>(std::move(sequence));
}

void Dict::set(const Value& key, Value value) {
  depth_ = std::max(depth_, checked_depth(1 + std::max(key.depth(), value.depth())));
  const auto [place, is_new] = places_.emplace(hash_key(key), entries_.size());
  if (is_new)
    entries_.emplace_back(key, std::move(value));
  else
    entries_[place->second].second = std::move(value);
}

const Value* Dict::find(const Value& key) const {
  const auto place = places_.find(hash_key(key));
  return place == places_.end() ? nullptr : &entries_[place->second].second;
}

const Value* Dict::find(std::string_view key) const {
  const auto place = places_.find("s" + std::string(key));
  return place == places_.end() ? nullptr : &entries_[place->second].second;
}

std::string hash_key(const Value& key) {
  if (key.is_none()) return "0";
  if (key.is_text()) return "s" + key.bytes();
  if (key.is_float() && (key.number() != std::floor(key.number()) || std::abs(key.number()) > 9e18)) {
    const double number = key.number();
    std::string bits(sizeof(number) + 1, 'f');
    std::memcpy(bits.data() + 1, &number, sizeof(number));
    return bits;
  }
  if (key.is_number())
    return fmt::format("i{}", key.is_float() ? static_cast<int64_t>(key.number()) : key.integer());
  if (key.is(SequenceKind::tuple)) {
    std::string text = "t";
    for (const Value& item : key.sequence().items) {
      const std::string part = hash_key(item);
      text += fmt::format("{}:{}", part.size(), part);
      if (text.size() > longest_text) throw Problem("a key of a dict is longer than {} bytes", longest_text);
    }
    return text;
  }
  if (key.is(SequenceKind::range)) {
    const auto& items = key.sequence().items;  // ranges are equal if their items are
    const int64_t step = items.size() > 1 ? key.sequence().range.step : 0;
    return fmt::format("r{}:{}:{}", items.size(), items.empty() ? 0 : items[0].integer(), step);
  }
  if (key.is_undefined()) return "u";
  if (key.object() != nullptr) return fmt::format("o{}", key.address());
  throw Problem("unhashable type: '{}'; a dict's key must be a string, number or tuple", key.type_name());
}

bool equal(Runtime& runtime, const Value& a, const Value& b) {
  runtime.charge(1);
  if (a.is_number() && b.is_number()) return same_numbers(a, b);
  if (a.is_text() && b.is_text()) {
    runtime.charge_bytes(std::min(a.bytes().size(), b.bytes().size()));
    return a.bytes() == b.bytes();
  }
  if (a.is_dict() && b.is_dict()) return same_entries(runtime, a.dict(), b.dict());
  if (a.is_sequence() && b.is_sequence() && a.sequence().kind == b.sequence().kind) {
    if (&a.sequence() == &b.sequence()) return true;
    const SequenceKind kind = a.sequence().kind;
    if (kind == SequenceKind::generator || kind == SequenceKind::dict_values) return false;
    if (kind == SequenceKind::dict_items || kind == SequenceKind::dict_keys)
      throw Problem("two views of dicts are compared, which is not supported; compare lists of them");
    return same_items(runtime, a.sequence().items, b.sequence().items);
  }
  if (a.object() != nullptr || b.object() != nullptr) return a.object() == b.object();
  return (a.is_none() && b.is_none()) || (a.is_undefined() && b.is_undefined());
}

bool less(Runtime& runtime, const Value& a, const Value& b) {
  runtime.charge(1);
  if (a.is_integer() && b.is_integer()) return a.integer() < b.integer();
  if (a.is_number() && b.is_number()) return a.number() < b.number();
  if (a.is_text() && b.is_text()) {
    runtime.charge_bytes(std::min(a.bytes().size(), b.bytes().size()));
    return a.bytes() < b.bytes();  // the order of UTF-8 is that of code points
  }
  for (const SequenceKind kind : {SequenceKind::list, SequenceKind::tuple}) {
    if (!a.is(kind) || !b.is(kind)) continue;
    const auto &left = a.sequence().items, &right = b.sequence().items;
    for (size_t i = 0; i < std::min(left.size(), right.size()); ++i)
      if (!equal(runtime, left[i], right[i])) return less(runtime, left[i], right[i]);
    return left.size() < right.size();
  }
  defined(a);
  defined(b);
  throw Problem("'<' not supported between instances of '{}' and '{}'", a.type_name(), b.type_name());
}

std::vector<Value> items_of(Runtime& runtime, const Value& value) {
  if (value.is_undefined()) return {};
  if (value.is_text()) return characters_of(runtime, value.text());
  if (value.is_dict()) {
    std::vector<Value> keys;
    runtime.charge(value.dict().entries().size());
    for (const auto& [key, item] : value.dict().entries()) keys.push_back(key);
    return keys;
  }
  if (!value.is_sequence()) throw Problem("'{}' object is not iterable", value.type_name());
  const Sequence& sequence = value.sequence();
  runtime.charge(sequence.items.size());
  if (sequence.kind != SequenceKind::generator) return sequence.items;
  const auto rest = sequence.items.begin() + static_cast<std::ptrdiff_t>(sequence.taken);
  sequence.taken = sequence.items.size();
  return {rest, sequence.items.end()};
}

int64_t length_of(const Value& value) {
  if (value.is_undefined()) return 0;
  if (value.is_text()) return value.text().length;
  if (value.is_dict()) return static_cast<int64_t>(value.dict().entries().size());
  if (value.is_sequence() && !value.is(SequenceKind::generator))
    return static_cast<int64_t>(value.sequence().items.size());
  throw Problem("object of type '{}' has no length{}", value.type_name(),
                value.is_sequence() ? "; make a list of it first, with the filter 'list'" : "");
}

const Value& defined(const Value& value) {
  if (value.is_undefined()) throw Problem("{}", value.undefined_reason());
  return value;
}

}  // namespace collie::jinja
