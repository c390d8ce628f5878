// Parses expressions, in the grammar and precedence of Jinja2's parser.
#pragma once

#include <vector>

#include "io/jinja/token_stream.hpp"
#include "io/jinja/tree.hpp"

namespace collie::jinja {

class ExpressionParser {
 public:
  explicit ExpressionParser(TokenStream& tokens) : tokens_(tokens) {}

  ExpressionPtr expression();  // with "a if b else c"
  ExpressionPtr expression_without_if();
  // One expression, or several with commas as a tuple. `end` is a name that ends it, such as "in".
  ExpressionPtr tuple(bool with_if = true, std::string_view end = {});
  // | FILTER | FILTER..., the first without its |: what surrounds it is filtered.
  ExpressionPtr filter_chain();
  // NAME, NAME.ATTRIBUTE (if `with_attributes`), or several of them with commas.
  Target target(bool with_attributes, std::string_view end = {});

  // The macros whose bodies are being parsed; names such as "caller" are noted there.
  std::vector<MacroDefinition*> macros;

  // One level of `{% %}`, `( )` or an operator before its operand. Throws SyntaxError for too many.
  class Nesting {
   public:
    explicit Nesting(ExpressionParser& parser);
    ~Nesting() { --parser_.nesting_; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;

   private:
    ExpressionParser& parser_;
  };

 private:
  ExpressionPtr make(ExpressionKind kind, int line) const;
  // Adds a child and its depth. Throws SyntaxError for too deep a tree.
  void add_child(Expression& parent, ExpressionPtr child) const;
  ExpressionPtr binary(ExpressionKind kind, ExpressionPtr left, ExpressionPtr right, int line) const;

  ExpressionPtr disjunction();
  ExpressionPtr conjunction();
  ExpressionPtr negation();
  ExpressionPtr comparison();
  bool take_comparison(Comparison& comparison);
  ExpressionPtr sum();
  ExpressionPtr concatenation();
  ExpressionPtr product();
  ExpressionPtr power();
  ExpressionPtr unary(bool with_filter = true);
  ExpressionPtr primary();
  ExpressionPtr name_or_constant();
  ExpressionPtr string_constant();
  ExpressionPtr parenthesis();
  ExpressionPtr list();
  ExpressionPtr dict();
  ExpressionPtr postfix(ExpressionPtr of);
  ExpressionPtr filters_and_tests(ExpressionPtr of);
  ExpressionPtr member(ExpressionPtr of);
  ExpressionPtr subscript(ExpressionPtr of);
  ExpressionPtr subscript_part(bool& is_slice, ExpressionPtr parts[3]);
  ExpressionPtr call(ExpressionPtr of);
  void arguments(Expression& to);
  void argument(Expression& to);
  ExpressionPtr filter(ExpressionPtr of);
  ExpressionPtr test(ExpressionPtr of);
  void test_argument(Expression& to);
  std::string dotted_name();
  void note_name(const std::string& name);
  Target single_target(bool with_attributes);

  TokenStream& tokens_;
  int nesting_ = 0;
};

}  // namespace collie::jinja
