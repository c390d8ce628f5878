#include "io/jinja/expression_parser.hpp"

#include <algorithm>

#include "io/jinja/limits.hpp"
#include "io/jinja/problem.hpp"

namespace collie::jinja {

ExpressionParser::Nesting::Nesting(ExpressionParser& parser) : parser_(parser) {
  if (parser.nesting_ >= deepest_nesting)
    parser.tokens_.refuse(
        fmt::format("more than {} brackets, blocks and signs are one inside the other", deepest_nesting));
  ++parser_.nesting_;
}

ExpressionPtr ExpressionParser::make(ExpressionKind kind, int line) const {
  auto made = std::make_unique<Expression>();
  made->kind = kind;
  made->line = line;
  return made;
}

void ExpressionParser::add_child(Expression& parent, ExpressionPtr child) const {
  if (child != nullptr) parent.depth = std::max(parent.depth, child->depth + 1);
  if (parent.depth > deepest_tree)
    tokens_.refuse(
        fmt::format("an expression has more than {} operators, each an operand of the next", deepest_tree));
  parent.children.push_back(std::move(child));
}

ExpressionPtr ExpressionParser::binary(ExpressionKind kind, ExpressionPtr left, ExpressionPtr right,
                                       int line) const {
  auto made = make(kind, line);
  add_child(*made, std::move(left));
  add_child(*made, std::move(right));
  return made;
}

ExpressionPtr ExpressionParser::expression() {
  const Nesting nesting(*this);
  int line = tokens_.current().line;
  auto value = disjunction();
  while (tokens_.skip_name("if")) {
    auto made = make(ExpressionKind::conditional, line);
    add_child(*made, disjunction());
    add_child(*made, std::move(value));
    add_child(*made, tokens_.skip_name("else") ? expression() : nullptr);
    value = std::move(made);
    line = tokens_.current().line;
  }
  return value;
}

ExpressionPtr ExpressionParser::expression_without_if() {
  return disjunction();
}

ExpressionPtr ExpressionParser::tuple(bool with_if, std::string_view end) {
  const int line = tokens_.current().line;
  const auto ends = [&] {
    const Token& token = tokens_.current();
    return token.type == TokenType::variable_end || token.type == TokenType::block_end ||
           token.is_symbol(")") || (!end.empty() && token.is_name(end));
  };
  if (ends())
    tokens_.refuse(fmt::format("found {} where an expression would be right", tokens_.description()));
  auto first = with_if ? expression() : expression_without_if();
  if (!tokens_.current().is_symbol(",")) return first;
  auto made = make(ExpressionKind::tuple, line);
  add_child(*made, std::move(first));
  while (tokens_.skip_symbol(",") && !ends())
    add_child(*made, with_if ? expression() : expression_without_if());
  return made;
}

ExpressionPtr ExpressionParser::disjunction() {
  const int line = tokens_.current().line;
  auto left = conjunction();
  while (tokens_.skip_name("or"))
    left = binary(ExpressionKind::disjunction, std::move(left), conjunction(), line);
  return left;
}

ExpressionPtr ExpressionParser::conjunction() {
  const int line = tokens_.current().line;
  auto left = negation();
  while (tokens_.skip_name("and"))
    left = binary(ExpressionKind::conjunction, std::move(left), negation(), line);
  return left;
}

ExpressionPtr ExpressionParser::negation() {
  if (!tokens_.current().is_name("not")) return comparison();
  const Nesting nesting(*this);
  auto made = make(ExpressionKind::negation, tokens_.take().line);
  add_child(*made, negation());
  return made;
}

bool ExpressionParser::take_comparison(Comparison& comparison) {
  constexpr std::pair<std::string_view, Comparison> symbols[] = {
      {"==", Comparison::equal},  {"!=", Comparison::not_equal},     {"<", Comparison::less},
      {">", Comparison::greater}, {"<=", Comparison::less_or_equal}, {">=", Comparison::greater_or_equal}};
  for (const auto& [symbol, its_comparison] : symbols)
    if (tokens_.skip_symbol(symbol)) {
      comparison = its_comparison;
      return true;
    }
  if (tokens_.skip_name("in")) {
    comparison = Comparison::in;
    return true;
  }
  if (!tokens_.current().is_name("not") || !tokens_.following().is_name("in")) return false;
  tokens_.take();
  tokens_.take();
  comparison = Comparison::not_in;
  return true;
}

ExpressionPtr ExpressionParser::comparison() {
  const int line = tokens_.current().line;
  auto first = sum();
  Comparison comparison{};
  if (!take_comparison(comparison)) return first;
  auto made = make(ExpressionKind::comparison, line);
  add_child(*made, std::move(first));
  do {
    made->comparisons.push_back(comparison);
    add_child(*made, sum());
  } while (take_comparison(comparison));
  return made;
}

ExpressionPtr ExpressionParser::sum() {
  const int line = tokens_.current().line;
  auto left = concatenation();
  while (tokens_.current().is_symbol("+") || tokens_.current().is_symbol("-")) {
    const Operator operation = tokens_.take().text == "+" ? Operator::add : Operator::subtract;
    left = binary(ExpressionKind::calculation, std::move(left), concatenation(), line);
    left->operation = operation;
  }
  return left;
}

ExpressionPtr ExpressionParser::concatenation() {
  const int line = tokens_.current().line;
  auto first = product();
  if (!tokens_.current().is_symbol("~")) return first;
  auto made = make(ExpressionKind::concatenation, line);
  add_child(*made, std::move(first));
  while (tokens_.skip_symbol("~")) add_child(*made, product());
  return made;
}

ExpressionPtr ExpressionParser::product() {
  constexpr std::pair<std::string_view, Operator> symbols[] = {{"*", Operator::multiply},
                                                               {"/", Operator::divide},
                                                               {"//", Operator::floor_divide},
                                                               {"%", Operator::modulo}};
  const int line = tokens_.current().line;
  auto left = power();
  for (;;) {
    const auto* found = std::find_if(std::begin(symbols), std::end(symbols), [&](const auto& symbol) {
      return tokens_.current().is_symbol(symbol.first);
    });
    if (found == std::end(symbols)) return left;
    tokens_.take();
    left = binary(ExpressionKind::calculation, std::move(left), power(), line);
    left->operation = found->second;
  }
}

ExpressionPtr ExpressionParser::power() {
  const int line = tokens_.current().line;
  auto left = unary();
  while (tokens_.skip_symbol("**")) {  // from left to right, unlike Python
    left = binary(ExpressionKind::calculation, std::move(left), unary(), line);
    left->operation = Operator::power;
  }
  return left;
}

ExpressionPtr ExpressionParser::unary(bool with_filter) {
  ExpressionPtr value;
  if (tokens_.current().is_symbol("-") || tokens_.current().is_symbol("+")) {
    const Nesting nesting(*this);
    const Token sign = tokens_.take();
    value = make(sign.text == "-" ? ExpressionKind::negative : ExpressionKind::positive, sign.line);
    add_child(*value, unary(false));
  } else {
    value = primary();
  }
  value = postfix(std::move(value));
  return with_filter ? filters_and_tests(std::move(value)) : std::move(value);
}

ExpressionPtr ExpressionParser::primary() {
  const Token& token = tokens_.current();
  if (token.type == TokenType::name) return name_or_constant();
  if (token.type == TokenType::string) return string_constant();
  if (token.is_symbol("(")) return parenthesis();
  if (token.is_symbol("[")) return list();
  if (token.is_symbol("{")) return dict();
  if (token.type != TokenType::integer && token.type != TokenType::real)
    tokens_.refuse(fmt::format("found {} where an expression would be right", tokens_.description()));
  auto made = make(ExpressionKind::constant, token.line);
  made->value = token.type == TokenType::integer ? Value(token.integer) : Value(token.real);
  tokens_.take();
  return made;
}

void ExpressionParser::note_name(const std::string& name) {
  for (MacroDefinition* macro : macros) {
    macro->uses_caller = macro->uses_caller || name == "caller";
    macro->uses_varargs = macro->uses_varargs || name == "varargs";
    macro->uses_kwargs = macro->uses_kwargs || name == "kwargs";
  }
}

ExpressionPtr ExpressionParser::name_or_constant() {
  const Token token = tokens_.take();
  auto made = make(ExpressionKind::constant, token.line);
  if (token.text == "true" || token.text == "True" || token.text == "false" || token.text == "False") {
    made->value = token.text == "true" || token.text == "True";
  } else if (token.text == "none" || token.text == "None") {
    made->value = None{};
  } else {
    made->kind = ExpressionKind::name;
    made->name = token.text;
    note_name(token.text);
  }
  return made;
}

ExpressionPtr ExpressionParser::string_constant() {
  auto made = make(ExpressionKind::constant, tokens_.current().line);
  std::string text;
  while (tokens_.current().type == TokenType::string) text += tokens_.take().text;
  made->value = Value(std::move(text));
  return made;
}

ExpressionPtr ExpressionParser::parenthesis() {
  const int line = tokens_.take().line;
  auto value = tokens_.current().is_symbol(")") ? make(ExpressionKind::tuple, line) : tuple();
  tokens_.expect_symbol(")");
  return value;
}

ExpressionPtr ExpressionParser::list() {
  auto made = make(ExpressionKind::list, tokens_.take().line);
  while (!tokens_.current().is_symbol("]")) {
    if (!made->children.empty()) tokens_.expect_symbol(",");
    if (!tokens_.current().is_symbol("]")) add_child(*made, expression());
  }
  tokens_.take();
  return made;
}

ExpressionPtr ExpressionParser::dict() {
  auto made = make(ExpressionKind::dict, tokens_.take().line);
  while (!tokens_.current().is_symbol("}")) {
    if (!made->children.empty()) tokens_.expect_symbol(",");
    if (tokens_.current().is_symbol("}")) break;
    add_child(*made, expression());
    tokens_.expect_symbol(":");
    add_child(*made, expression());
  }
  tokens_.take();
  return made;
}

ExpressionPtr ExpressionParser::postfix(ExpressionPtr of) {
  for (;;) {
    if (tokens_.current().is_symbol("."))
      of = member(std::move(of));
    else if (tokens_.current().is_symbol("["))
      of = subscript(std::move(of));
    else if (tokens_.current().is_symbol("("))
      of = call(std::move(of));
    else
      return of;
  }
}

ExpressionPtr ExpressionParser::filters_and_tests(ExpressionPtr of) {
  for (;;) {
    if (tokens_.skip_symbol("|"))
      of = filter(std::move(of));
    else if (tokens_.current().is_name("is"))
      of = test(std::move(of));
    else if (tokens_.current().is_symbol("("))
      of = call(std::move(of));
    else
      return of;
  }
}

ExpressionPtr ExpressionParser::member(ExpressionPtr of) {
  const int line = tokens_.take().line;
  const Token name = tokens_.take();
  auto made = make(ExpressionKind::attribute, line);
  add_child(*made, std::move(of));
  if (name.type == TokenType::name) {
    made->name = name.text;
  } else if (name.type == TokenType::integer) {
    made->kind = ExpressionKind::item;
    auto index = make(ExpressionKind::constant, line);
    index->value = name.integer;
    add_child(*made, std::move(index));
  } else {
    throw SyntaxError{name.line, "'.' is followed by neither a name nor a number"};
  }
  return made;
}

// One part of [ , , ]: an expression, or the parts of a slice.
ExpressionPtr ExpressionParser::subscript_part(bool& is_slice, ExpressionPtr parts[3]) {
  const auto ends = [&] { return tokens_.current().is_symbol("]") || tokens_.current().is_symbol(","); };
  ExpressionPtr first;
  if (!tokens_.current().is_symbol(":")) first = expression();
  is_slice = tokens_.current().is_symbol(":");
  if (!is_slice) return first;
  parts[0] = std::move(first);
  for (int i = 1; i < 3 && tokens_.skip_symbol(":"); ++i)
    if (!ends() && !tokens_.current().is_symbol(":")) parts[i] = expression();
  return nullptr;
}

ExpressionPtr ExpressionParser::subscript(ExpressionPtr of) {
  const int line = tokens_.take().line;
  auto made = make(ExpressionKind::item, line);
  add_child(*made, std::move(of));
  bool is_slice = false;
  ExpressionPtr parts[3];
  auto key = subscript_part(is_slice, parts);
  if (is_slice) {
    made->kind = ExpressionKind::slice;
    for (auto& part : parts) add_child(*made, std::move(part));
  } else if (tokens_.current().is_symbol(",")) {
    auto keys = make(ExpressionKind::tuple, line);
    add_child(*keys, std::move(key));
    while (tokens_.skip_symbol(",")) add_child(*keys, expression());
    add_child(*made, std::move(keys));
  } else {
    add_child(*made, std::move(key));
  }
  tokens_.expect_symbol("]");
  return made;
}

ExpressionPtr ExpressionParser::call(ExpressionPtr of) {
  auto made = make(ExpressionKind::call, tokens_.current().line);
  add_child(*made, std::move(of));
  arguments(*made);
  return made;
}

void ExpressionParser::arguments(Expression& to) {
  tokens_.expect_symbol("(");
  bool is_first = true;
  while (!tokens_.current().is_symbol(")")) {
    if (!is_first) tokens_.expect_symbol(",");
    is_first = false;
    if (!tokens_.current().is_symbol(")")) argument(to);
  }
  tokens_.take();
}

void ExpressionParser::argument(Expression& to) {
  ArgumentExpressions& arguments = to.arguments;
  const auto deepen = [&](const ExpressionPtr& argument) {
    to.depth = std::max(to.depth, argument->depth + 1);
  };
  const auto refuse_order = [&](bool wrong) {
    if (wrong) tokens_.refuse("the arguments of a call are in an order that is not allowed");
  };
  if (tokens_.skip_symbol("*")) {
    refuse_order(arguments.list != nullptr || arguments.dict != nullptr);
    arguments.list = expression();
    deepen(arguments.list);
  } else if (tokens_.skip_symbol("**")) {
    refuse_order(arguments.dict != nullptr);
    arguments.dict = expression();
    deepen(arguments.dict);
  } else if (tokens_.current().type == TokenType::name && tokens_.following().is_symbol("=")) {
    refuse_order(arguments.dict != nullptr);
    const std::string name = tokens_.take().text;
    tokens_.take();
    for (const auto& [other, value] : arguments.named)
      if (other == name) tokens_.refuse(fmt::format("the argument '{}' is given twice", name));
    arguments.named.emplace_back(name, expression());
    deepen(arguments.named.back().second);
  } else {
    refuse_order(arguments.list != nullptr || arguments.dict != nullptr || !arguments.named.empty());
    arguments.positional.push_back(expression());
    deepen(arguments.positional.back());
  }
}

std::string ExpressionParser::dotted_name() {
  std::string name = tokens_.take_name("a name");
  while (tokens_.skip_symbol(".")) name += "." + tokens_.take_name("a name");
  return name;
}

ExpressionPtr ExpressionParser::filter(ExpressionPtr of) {
  auto made = make(ExpressionKind::filter, tokens_.current().line);
  if (of != nullptr) add_child(*made, std::move(of));
  made->name = dotted_name();
  if (tokens_.current().is_symbol("(")) arguments(*made);
  if (made->depth > deepest_tree)
    tokens_.refuse(
        fmt::format("an expression has more than {} operators, each an operand of the next", deepest_tree));
  return made;
}

ExpressionPtr ExpressionParser::filter_chain() {
  auto chain = filter(nullptr);
  while (tokens_.skip_symbol("|")) chain = filter(std::move(chain));
  return chain;
}

ExpressionPtr ExpressionParser::test(ExpressionPtr of) {
  const int line = tokens_.take().line;
  const bool negated = tokens_.skip_name("not");
  auto made = make(ExpressionKind::test, line);
  add_child(*made, std::move(of));
  made->name = dotted_name();
  if (tokens_.current().is_symbol("("))
    arguments(*made);
  else
    test_argument(*made);
  if (!negated) return made;
  auto outer = make(ExpressionKind::negation, line);
  add_child(*outer, std::move(made));
  return outer;
}

// The one argument that a test takes without parentheses: x is divisibleby 3.
void ExpressionParser::test_argument(Expression& to) {
  const Token& token = tokens_.current();
  const bool begins = token.type == TokenType::name || token.type == TokenType::string ||
                      token.type == TokenType::integer || token.type == TokenType::real ||
                      token.is_symbol("[") || token.is_symbol("{");
  if (!begins || token.is_name("else") || token.is_name("or") || token.is_name("and")) return;
  if (token.is_name("is")) tokens_.refuse("two tests follow each other; join them with 'and'");
  const Nesting nesting(*this);
  to.arguments.positional.push_back(postfix(primary()));
  to.depth = std::max(to.depth, to.arguments.positional.back()->depth + 1);
}

Target ExpressionParser::single_target(bool with_attributes) {
  const Nesting nesting(*this);
  Target target;
  target.line = tokens_.current().line;
  if (tokens_.skip_symbol("(")) {
    target = this->target(with_attributes);
    tokens_.expect_symbol(")");
    return target;
  }
  target.name = tokens_.take_name("a name to assign to");
  for (const char* constant : {"true", "false", "none", "True", "False", "None"})
    if (target.name == constant) tokens_.refuse(fmt::format("'{}' cannot be assigned to", target.name));
  if (with_attributes && tokens_.skip_symbol(".")) {
    target.attribute = tokens_.take_name("the name of an attribute");
    note_name(target.name);
  }
  return target;
}

Target ExpressionParser::target(bool with_attributes, std::string_view end) {
  Target first = single_target(with_attributes);
  if (!tokens_.current().is_symbol(",")) return first;
  Target tuple;
  tuple.is_tuple = true;
  tuple.line = first.line;
  tuple.targets.push_back(std::move(first));
  while (tokens_.skip_symbol(",")) {
    const Token& token = tokens_.current();
    if (token.is_symbol("=") || token.is_symbol(")") || token.type == TokenType::block_end ||
        (!end.empty() && token.is_name(end)))
      break;
    tuple.targets.push_back(single_target(with_attributes));
  }
  return tuple;
}

}  // namespace collie::jinja
