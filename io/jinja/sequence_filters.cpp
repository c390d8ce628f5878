// Filters of lists and dicts.
#include <algorithm>

#include "io/jinja/access.hpp"
#include "io/jinja/filters.hpp"
#include "io/jinja/limits.hpp"
#include "io/jinja/operations.hpp"
#include "io/jinja/problem.hpp"
#include "io/jinja/runtime.hpp"
#include "io/jinja/text.hpp"

namespace collie::jinja {

namespace {

bool is_on(const std::optional<Value>& argument) {
  return argument && argument->is_true();
}

Value make_generator(std::vector<Value> items) {
  return make_sequence(SequenceKind::generator, std::move(items));
}

Value length_filter(Runtime&, const Value& value, const BoundArguments&) {
  return length_of(value);
}

Value list_filter(Runtime& runtime, const Value& value, const BoundArguments&) {
  return make_list(items_of(runtime, value));
}

Value first_filter(Runtime& runtime, const Value& value, const BoundArguments&) {
  if (value.is(SequenceKind::generator)) {
    const Sequence& sequence = value.sequence();
    if (sequence.taken < sequence.items.size()) return sequence.items[sequence.taken++];
  } else if (const auto items = items_of(runtime, value); !items.empty()) {
    return items.front();
  }
  return undefined("No first item, sequence was empty.");
}

Value last_filter(Runtime& runtime, const Value& value, const BoundArguments&) {
  if (value.is(SequenceKind::generator))
    throw Problem("'generator' object is not reversible; make a list of it first");
  const auto items = items_of(runtime, value);
  return items.empty() ? undefined("No last item, sequence was empty.") : items.back();
}

Value reverse_filter(Runtime& runtime, const Value& value, const BoundArguments&) {
  auto items = items_of(runtime, value);
  std::reverse(items.begin(), items.end());
  if (!value.is_text())
    return value.is(SequenceKind::generator) ? make_list(std::move(items)) : make_generator(std::move(items));
  std::string text;
  for (const Value& item : items) text += item.bytes();
  return text;
}

Value default_filter(Runtime&, const Value& value, const BoundArguments& arguments) {
  const bool replaced = value.is_undefined() || (is_on(arguments[1]) && !value.is_true());
  return replaced ? arguments[0].value_or(Value("")) : value;
}

Value items_filter(Runtime& runtime, const Value& value, const BoundArguments&) {
  if (value.is_undefined()) return make_generator({});
  if (!value.is_dict()) throw Problem("the filter 'items' gets a {}; it takes a dict", value.type_name());
  runtime.charge(value.dict().entries().size() * 2);
  std::vector<Value> items;
  for (const auto& [key, item] : value.dict().entries()) items.push_back(make_tuple({key, item}));
  return make_generator(std::move(items));
}

struct Keyed {
  Value key, item;
};

std::vector<Value> sorted(Runtime& runtime, std::vector<Keyed> keyed, bool reverse) {
  std::stable_sort(keyed.begin(), keyed.end(), [&](const Keyed& a, const Keyed& b) {
    return reverse ? less(runtime, b.key, a.key) : less(runtime, a.key, b.key);
  });
  std::vector<Value> items;
  for (Keyed& each : keyed) items.push_back(std::move(each.item));
  return items;
}

Value cased(Runtime& runtime, const Value& value, bool case_sensitive) {
  return case_sensitive ? value : ignoring_case(runtime, value);
}

Value dictsort_filter(Runtime& runtime, const Value& value, const BoundArguments& arguments) {
  if (!defined(value).is_dict())
    throw Problem("the filter 'dictsort' gets a {}; it takes a dict", value.type_name());
  const std::string by =
      arguments[1] ? text_argument(*arguments[1], "the argument 'by' of the filter 'dictsort'") : "key";
  if (by != "key" && by != "value")
    throw Problem("the filter 'dictsort' sorts by '{}'; it must be key or value", by);
  std::vector<Keyed> keyed;
  for (const auto& [key, item] : value.dict().entries())
    keyed.push_back({cased(runtime, by == "key" ? key : item, is_on(arguments[0])), make_tuple({key, item})});
  return make_list(sorted(runtime, std::move(keyed), is_on(arguments[2])));
}

// The keys of several attributes, "a,b", are compared one after the other.
Value sort_key(Runtime& runtime, const Value& item, const std::optional<Value>& attribute,
               bool case_sensitive) {
  std::vector<Value> keys;
  if (is_given(attribute) && attribute->is_text())
    for (const auto path : split_at(attribute->bytes(), ",", -1, false))
      keys.push_back(cased(runtime, attribute_path(runtime, item, Value(path)), case_sensitive));
  else
    keys.push_back(cased(runtime, attribute_path(runtime, item, attribute), case_sensitive));
  return make_list(std::move(keys));
}

Value sort_filter(Runtime& runtime, const Value& value, const BoundArguments& arguments) {
  std::vector<Keyed> keyed;
  for (const Value& item : items_of(runtime, value))
    keyed.push_back({sort_key(runtime, item, arguments[2], is_on(arguments[1])), item});
  return make_list(sorted(runtime, std::move(keyed), is_on(arguments[0])));
}

Value unique_filter(Runtime& runtime, const Value& value, const BoundArguments& arguments) {
  Dict seen;
  std::vector<Value> items;
  for (const Value& item : items_of(runtime, value)) {
    const Value key = cased(runtime, attribute_path(runtime, item, arguments[1]), is_on(arguments[0]));
    runtime.charge_bytes(key.is_text() ? key.bytes().size() : 1);
    if (seen.find(key) != nullptr) continue;
    seen.set(key, true);
    items.push_back(item);
  }
  return make_generator(std::move(items));
}

template <bool largest>
Value extreme_filter(Runtime& runtime, const Value& value, const BoundArguments& arguments) {
  std::optional<Keyed> best;
  for (const Value& item : items_of(runtime, value)) {
    const Value key = cased(runtime, attribute_path(runtime, item, arguments[1]), is_on(arguments[0]));
    if (!best || (largest ? less(runtime, best->key, key) : less(runtime, key, best->key)))
      best = Keyed{key, item};
  }
  return best ? best->item : undefined("No aggregated item, sequence was empty.");
}

Value sum_filter(Runtime& runtime, const Value& value, const BoundArguments& arguments) {
  Value sum = arguments[1].value_or(Value(int64_t{0}));
  if (sum.is_text()) throw Problem("the filter 'sum' starts with a str; use 'join' for strings");
  for (const Value& item : items_of(runtime, value))
    sum = apply_operator(runtime, Operator::add, sum, attribute_path(runtime, item, arguments[0]));
  return sum;
}

Value batch_filter(Runtime& runtime, const Value& value, const BoundArguments& arguments) {
  const int64_t size = integer_argument(*arguments[0], "the size of the filter 'batch'");
  std::vector<Value> batches, batch;
  for (const Value& item : items_of(runtime, value)) {
    if (static_cast<int64_t>(batch.size()) == size) batches.push_back(make_list(std::exchange(batch, {})));
    batch.push_back(item);
  }
  if (!batch.empty()) {
    if (is_given(arguments[1]) && static_cast<int64_t>(batch.size()) < size) {
      runtime.charge(static_cast<size_t>(size) * 2);
      batch.resize(static_cast<size_t>(size), *arguments[1]);
    }
    batches.push_back(make_list(std::move(batch)));
  }
  return make_generator(std::move(batches));
}

Value slice_filter(Runtime& runtime, const Value& value, const BoundArguments& arguments) {
  const int64_t count = integer_argument(*arguments[0], "the count of the filter 'slice'");
  if (count == 0) throw Problem("the filter 'slice' gets 0 slices; it takes 1 or more");
  const auto items = items_of(runtime, value);
  if (count > 0) runtime.charge(static_cast<size_t>(count) * 4);
  const auto length = static_cast<int64_t>(items.size());
  std::vector<Value> slices;
  auto at = items.begin();
  for (int64_t i = 0; i < count; ++i) {
    const int64_t size = length / count + (i < length % count ? 1 : 0);
    std::vector<Value> slice(at, at + size);
    at += size;
    if (is_given(arguments[1]) && i >= length % count) slice.push_back(*arguments[1]);
    slices.push_back(make_list(std::move(slice)));
  }
  return make_generator(std::move(slices));
}

Value attr_filter(Runtime& runtime, const Value& value, const BoundArguments& arguments) {
  const std::string& name = text_argument(*arguments[0], "the name of the filter 'attr'");
  if (value.is_dict()) {
    // Only an attribute, not a key.
    if (const auto method = dict_method(value, name)) return *method;
    return undefined(fmt::format("'dict object' has no attribute '{}'", name));
  }
  return get_attribute(runtime, value, name);
}

}  // namespace

void add_sequence_filters(Filters& filters) {
  const auto add = [&](std::string_view name, Signature signature, BoundFilter body) {
    filters[name] = with_signature(name, std::move(signature), body);
  };
  add("length", {}, length_filter);
  add("count", {}, length_filter);
  add("list", {}, list_filter);
  add("first", {}, first_filter);
  add("last", {}, last_filter);
  add("reverse", {}, reverse_filter);
  add("default", {{"default_value", "boolean"}}, default_filter);
  add("d", {{"default_value", "boolean"}}, default_filter);
  add("items", {}, items_filter);
  add("dictsort", {{"case_sensitive", "by", "reverse"}}, dictsort_filter);
  add("sort", {{"reverse", "case_sensitive", "attribute"}}, sort_filter);
  add("unique", {{"case_sensitive", "attribute"}}, unique_filter);
  add("min", {{"case_sensitive", "attribute"}}, extreme_filter<false>);
  add("max", {{"case_sensitive", "attribute"}}, extreme_filter<true>);
  add("sum", {{"attribute", "start"}}, sum_filter);
  add("batch", {{"linecount", "fill_with"}, 1}, batch_filter);
  add("slice", {{"slices", "fill_with"}, 1}, slice_filter);
  add("attr", {{"name"}, 1}, attr_filter);
}

}  // namespace collie::jinja
