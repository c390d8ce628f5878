// Jinja2's tests: VALUE is NAME.
#include "io/jinja/access.hpp"
#include "io/jinja/filters.hpp"
#include "io/jinja/number.hpp"
#include "io/jinja/operations.hpp"
#include "io/jinja/print.hpp"
#include "io/jinja/problem.hpp"
#include "io/jinja/runtime.hpp"

namespace collie::jinja {

namespace {

// A test without arguments.
template <class Holds>
Test plain(std::string_view name, Holds holds) {
  return [function = fmt::format("the test '{}'", name), holds](Runtime&, const Value& value,
                                                                const Arguments& arguments) {
    bind_arguments(function, {}, arguments);
    return holds(value);
  };
}

// A test with one argument.
template <class Holds>
Test comparing(std::string_view name, Holds holds) {
  return [function = fmt::format("the test '{}'", name), holds](Runtime& runtime, const Value& value,
                                                                const Arguments& arguments) {
    return holds(runtime, value, *bind_arguments(function, {{"other"}, 1}, arguments)[0]);
  };
}

bool is_divisible(const Value& value, const Value& by) {
  return calculate(Operator::modulo, value, by).number() == 0;
}

bool is_odd(const Value& value) {
  if (!defined(value).is_number())
    throw Problem("the tests 'odd' and 'even' get a {}; they take a number", value.type_name());
  return calculate(Operator::modulo, value, Value(int64_t{2})).number() == 1;
}

bool is_even(const Value& value) {
  if (!defined(value).is_number())
    throw Problem("the tests 'odd' and 'even' get a {}; they take a number", value.type_name());
  return calculate(Operator::modulo, value, Value(int64_t{2})).number() == 0;
}

// Whether a table of names has the value.
template <bool (*is_known)(std::string_view)>
bool names_known(const Value& value) {
  hash_key(value);  // refuses what Python cannot look up
  return value.is_text() && is_known(value.bytes());
}

bool is_sequence_like(const Value& value) {
  return value.is_undefined() || value.is_text() || value.is_dict() || value.is(SequenceKind::list) ||
         value.is(SequenceKind::tuple) || value.is(SequenceKind::range);
}

bool is_iterable(const Value& value) {
  return value.is_undefined() || value.is_text() || value.is_dict() || value.is_sequence();
}

// Python's "is". Whether two equal numbers are one object depends on how they were made, so that is refused.
bool is_same(const Value& a, const Value& b) {
  if (a.is_none() || b.is_none()) return a.is_none() && b.is_none();
  if (a.is_bool() || b.is_bool()) return a.is_bool() && b.is_bool() && a.is_true() == b.is_true();
  if (a.is_number() || b.is_number() || a.is_text() || b.is_text() || a.is_undefined() || b.is_undefined())
    throw Problem("the test 'sameas' compares a {} and a {}; use == for these", a.type_name(), b.type_name());
  return a.address() == b.address();
}

void add_type_tests(Tests& tests) {
  const auto add = [&](std::string_view name, auto holds) { tests[name] = plain(name, holds); };
  add("defined", [](const Value& v) { return !v.is_undefined(); });
  add("undefined", [](const Value& v) { return v.is_undefined(); });
  add("none", [](const Value& v) { return v.is_none(); });
  add("boolean", [](const Value& v) { return v.is_bool(); });
  add("true", [](const Value& v) { return v.is_bool() && v.is_true(); });
  add("false", [](const Value& v) { return v.is_bool() && !v.is_true(); });
  add("integer", [](const Value& v) { return v.is_integer() && !v.is_bool(); });
  add("float", [](const Value& v) { return v.is_float(); });
  add("number", [](const Value& v) { return v.is_number(); });
  add("string", [](const Value& v) { return v.is_text(); });
  add("mapping", [](const Value& v) { return v.is_dict(); });
  add("sequence", is_sequence_like);
  add("iterable", is_iterable);
  add("callable", [](const Value& v) {
    return v.is_undefined() || (v.object() != nullptr && v.object()->is_callable());
  });
  add("escaped", [](const Value& v) { return v.is_text() && v.text().is_safe; });
  add("odd", is_odd);
  add("even", is_even);
}

void add_comparing_tests(Tests& tests) {
  const auto add = [&](std::initializer_list<std::string_view> names, auto holds) {
    for (const auto name : names) tests[name] = comparing(name, holds);
  };
  add({"==", "eq", "equalto"}, [](Runtime& r, const Value& a, const Value& b) { return equal(r, a, b); });
  add({"!=", "ne"}, [](Runtime& r, const Value& a, const Value& b) { return !equal(r, a, b); });
  add({">", "gt", "greaterthan"}, [](Runtime& r, const Value& a, const Value& b) { return less(r, b, a); });
  add({"<", "lt", "lessthan"}, [](Runtime& r, const Value& a, const Value& b) { return less(r, a, b); });
  add({">=", "ge"},
      [](Runtime& r, const Value& a, const Value& b) { return less(r, b, a) || equal(r, a, b); });
  add({"<=", "le"},
      [](Runtime& r, const Value& a, const Value& b) { return less(r, a, b) || equal(r, a, b); });
  add({"in"}, [](Runtime& r, const Value& a, const Value& b) { return contains(r, b, a); });
  add({"sameas"}, [](Runtime&, const Value& a, const Value& b) { return is_same(a, b); });
  add({"divisibleby"}, [](Runtime&, const Value& a, const Value& b) {
    if (!defined(a).is_number() || !defined(b).is_number())
      throw Problem("the test 'divisibleby' takes numbers");
    return is_divisible(a, b);
  });
}

template <const char* const& method>
bool case_test(Runtime& runtime, const Value& value, const Arguments& arguments) {
  bind_arguments("the test of a string's case", {}, arguments);
  return text_method(text_of(runtime, value), method)->object()->call(runtime, {}).is_true();
}
constexpr const char* is_upper_name = "isupper";
constexpr const char* is_lower_name = "islower";

const Tests& all_tests() {
  static const Tests tests = [] {
    Tests made;
    add_type_tests(made);
    add_comparing_tests(made);
    made["upper"] = case_test<is_upper_name>;
    made["lower"] = case_test<is_lower_name>;
    made["filter"] = plain("filter", names_known<is_filter>);
    made["test"] = plain("test", names_known<is_test>);
    return made;
  }();
  return tests;
}

}  // namespace

bool apply_test(Runtime& runtime, std::string_view name, const Value& value, const Arguments& arguments) {
  runtime.charge(1);
  const auto found = all_tests().find(name);
  if (found == all_tests().end()) throw Problem("there is no test '{}'", name);
  return found->second(runtime, value, arguments);
}

bool is_test(std::string_view name) {
  return all_tests().count(name) != 0;
}

}  // namespace collie::jinja
