// Refuses names of filters, tests and functions that do not exist, before a template is used.
#include <fmt/format.h>

#include "io/jinja/access.hpp"
#include "io/jinja/filters.hpp"
#include "io/jinja/lexer.hpp"
#include "io/jinja/parser.hpp"

namespace collie::jinja {

namespace {

// `soft` is true in conditions, where Jinja2 allows names that it does not know.
void check_expression(const Expression* expression, bool soft);

void check_arguments(const ArgumentExpressions& arguments, bool soft) {
  for (const auto& argument : arguments.positional) check_expression(argument.get(), soft);
  for (const auto& [name, argument] : arguments.named) check_expression(argument.get(), soft);
  check_expression(arguments.list.get(), soft);
  check_expression(arguments.dict.get(), soft);
}

void check_filter(const Expression& filter, bool soft) {
  if (is_filter(filter.name)) return;
  if (is_missing_filter(filter.name))
    throw SyntaxError{filter.line, fmt::format("the filter '{}' is not supported", filter.name)};
  if (!soft) throw SyntaxError{filter.line, fmt::format("there is no filter '{}'", filter.name)};
}

void check_call(const Expression& call) {
  const Expression& callee = *call.children[0];
  if (callee.kind == ExpressionKind::name && is_missing_function(callee.name))
    throw SyntaxError{call.line, fmt::format("the function '{}' is not supported", callee.name)};
  if (callee.kind == ExpressionKind::attribute && is_missing_method(callee.name))
    throw SyntaxError{call.line, fmt::format("the method '{}' is not supported", callee.name)};
}

void check_expression(const Expression* expression, bool soft) {
  if (expression == nullptr) return;
  soft = soft || expression->kind == ExpressionKind::conditional;
  if (expression->kind == ExpressionKind::filter) check_filter(*expression, soft);
  if (expression->kind == ExpressionKind::test && !soft && !is_test(expression->name))
    throw SyntaxError{expression->line, fmt::format("there is no test '{}'", expression->name)};
  if (expression->kind == ExpressionKind::call) check_call(*expression);
  for (const auto& child : expression->children) check_expression(child.get(), soft);
  check_arguments(expression->arguments, soft);
}

void check_body(const Body& body, bool soft);

void check_statement(const Statement& statement, bool soft) {
  const bool is_condition = statement.kind == StatementKind::condition;
  for (const auto& branch : statement.branches) {
    check_expression(branch.test.get(), true);
    check_body(branch.body, true);
  }
  for (const auto& expression : statement.expressions) check_expression(expression.get(), soft);
  check_body(statement.body, false);
  check_body(statement.otherwise, is_condition);
  if (statement.macro == nullptr) return;
  for (const auto& value : statement.macro->defaults) check_expression(value.get(), false);
  check_body(statement.macro->body, false);
}

void check_body(const Body& body, bool soft) {
  for (const auto& statement : body) check_statement(*statement, soft);
}

}  // namespace

void check_names(const Body& body) {
  check_body(body, false);
}

}  // namespace collie::jinja
