// The expressions of a Renderer.
#include <algorithm>

#include "io/jinja/access.hpp"
#include "io/jinja/filters.hpp"
#include "io/jinja/limits.hpp"
#include "io/jinja/operations.hpp"
#include "io/jinja/print.hpp"
#include "io/jinja/problem.hpp"
#include "io/jinja/renderer.hpp"

namespace collie::jinja {

Value Renderer::evaluate(const Expression& expression) {
  const Level level(runtime_.depth, deepest_evaluation, "expressions and blocks");
  runtime_.charge(1);
  runtime_.line = expression.line;
  return evaluate_kind(expression);
}

Value Renderer::evaluate_kind(const Expression& expression) {
  const auto& children = expression.children;
  switch (expression.kind) {
    case ExpressionKind::constant:
      return expression.value;
    case ExpressionKind::name:
      return evaluate_name(expression);
    case ExpressionKind::tuple:
      return make_tuple(evaluate_all(children));
    case ExpressionKind::list:
      return make_list(evaluate_all(children));
    case ExpressionKind::dict:
      return evaluate_dict(expression);
    case ExpressionKind::attribute:
      return get_attribute(runtime_, evaluate(*children[0]), expression.name);
    case ExpressionKind::item: {
      const Value of = evaluate(*children[0]);
      return get_item(runtime_, of, evaluate(*children[1]));
    }
    case ExpressionKind::slice:
      return evaluate_slice(expression);
    case ExpressionKind::call:
      return evaluate_call(expression);
    case ExpressionKind::filter:
      return evaluate_filter(expression, nullptr);
    case ExpressionKind::test: {
      const Value tested = evaluate(*children[0]);
      return apply_test(runtime_, expression.name, tested, evaluate_arguments(expression.arguments));
    }
    case ExpressionKind::negative:
    case ExpressionKind::positive:
      return evaluate_signed(expression);
    case ExpressionKind::negation:
      return !evaluate(*children[0]).is_true();
    case ExpressionKind::conjunction: {
      Value left = evaluate(*children[0]);
      return left.is_true() ? evaluate(*children[1]) : left;
    }
    case ExpressionKind::disjunction: {
      Value left = evaluate(*children[0]);
      return left.is_true() ? left : evaluate(*children[1]);
    }
    case ExpressionKind::conditional:
      return evaluate_conditional(expression);
    case ExpressionKind::comparison:
      return evaluate_comparison(expression);
    case ExpressionKind::calculation: {
      const Value left = evaluate(*children[0]), right = evaluate(*children[1]);
      runtime_.line = expression.line;
      return apply_operator(runtime_, expression.operation, left, right);
    }
    case ExpressionKind::concatenation:
      return evaluate_concatenation(expression);
  }
  return {};
}

Value Renderer::evaluate_name(const Expression& expression) {
  const Value* value = scope_->find(expression.name);
  return value != nullptr ? *value : undefined(fmt::format("'{}' is undefined", expression.name));
}

Value Renderer::evaluate_dict(const Expression& expression) {
  Dict dict;
  for (size_t i = 0; i < expression.children.size(); i += 2) {
    const Value key = evaluate(*expression.children[i]);
    dict.set(key, evaluate(*expression.children[i + 1]));
  }
  return make_dict(std::move(dict));
}

Value Renderer::evaluate_slice(const Expression& expression) {
  const auto part = [&](size_t i) -> Value {
    return expression.children[i] == nullptr ? Value(None{}) : evaluate(*expression.children[i]);
  };
  const Value of = part(0), start = part(1), stop = part(2), step = part(3);
  return get_slice(runtime_, of, start, stop, step);
}

Value Renderer::evaluate_call(const Expression& expression) {
  const Value callee = evaluate(*expression.children[0]);
  const Arguments arguments = evaluate_arguments(expression.arguments);
  runtime_.line = expression.line;
  if (defined(callee).object() == nullptr) throw Problem("'{}' object is not callable", callee.type_name());
  return callee.object()->call(runtime_, arguments);
}

Value Renderer::evaluate_signed(const Expression& expression) {
  const Value value = evaluate(*expression.children[0]);
  if (!defined(value).is_number())
    throw Problem("the sign of a {} is changed; it must be a number", value.type_name());
  if (expression.kind == ExpressionKind::negative) return negated(value);
  return value.is_float() ? value : Value(value.integer());
}

bool Renderer::compare(Comparison comparison, const Value& a, const Value& b) {
  switch (comparison) {
    case Comparison::equal:
      return equal(runtime_, a, b);
    case Comparison::not_equal:
      return !equal(runtime_, a, b);
    case Comparison::less:
      return less(runtime_, a, b);
    case Comparison::greater:
      return less(runtime_, b, a);
    case Comparison::less_or_equal:
      return less(runtime_, a, b) || equal(runtime_, a, b);
    case Comparison::greater_or_equal:
      return less(runtime_, b, a) || equal(runtime_, a, b);
    case Comparison::in:
      return contains(runtime_, b, a);
    case Comparison::not_in:
      return !contains(runtime_, b, a);
  }
  return false;
}

Value Renderer::evaluate_comparison(const Expression& expression) {
  Value left = evaluate(*expression.children[0]);
  for (size_t i = 0; i < expression.comparisons.size(); ++i) {
    Value right = evaluate(*expression.children[i + 1]);
    if (!compare(expression.comparisons[i], left, right)) return false;
    left = std::move(right);
  }
  return true;
}

Value Renderer::evaluate_conditional(const Expression& expression) {
  if (evaluate(*expression.children[0]).is_true()) return evaluate(*expression.children[1]);
  if (expression.children[2] != nullptr) return evaluate(*expression.children[2]);
  return undefined(
      fmt::format("the inline if-expression on line {} evaluated to false and no else section was defined",
                  expression.line));
}

Value Renderer::evaluate_concatenation(const Expression& expression) {
  std::string text;
  for (const auto& child : expression.children) {
    text += text_of(runtime_, evaluate(*child));
    if (text.size() > longest_text) throw Problem("a string of more than {} bytes is made", longest_text);
  }
  return text;
}

Value Renderer::evaluate_filter(const Expression& expression, const Value* surrounded) {
  const Value value = !expression.children.empty()
                          ? surrounded == nullptr ? evaluate(*expression.children[0])
                                                  : evaluate_filter(*expression.children[0], surrounded)
                          : *surrounded;
  const Arguments arguments = evaluate_arguments(expression.arguments);
  runtime_.line = expression.line;
  return apply_filter(runtime_, expression.name, value, arguments);
}

std::vector<Value> Renderer::evaluate_all(const std::vector<ExpressionPtr>& expressions) {
  std::vector<Value> values;
  for (const auto& expression : expressions) values.push_back(evaluate(*expression));
  return values;
}

void Renderer::add_dict_arguments(Arguments& arguments, const Value& dict) {
  if (!defined(dict).is_dict()) throw Problem("** of a call gets a {}; it must be a dict", dict.type_name());
  for (const auto& [key, value] : dict.dict().entries()) {
    const std::string& name = text_argument(key, "a key of what ** of a call gets");
    for (const auto& [other, other_value] : arguments.named)
      if (other == name) throw Problem("the argument '{}' is given twice", name);
    arguments.named.emplace_back(name, value);
    runtime_.charge(arguments.named.size());
  }
}

Arguments Renderer::evaluate_arguments(const ArgumentExpressions& expressions) {
  Arguments arguments;
  arguments.positional = evaluate_all(expressions.positional);
  for (const auto& [name, expression] : expressions.named)
    arguments.named.emplace_back(name, evaluate(*expression));
  if (expressions.list != nullptr)
    for (Value& value : items_of(runtime_, defined(evaluate(*expressions.list))))
      arguments.positional.push_back(std::move(value));
  if (expressions.dict != nullptr) add_dict_arguments(arguments, evaluate(*expressions.dict));
  return arguments;
}

}  // namespace collie::jinja
