// The tree of a template.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "io/jinja/number.hpp"
#include "io/jinja/value.hpp"

namespace collie::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

enum class ExpressionKind {
  constant,      // value
  name,          // name
  tuple,         // children
  list,          // children
  dict,          // children: key, value, key, value, ...
  attribute,     // children[0] . name
  item,          // children[0] [ children[1] ]
  slice,         // children[0] [ children[1] : children[2] : children[3] ], each of them null or not
  call,          // children[0] ( arguments )
  filter,        // children[0] | name ( arguments ); without a child: of what surrounds it
  test,          // children[0] is name ( arguments )
  negative,      // - children[0]
  positive,      // + children[0]
  negation,      // not children[0]
  conjunction,   // children[0] and children[1]
  disjunction,   // children[0] or children[1]
  conditional,   // children[1] if children[0] else children[2], which may be missing
  comparison,    // children[0] comparisons[0] children[1] comparisons[1] ...
  calculation,   // children[0] operation children[1]
  concatenation  // children[0] ~ children[1] ~ ...
};

enum class Comparison { equal, not_equal, less, less_or_equal, greater, greater_or_equal, in, not_in };

struct ArgumentExpressions {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  ExpressionPtr list, dict;  // *LIST and **DICT, or null
};

struct Expression {
  ExpressionKind kind = ExpressionKind::constant;
  int line = 1;
  int depth = 1;  // expressions in it, itself included
  std::string name;
  Value value;
  Operator operation = Operator::add;
  std::vector<ExpressionPtr> children;
  std::vector<Comparison> comparisons;
  ArgumentExpressions arguments;
};

// What is assigned to: a name, an attribute of a namespace, or several of them.
struct Target {
  std::string name;
  std::string attribute;        // or empty
  std::vector<Target> targets;  // of a tuple
  bool is_tuple = false;
  int line = 1;
};

struct Statement;
using Body = std::vector<std::unique_ptr<Statement>>;

// A macro, or the body of a {% call %} block.
struct MacroDefinition {
  std::string name;
  std::vector<std::string> parameters;
  std::vector<ExpressionPtr> defaults;  // of the last parameters
  Body body;
  bool uses_caller = false, uses_varargs = false, uses_kwargs = false;
};

struct Branch {
  ExpressionPtr test;
  Body body;
};

enum class StatementKind {
  text,        // text
  print,       // expressions
  condition,   // branches, otherwise
  loop,        // for target in expressions[0] if expressions[1] (or null): body, otherwise
  assignment,  // set target = expressions[0]
  capture,     // set target | expressions[0] (or null): body
  macro,       // macro
  call,        // call expressions[0] with macro
  filter,      // filter expressions[0]: body
  with,        // targets = expressions: body
  generation,  // body
  leave_loop,  // break
  next_item    // continue
};

struct Statement {
  StatementKind kind = StatementKind::text;
  int line = 1;
  std::string text;
  std::vector<ExpressionPtr> expressions;
  std::vector<Target> targets;
  std::vector<Branch> branches;
  Body body, otherwise;
  bool is_recursive = false;
  std::shared_ptr<MacroDefinition> macro;
};

}  // namespace collie::jinja
