#include "io/jinja/macro.hpp"

#include <algorithm>

#include "io/jinja/limits.hpp"
#include "io/jinja/problem.hpp"
#include "io/jinja/renderer_places.hpp"

namespace collie::jinja {

std::optional<Value> Macro::attribute(std::string_view name) {
  if (name == "name") return Value(definition_->name);
  if (name != "arguments") return std::nullopt;
  std::vector<Value> names;
  for (const auto& parameter : definition_->parameters) names.emplace_back(parameter);
  return make_tuple(std::move(names));
}

// The parameters, their defaults, and "caller", "varargs" and "kwargs" where the body uses them.
void Macro::set_parameters(const Arguments& arguments) {
  const MacroDefinition& macro = *definition_;
  auto& variables = renderer_.scope_->variables;
  std::vector<bool> used(arguments.named.size());
  const size_t first_default = macro.parameters.size() - macro.defaults.size();
  std::vector<size_t> missing;
  for (size_t i = 0; i < macro.parameters.size(); ++i) {
    const std::string& name = macro.parameters[i];
    if (i < arguments.positional.size()) {
      variables[name] = arguments.positional[i];
      continue;
    }
    const auto found = std::find_if(arguments.named.begin(), arguments.named.end(),
                                    [&](const auto& named) { return named.first == name; });
    if (found != arguments.named.end()) {
      variables[name] = found->second;
      used[static_cast<size_t>(found - arguments.named.begin())] = true;
    } else {
      variables[name] = undefined(fmt::format("parameter '{}' was not provided", name));
      missing.push_back(i);
    }
  }
  set_special(arguments, used);
  for (const size_t i : missing)
    if (i >= first_default)
      variables[macro.parameters[i]] = renderer_.evaluate(*macro.defaults[i - first_default]);
}

void Macro::set_special(const Arguments& arguments, std::vector<bool>& used) {
  const MacroDefinition& macro = *definition_;
  auto& variables = renderer_.scope_->variables;
  if (macro.uses_caller) variables["caller"] = undefined("No caller defined");
  Dict rest;
  for (size_t i = 0; i < arguments.named.size(); ++i) {
    const auto& [name, value] = arguments.named[i];
    if (used[i]) continue;
    if (macro.uses_caller && name == "caller")
      variables["caller"] = value;
    else if (macro.uses_kwargs)
      rest.set(name, value);
    else
      throw Problem("the macro '{}' has no argument '{}'", macro.name, name);
  }
  if (macro.uses_kwargs) variables["kwargs"] = make_dict(std::move(rest));
  const size_t count = macro.parameters.size();
  if (!macro.uses_varargs && arguments.positional.size() > count)
    throw Problem("the macro '{}' gets {} arguments; it takes at most {}", macro.name,
                  arguments.positional.size(), count);
  if (!macro.uses_varargs) return;
  const size_t taken = std::min(count, arguments.positional.size());
  variables["varargs"] = make_tuple(
      {arguments.positional.begin() + static_cast<std::ptrdiff_t>(taken), arguments.positional.end()});
}

Value Macro::call(Runtime& runtime, const Arguments& arguments) {
  const Level level(runtime.macro_depth, deepest_macro_call, "calls of macros");
  runtime.charge(steps_of_scope);
  const int line = runtime.line;
  std::string text;
  const Renderer::ScopeHere scope(renderer_, scope_);
  const Renderer::OutputHere output(renderer_, text);
  set_parameters(arguments);
  renderer_.execute(definition_->body);
  runtime.line = line;
  return text;
}

}  // namespace collie::jinja
