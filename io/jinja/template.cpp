#include "io/jinja/template.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "base/quote.hpp"
#include "io/jinja/lexer.hpp"
#include "io/jinja/limits.hpp"
#include "io/jinja/parser.hpp"
#include "io/jinja/problem.hpp"
#include "io/jinja/renderer.hpp"
#include "io/utf8.hpp"

namespace collie::jinja {

namespace {

constexpr size_t longest_message = 500;  // bytes; names of a template may be long

Body parse_checked(const std::string& source, const std::string& file) {
  if (source.size() > largest_template)
    throw UserError("{}: the template has {} bytes; at most {} are allowed", file, source.size(),
                    largest_template);
  if (const auto at = first_invalid_utf8(source))
    throw UserError("{}: byte {} is not UTF-8; a template must be UTF-8", file, *at);
  try {
    Body body = parse_template(source);
    check_names(body);
    return body;
  } catch (const SyntaxError& error) {
    throw UserError("{}:{}: {}", file, error.line, shortened(error.message, longest_message));
  } catch (const Problem& problem) {
    throw UserError("{}: {}", file, problem.what());
  }
}

bool holds_generation(const Body& body) {
  return std::any_of(body.begin(), body.end(), [](const auto& statement) {
    if (statement->kind == StatementKind::generation) return true;
    for (const auto& branch : statement->branches)
      if (holds_generation(branch.body)) return true;
    if (statement->macro != nullptr && holds_generation(statement->macro->body)) return true;
    return holds_generation(statement->body) || holds_generation(statement->otherwise);
  });
}

}  // namespace

Template::Template(const std::string& source, std::string file)
    : file_(std::move(file)), body_(parse_checked(source, file_)) {}
Template::~Template() = default;
Template::Template(Template&&) noexcept = default;
Template& Template::operator=(Template&&) noexcept = default;

bool Template::has_generation() const {
  return holds_generation(body_);
}

Rendering Template::render(const Dict& variables, const std::tm& now, const std::string& where) const {
  Renderer renderer(variables, now);
  try {
    return renderer.render(body_);
  } catch (const Refusal& refusal) {
    throw UserError("{}: the template ({}:{}) refuses this: {}", where, file_, renderer.line(),
                    refusal.what());
  } catch (const Problem& problem) {
    throw UserError("{}: {}:{}: {}", where, file_, renderer.line(),
                    shortened(problem.what(), longest_message));
  }
}

}  // namespace collie::jinja
