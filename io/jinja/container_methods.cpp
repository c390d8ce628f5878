// The methods of Python's dict, list and tuple. Those that change one are refused, as in Jinja2's immutable
// sandbox.
#include <algorithm>
#include <array>

#include "io/jinja/access.hpp"
#include "io/jinja/arguments.hpp"
#include "io/jinja/problem.hpp"
#include "io/jinja/runtime.hpp"

namespace collie::jinja {

namespace {

template <size_t count>
bool is_one_of(std::string_view name, const std::array<std::string_view, count>& names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

constexpr std::array<std::string_view, 5> changing_dict = {"clear", "pop", "popitem", "setdefault", "update"};
constexpr std::array<std::string_view, 8> changing_list = {"append", "clear",  "extend",  "insert",
                                                           "pop",    "remove", "reverse", "sort"};

Value refused_method(std::string_view type, const std::string& name) {
  return undefined(fmt::format(
      "'{}' of a {} changes it, which templates may not do; build a new one with + or a loop", name, type));
}

Value view_of(Runtime& runtime, const Dict& dict, SequenceKind kind) {
  runtime.charge(dict.entries().size() * 2);
  std::vector<Value> items;
  for (const auto& [key, value] : dict.entries()) {
    if (kind == SequenceKind::dict_keys) items.push_back(key);
    if (kind == SequenceKind::dict_values) items.push_back(value);
    if (kind == SequenceKind::dict_items) items.push_back(make_tuple({key, value}));
  }
  return make_sequence(kind, std::move(items));
}

Value view_method(const Value& value, const std::string& name, SequenceKind kind) {
  return make_method(value, name, [value, name, kind](Runtime& runtime, const Arguments& arguments) {
    bind_arguments(name + "()", {}, arguments);
    return view_of(runtime, value.dict(), kind);
  });
}

Value get_method(const Value& value) {
  return make_method(value, "get", [value](Runtime&, const Arguments& arguments) -> Value {
    const auto bound = bind_arguments("get()", {{"key", "default"}, 1, false}, arguments);
    const Value* found = value.dict().find(*bound[0]);
    return found != nullptr ? *found : bound[1] ? *bound[1] : Value(None{});
  });
}

// A copy is the same, as values never change.
Value copy_method(const Value& value) {
  return make_method(value, "copy", [value](Runtime&, const Arguments& arguments) {
    bind_arguments("copy()", {}, arguments);
    return value;
  });
}

Value count_items(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const auto bound = bind_arguments("count()", {{"value"}, 1, false}, arguments);
  const auto& items = value.sequence().items;
  return static_cast<int64_t>(std::count_if(
      items.begin(), items.end(), [&](const Value& item) { return equal(runtime, item, *bound[0]); }));
}

Value index_of_item(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const auto bound = bind_arguments("index()", {{"value"}, 1, false}, arguments);
  const auto& items = value.sequence().items;
  const auto at = std::find_if(items.begin(), items.end(),
                               [&](const Value& item) { return equal(runtime, item, *bound[0]); });
  if (at == items.end()) throw Problem("index(): the value is not in the {}", value.type_name());
  return static_cast<int64_t>(at - items.begin());
}

}  // namespace

std::optional<Value> dict_method(const Value& value, const std::string& name) {
  if (name == "get") return get_method(value);
  if (name == "items") return view_method(value, name, SequenceKind::dict_items);
  if (name == "keys") return view_method(value, name, SequenceKind::dict_keys);
  if (name == "values") return view_method(value, name, SequenceKind::dict_values);
  if (name == "copy") return copy_method(value);
  if (is_one_of(name, changing_dict)) return refused_method("dict", name);
  return std::nullopt;
}

std::optional<Value> sequence_method(const Value& value, const std::string& name) {
  const bool is_list = value.is(SequenceKind::list);
  if (is_list && is_one_of(name, changing_list)) return refused_method("list", name);
  if (is_list && name == "copy") return copy_method(value);
  if (!is_list && !value.is(SequenceKind::tuple) && !value.is(SequenceKind::range)) return std::nullopt;
  if (name != "count" && name != "index") return std::nullopt;
  const auto apply = name == "count" ? count_items : index_of_item;
  return make_method(value, name, [value, apply](Runtime& runtime, const Arguments& arguments) {
    return apply(runtime, value, arguments);
  });
}

}  // namespace collie::jinja
