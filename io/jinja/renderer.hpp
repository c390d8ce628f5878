// Evaluates the tree of a template.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "io/jinja/arguments.hpp"
#include "io/jinja/runtime.hpp"
#include "io/jinja/scope.hpp"
#include "io/jinja/template.hpp"
#include "io/jinja/tree.hpp"

namespace collie::jinja {

class Loop;

class Renderer {
 public:
  Renderer(const Dict& variables, std::tm now);
  ~Renderer();
  Renderer(const Renderer&) = delete;
  Renderer& operator=(const Renderer&) = delete;

  // Throws Problem; line() is then where.
  Rendering render(const Body& body);
  int line() const { return runtime_.line; }

 private:
  friend class Macro;
  enum class Flow { next, leave_loop, next_item };

  // A block's own scope, or another output, for the lifetime of the object.
  class ScopeHere;
  class OutputHere;

  // expressions (evaluate.cpp)
  Value evaluate(const Expression& expression);
  Value evaluate_kind(const Expression& expression);
  Value evaluate_name(const Expression& expression);
  Value evaluate_dict(const Expression& expression);
  Value evaluate_slice(const Expression& expression);
  Value evaluate_call(const Expression& expression);
  Value evaluate_signed(const Expression& expression);
  Value evaluate_comparison(const Expression& expression);
  Value evaluate_conditional(const Expression& expression);
  Value evaluate_concatenation(const Expression& expression);
  Value evaluate_filter(const Expression& expression, const Value* surrounded);
  std::vector<Value> evaluate_all(const std::vector<ExpressionPtr>& expressions);
  Arguments evaluate_arguments(const ArgumentExpressions& expressions);
  void add_dict_arguments(Arguments& arguments, const Value& dict);
  bool compare(Comparison comparison, const Value& a, const Value& b);

  // statements (execute.cpp)
  Flow execute(const Body& body);
  Flow execute_statement(const Statement& statement);
  Flow execute_condition(const Statement& statement);
  Flow execute_loop(const Statement& statement, const Value& items, int64_t depth);
  Flow execute_items(const Statement& statement, Loop& loop, const Value& loop_value);
  Flow execute_capture(const Statement& statement);
  Flow execute_filter(const Statement& statement);
  Flow execute_with(const Statement& statement);
  void execute_generation(const Statement& statement);
  void execute_call(const Statement& statement);
  void define_macro(const Statement& statement);
  std::shared_ptr<Loop> make_loop(const Statement& statement, const Value& items, int64_t depth);
  Value filtered(const Expression& filter, std::string text);
  void assign(const Target& target, const Value& value);
  void write(std::string_view text);

  Runtime runtime_;
  std::shared_ptr<Scope> scope_;
  std::vector<std::shared_ptr<Scope>> kept_scopes_;  // those that macros hold; they are emptied at the end
  Rendering rendering_;
  std::string* output_;
  std::vector<const void*> loop_items_;  // of the loops around, the outermost first
};

}  // namespace collie::jinja
