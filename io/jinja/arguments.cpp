#include "io/jinja/arguments.hpp"

#include <algorithm>

#include "io/jinja/limits.hpp"
#include "io/jinja/problem.hpp"

namespace collie::jinja {

std::vector<std::optional<Value>> bind_arguments(std::string_view function, const Signature& signature,
                                                 const Arguments& arguments) {
  const auto& names = signature.names;
  if (arguments.positional.size() > names.size())
    throw Problem("{} gets {} arguments; it takes at most {}", function, arguments.positional.size(),
                  names.size());
  std::vector<std::optional<Value>> bound(names.size());
  std::copy(arguments.positional.begin(), arguments.positional.end(), bound.begin());
  for (const auto& [name, value] : arguments.named) {
    const auto place = std::find(names.begin(), names.end(), name);
    if (place == names.end() || !signature.by_name) throw Problem("{} has no argument '{}'", function, name);
    auto& slot = bound[static_cast<size_t>(place - names.begin())];
    if (slot) throw Problem("{} gets its argument '{}' twice", function, name);
    slot = value;
  }
  for (size_t i = 0; i < signature.required; ++i)
    if (!bound[i]) throw Problem("{} misses its argument '{}'", function, names[i]);
  return bound;
}

int64_t integer_argument(const Value& value, std::string_view what) {
  if (!defined(value).is_integer()) throw Problem("{} is a {}; it must be an int", what, value.type_name());
  return value.integer();
}

const std::string& text_argument(const Value& value, std::string_view what) {
  if (!defined(value).is_text()) throw Problem("{} is a {}; it must be a str", what, value.type_name());
  return value.bytes();
}

Value make_function(std::string name, Function::Body body) {
  return std::shared_ptr<Object>(std::make_shared<Function>(std::move(name), 0, std::move(body)));
}

Value make_method(const Value& self, std::string name, Function::Body body) {
  const int depth = self.depth() + 1;
  if (depth > deepest_value) throw Problem("more than {} values are one inside the other", deepest_value);
  return std::shared_ptr<Object>(std::make_shared<Function>(std::move(name), depth, std::move(body)));
}

}  // namespace collie::jinja
