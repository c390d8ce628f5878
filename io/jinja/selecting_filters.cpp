// The filters that apply filters or tests to each item: map, select, reject, selectattr, rejectattr.
#include "io/jinja/filters.hpp"
#include "io/jinja/problem.hpp"
#include "io/jinja/runtime.hpp"

namespace collie::jinja {

namespace {

Arguments without_first(const Arguments& arguments, size_t count) {
  Arguments rest = arguments;
  rest.positional.erase(rest.positional.begin(),
                        rest.positional.begin() + static_cast<std::ptrdiff_t>(count));
  return rest;
}

// What is false, such as none, has no items here.
std::vector<Value> items_to_ask(Runtime& runtime, const Value& value) {
  return value.is_true() ? items_of(runtime, value) : std::vector<Value>();
}

// {{ list | map(attribute="name", default="") }}
Value map_attribute(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const auto bound = bind_arguments("the filter 'map'", {{"attribute", "default"}, 1}, arguments);
  std::vector<Value> items;
  for (const Value& item : items_to_ask(runtime, value)) {
    Value found = attribute_path(runtime, item, bound[0]);
    items.push_back(found.is_undefined() && is_given(bound[1]) ? *bound[1] : found);
  }
  return make_sequence(SequenceKind::generator, std::move(items));
}

Value map_filter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  if (arguments.positional.empty()) return map_attribute(runtime, value, arguments);
  const std::string& name = text_argument(arguments.positional[0], "the filter that 'map' applies");
  const Arguments rest = without_first(arguments, 1);
  std::vector<Value> items;
  for (const Value& item : items_to_ask(runtime, value))
    items.push_back(apply_filter(runtime, name, item, rest));
  return make_sequence(SequenceKind::generator, std::move(items));
}

template <bool kept, bool by_attribute>
Value select_filter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  constexpr size_t before_test = by_attribute ? 1 : 0;
  if (by_attribute && arguments.positional.empty())
    throw Problem("the filter '{}' misses its attribute", kept ? "selectattr" : "rejectattr");
  const bool tested = arguments.positional.size() > before_test;
  const Arguments rest = tested ? without_first(arguments, before_test + 1) : Arguments{};
  std::vector<Value> items;
  for (const Value& item : items_to_ask(runtime, value)) {
    const Value asked = by_attribute ? attribute_path(runtime, item, arguments.positional[0]) : item;
    const bool holds =
        tested ? apply_test(runtime, text_argument(arguments.positional[before_test], "the name of a test"),
                            asked, rest)
               : asked.is_true();
    if (holds == kept) items.push_back(item);
  }
  return make_sequence(SequenceKind::generator, std::move(items));
}

}  // namespace

void add_selecting_filters(Filters& filters) {
  filters["map"] = map_filter;
  filters["select"] = select_filter<true, false>;
  filters["reject"] = select_filter<false, false>;
  filters["selectattr"] = select_filter<true, true>;
  filters["rejectattr"] = select_filter<false, true>;
}

}  // namespace collie::jinja
