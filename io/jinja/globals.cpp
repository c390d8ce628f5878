// The functions that every template has.
#include <algorithm>
#include <array>
#include <ctime>

#include "io/jinja/filters.hpp"
#include "io/jinja/objects.hpp"
#include "io/jinja/print.hpp"
#include "io/jinja/problem.hpp"
#include "io/jinja/runtime.hpp"

namespace collie::jinja {

namespace {

Value range_function(Runtime& runtime, const Arguments& arguments) {
  const auto bound = bind_arguments("range()", {{"start", "stop", "step"}, 1, false}, arguments);
  const auto part = [&](size_t i) { return integer_argument(*bound[i], "an argument of range()"); };
  Range range;
  range.start = bound[1] ? part(0) : 0;
  range.stop = bound[1] ? part(1) : part(0);
  if (bound[2]) range.step = part(2);
  Value made = make_range(range);
  runtime.charge(made.sequence().items.size() * 2);
  return made;
}

void add_pair(Runtime& runtime, Dict& dict, const Value& pair) {
  const auto parts = items_of(runtime, pair);
  if (parts.size() != 2)
    throw Problem("dict() gets an item of length {}; its items must be pairs", parts.size());
  dict.set(parts[0], parts[1]);
}

// dict(MAPPING or PAIRS, name=value...).
Dict dict_of(Runtime& runtime, const Arguments& arguments) {
  Dict dict;
  if (arguments.positional.size() > 1)
    throw Problem("dict() gets {} arguments by position; it takes at most 1", arguments.positional.size());
  for (const Value& given : arguments.positional) {
    if (given.is_dict())
      for (const auto& [key, value] : given.dict().entries()) dict.set(key, value);
    else
      for (const Value& pair : items_of(runtime, given)) add_pair(runtime, dict, pair);
  }
  for (const auto& [name, value] : arguments.named) dict.set(name, value);
  runtime.charge(dict.entries().size() * 4);
  return dict;
}

Value dict_function(Runtime& runtime, const Arguments& arguments) {
  return make_dict(dict_of(runtime, arguments));
}

Value namespace_function(Runtime& runtime, const Arguments& arguments) {
  const auto space = runtime.make_namespace();
  const Dict dict = dict_of(runtime, arguments);
  for (const auto& [key, value] : dict.entries())
    space->set(text_argument(key, "a name of namespace()"), value);
  return std::shared_ptr<Object>(space);
}

Value raise_function(Runtime& runtime, const Arguments& arguments) {
  const auto bound = bind_arguments("raise_exception()", {{"message"}, 1}, arguments);
  throw Refusal(text_of(runtime, *bound[0]));
}

// Removes %z and %Z, which are empty for a time without a zone, and refuses what is not the same everywhere.
std::string checked_time_format(const std::string& format) {
  std::string result;
  for (size_t i = 0; i < format.size(); ++i) {
    result += format[i];
    if (format[i] != '%') continue;
    size_t at = i + 1;
    while (at < format.size() && std::string_view("-_0^#").find(format[at]) != std::string_view::npos) ++at;
    if (at >= format.size() ||
        std::string_view("aAbBcCdDeFgGhHIjklmMnpPrRStTuUVwWxXyYzZ%").find(format[at]) ==
            std::string_view::npos)
      throw Problem("strftime_now() gets the format '{}', which has a field that is not supported", format);
    if (format[at] == 'z' || format[at] == 'Z')
      result.pop_back();
    else
      result.append(format, i + 1, at - i);
    i = at;
  }
  return result;
}

Value strftime_function(Runtime& runtime, const Arguments& arguments) {
  const auto bound = bind_arguments("strftime_now()", {{"format"}, 1}, arguments);
  const std::string& given = text_argument(*bound[0], "the format of strftime_now()");
  if (given.size() > 1000)
    throw Problem("strftime_now() gets a format of {} bytes; at most 1000 are allowed", given.size());
  const std::string format = checked_time_format(given);
  if (format.empty()) return "";
  // 1000 bytes of fields make at most 32 bytes a field.
  std::string text(64 + format.size() * 32, '\0');
  text.resize(std::strftime(text.data(), text.size(), format.c_str(), &runtime.now()));
  return text;
}

// Functions of Jinja2 that are not here. They are defined, as a template may ask, and cannot be called.
constexpr std::array<const char*, 3> missing_functions = {"lipsum", "cycler", "joiner"};

Value refuse_function(Runtime&, const Arguments&) {
  throw Problem("lipsum(), cycler() and joiner() are not supported");
}

}  // namespace

Dict global_functions() {
  Dict globals;
  const auto add = [&](const char* name, Value (*body)(Runtime&, const Arguments&)) {
    globals.set(name, make_function(name, body));
  };
  add("range", range_function);
  add("dict", dict_function);
  add("namespace", namespace_function);
  add("raise_exception", raise_function);
  add("strftime_now", strftime_function);
  for (const char* name : missing_functions) add(name, refuse_function);
  return globals;
}

bool is_missing_function(std::string_view name) {
  return std::find(missing_functions.begin(), missing_functions.end(), name) != missing_functions.end();
}

}  // namespace collie::jinja
