// The statements of a Renderer.
#include "io/jinja/filters.hpp"
#include "io/jinja/limits.hpp"
#include "io/jinja/loop.hpp"
#include "io/jinja/macro.hpp"
#include "io/jinja/objects.hpp"
#include "io/jinja/print.hpp"
#include "io/jinja/problem.hpp"
#include "io/jinja/renderer_places.hpp"

namespace collie::jinja {

Renderer::Renderer(const Dict& variables, std::tm now)
    : runtime_(now), scope_(std::make_shared<Scope>(nullptr)), output_(&rendering_.text) {
  const Dict globals = global_functions();
  for (const Dict* each : {&globals, &variables})
    for (const auto& [name, value] : each->entries()) scope_->variables[name.bytes()] = value;
}

Renderer::~Renderer() {
  // Macros hold scopes, and scopes hold macros.
  for (const auto& scope : kept_scopes_) scope->variables.clear();
  scope_->variables.clear();
}

Rendering Renderer::render(const Body& body) {
  execute(body);
  return std::move(rendering_);
}

void Renderer::write(std::string_view text) {
  runtime_.charge_bytes(text.size());
  if (output_->size() + text.size() > longest_output)
    throw Problem("the text becomes longer than {} bytes", longest_output);
  *output_ += text;
}

Renderer::Flow Renderer::execute(const Body& body) {
  for (const auto& statement : body)
    if (const Flow flow = execute_statement(*statement); flow != Flow::next) return flow;
  return Flow::next;
}

Renderer::Flow Renderer::execute_statement(const Statement& statement) {
  const Level level(runtime_.depth, deepest_evaluation, "expressions and blocks");
  runtime_.charge(1);
  runtime_.line = statement.line;
  switch (statement.kind) {
    case StatementKind::text:
      write(statement.text);
      break;
    case StatementKind::print:
      for (const auto& expression : statement.expressions) write(text_of(runtime_, evaluate(*expression)));
      break;
    case StatementKind::condition:
      return execute_condition(statement);
    case StatementKind::loop:
      return execute_loop(statement, evaluate(*statement.expressions[0]), 0);
    case StatementKind::assignment:
      assign(statement.targets[0], evaluate(*statement.expressions[0]));
      break;
    case StatementKind::capture:
      return execute_capture(statement);
    case StatementKind::macro:
      define_macro(statement);
      break;
    case StatementKind::call:
      execute_call(statement);
      break;
    case StatementKind::filter:
      return execute_filter(statement);
    case StatementKind::with:
      return execute_with(statement);
    case StatementKind::generation:
      execute_generation(statement);
      break;
    case StatementKind::leave_loop:
      return Flow::leave_loop;
    case StatementKind::next_item:
      return Flow::next_item;
  }
  return Flow::next;
}

Renderer::Flow Renderer::execute_condition(const Statement& statement) {
  for (const auto& branch : statement.branches)
    if (evaluate(*branch.test).is_true()) return execute(branch.body);
  return execute(statement.otherwise);
}

std::shared_ptr<Loop> Renderer::make_loop(const Statement& statement, const Value& items, int64_t depth) {
  Loop::Keep keep;
  if (const auto* condition = statement.expressions[1].get())
    keep = [this, &statement, condition, around = scope_](const Value& item) {
      const ScopeHere scope(*this, around);
      assign(statement.targets[0], item);
      return evaluate(*condition).is_true();
    };
  Loop::Recurse recurse;
  if (statement.is_recursive)
    recurse = [this, &statement, around = scope_](const Value& inner, int64_t inner_depth) -> Value {
      const Level level(runtime_.macro_depth, deepest_macro_call, "calls of macros");
      std::string text;
      const ScopeHere scope(*this, around);
      const OutputHere output(*this, text);
      execute_loop(statement, inner, inner_depth);
      return text;
    };
  return std::make_shared<Loop>(items_of(runtime_, items), std::move(keep), std::move(recurse), depth);
}

Renderer::Flow Renderer::execute_loop(const Statement& statement, const Value& items, int64_t depth) {
  const auto loop = make_loop(statement, items, depth);
  // Whoever still holds the loop afterwards must not hold what it holds.
  struct Finish {
    Loop& loop;
    ~Finish() { loop.finish(); }
  } const finish{*loop};
  const size_t around = loop_items_.size();
  struct Shrink {
    std::vector<const void*>& items;
    size_t size;
    ~Shrink() { items.resize(size); }
  } const shrink{loop_items_, around};
  loop_items_.push_back(nullptr);
  return execute_items(statement, *loop, std::shared_ptr<Object>(loop));
}

Renderer::Flow Renderer::execute_items(const Statement& statement, Loop& loop, const Value& loop_value) {
  bool any = false;
  const size_t place = loop_items_.size() - 1;
  while (loop.advance()) {
    any = true;
    runtime_.charge(steps_of_scope);
    const ScopeHere scope(*this, scope_);
    scope_->variables["loop"] = loop_value;
    assign(statement.targets[0], loop.item());
    loop_items_[place] = loop.item().address();
    if (execute(statement.body) == Flow::leave_loop) break;
  }
  if (any) return Flow::next;
  const ScopeHere scope(*this, scope_);
  return execute(statement.otherwise);
}

void Renderer::assign(const Target& target, const Value& value) {
  if (target.is_tuple) {
    const auto items = items_of(runtime_, value);
    if (items.size() != target.targets.size())
      throw Problem("{} values are assigned to {} names", items.size(), target.targets.size());
    for (size_t i = 0; i < items.size(); ++i) assign(target.targets[i], items[i]);
    return;
  }
  if (target.attribute.empty()) {
    scope_->variables[target.name] = value;
    return;
  }
  const Value* holder = scope_->find(target.name);
  auto* space = holder == nullptr ? nullptr : dynamic_cast<Namespace*>(holder->object());
  if (space == nullptr)
    throw Problem("an attribute of '{}' is set, which is no namespace; make it with namespace()",
                  target.name);
  space->set(target.attribute, value);
}

Value Renderer::filtered(const Expression& filter, std::string text) {
  const Value value(std::move(text));
  return evaluate_filter(filter, &value);
}

Renderer::Flow Renderer::execute_capture(const Statement& statement) {
  std::string text;
  {
    const ScopeHere scope(*this, scope_);
    const OutputHere output(*this, text);
    if (const Flow flow = execute(statement.body); flow != Flow::next) return flow;
  }
  const Expression* filter = statement.expressions[0].get();
  assign(statement.targets[0],
         filter == nullptr ? Value(std::move(text)) : filtered(*filter, std::move(text)));
  return Flow::next;
}

Renderer::Flow Renderer::execute_filter(const Statement& statement) {
  std::string text;
  {
    const ScopeHere scope(*this, scope_);
    const OutputHere output(*this, text);
    if (const Flow flow = execute(statement.body); flow != Flow::next) return flow;
  }
  write(text_of(runtime_, filtered(*statement.expressions[0], std::move(text))));
  return Flow::next;
}

Renderer::Flow Renderer::execute_with(const Statement& statement) {
  const auto values = evaluate_all(statement.expressions);
  const ScopeHere scope(*this, scope_);
  for (size_t i = 0; i < values.size(); ++i) assign(statement.targets[i], values[i]);
  return execute(statement.body);
}

void Renderer::execute_generation(const Statement& statement) {
  const size_t begin = rendering_.text.size();
  // In a macro, a set block or another generation block, the text's place in the whole is not known.
  if (output_ != &rendering_.text)
    rendering_.generation_problem = fmt::format(
        "line {}: a generation block is inside of a macro, or of a set, call, filter or generation block",
        statement.line);
  std::string text;
  {
    const ScopeHere scope(*this, scope_);
    const OutputHere output(*this, text);
    execute(statement.body);
  }
  write(text);
  if (output_ == &rendering_.text)
    rendering_.generations.push_back({begin, begin + text.size(), loop_items_});
}

void Renderer::define_macro(const Statement& statement) {
  scope_->variables[statement.macro->name] =
      std::shared_ptr<Object>(std::make_shared<Macro>(*this, statement.macro, scope_));
}

void Renderer::execute_call(const Statement& statement) {
  const Expression& call = *statement.expressions[0];
  const Value callee = evaluate(*call.children[0]);
  Arguments arguments = evaluate_arguments(call.arguments);
  arguments.named.emplace_back(
      "caller", std::shared_ptr<Object>(std::make_shared<Macro>(*this, statement.macro, scope_)));
  runtime_.line = statement.line;
  if (defined(callee).object() == nullptr) throw Problem("'{}' object is not callable", callee.type_name());
  write(text_of(runtime_, callee.object()->call(runtime_, arguments)));
}

}  // namespace collie::jinja
