#include "io/jinja/parser.hpp"

#include <algorithm>
#include <array>

#include "io/jinja/expression_parser.hpp"
#include "io/jinja/problem.hpp"

namespace collie::jinja {

namespace {

class Parser {
 public:
  explicit Parser(std::string_view source) : tokens_(tokenize(source)), expressions_(tokens_) {}

  Body run() {
    Body body = statements({});
    return body;
  }

 private:
  using Ends = std::vector<std::string_view>;
  using StatementPtr = std::unique_ptr<Statement>;

  StatementPtr make(StatementKind kind, int line) const {
    auto made = std::make_unique<Statement>();
    made->kind = kind;
    made->line = line;
    return made;
  }

  // The statements up to a block whose tag is one of `ends`; its name is the current token then.
  Body statements(const Ends& ends) {
    const ExpressionParser::Nesting nesting(expressions_);
    Body body;
    for (;;) {
      const Token& token = tokens_.current();
      if (token.type == TokenType::end) {
        if (!ends.empty())
          tokens_.refuse(fmt::format("the template ends where '{{% {} %}}' would be right", ends.back()));
        return body;
      }
      if (token.type == TokenType::data) {
        body.push_back(make(StatementKind::text, token.line));
        body.back()->text = tokens_.take().text;
      } else if (token.type == TokenType::variable_begin) {
        body.push_back(print_tag());
      } else {
        tokens_.expect(TokenType::block_begin, "a tag");
        if (std::any_of(ends.begin(), ends.end(), [&](auto end) { return tokens_.current().is_name(end); }))
          return body;
        body.push_back(statement(ends));
        tokens_.expect(TokenType::block_end, "'%}'");
      }
    }
  }

  // The body of a block up to its end, whose name is taken.
  Body block_body(const Ends& ends, std::string* end = nullptr) {
    tokens_.skip_symbol(":");
    tokens_.expect(TokenType::block_end, "'%}'");
    Body body = statements(ends);
    const std::string name = tokens_.take().text;
    if (end != nullptr) *end = name;
    return body;
  }

  StatementPtr print_tag() {
    auto made = make(StatementKind::print, tokens_.take().line);
    made->expressions.push_back(expressions_.tuple());
    tokens_.expect(TokenType::variable_end, "'}}'");
    return made;
  }

  StatementPtr statement(const Ends& ends) {
    const Token tag = tokens_.current();
    tokens_.take_name("the name of a tag");
    if (tag.text == "if") return condition(tag.line);
    if (tag.text == "for") return loop(tag.line);
    if (tag.text == "set") return assignment(tag.line);
    if (tag.text == "macro") return macro(tag.line);
    if (tag.text == "call") return call(tag.line);
    if (tag.text == "filter") return filter(tag.line);
    if (tag.text == "with") return with(tag.line);
    if (tag.text == "print") return print(tag.line);
    if (tag.text == "generation") return generation(tag.line);
    if (tag.text == "break" || tag.text == "continue") return leave(tag);
    refuse_tag(tag, ends);
  }

  [[noreturn]] void refuse_tag(const Token& tag, const Ends& ends) const {
    constexpr std::array<std::string_view, 6> missing = {"block",  "extends", "include",
                                                         "import", "from",    "autoescape"};
    if (std::find(missing.begin(), missing.end(), tag.text) != missing.end())
      throw SyntaxError{tag.line,
                        fmt::format("the tag '{}' is not supported; a chat template stands alone", tag.text)};
    throw SyntaxError{tag.line, ends.empty() ? fmt::format("there is no tag '{}'", tag.text)
                                             : fmt::format("found the tag '{}' where '{}' would be right",
                                                           tag.text, fmt::join(ends, "' or '"))};
  }

  StatementPtr condition(int line) {
    auto made = make(StatementKind::condition, line);
    for (std::string end = "elif"; end == "elif";) {
      Branch branch;
      branch.test = expressions_.tuple(false);
      branch.body = block_body({"elif", "else", "endif"}, &end);
      made->branches.push_back(std::move(branch));
      if (end == "else") made->otherwise = block_body({"endif"});
    }
    return made;
  }

  StatementPtr loop(int line) {
    auto made = make(StatementKind::loop, line);
    made->targets.push_back(expressions_.target(false, "in"));
    if (made->targets[0].name == "loop")
      throw SyntaxError{line, "a loop assigns to 'loop', which is the loop itself"};
    tokens_.expect_name("in");
    made->expressions.push_back(expressions_.tuple(false, "recursive"));
    made->expressions.push_back(tokens_.skip_name("if") ? expressions_.expression() : nullptr);
    made->is_recursive = tokens_.skip_name("recursive");
    std::string end;
    ++loops_;
    made->body = block_body({"else", "endfor"}, &end);
    --loops_;
    if (end == "else") made->otherwise = block_body({"endfor"});
    return made;
  }

  StatementPtr assignment(int line) {
    auto made = make(StatementKind::assignment, line);
    made->targets.push_back(expressions_.target(true));
    if (tokens_.skip_symbol("=")) {
      made->expressions.push_back(expressions_.tuple());
      return made;
    }
    made->kind = StatementKind::capture;
    made->expressions.push_back(tokens_.skip_symbol("|") ? expressions_.filter_chain() : nullptr);
    made->body = block_body({"endset"});
    return made;
  }

  void parameters(MacroDefinition& macro) {
    tokens_.expect_symbol("(");
    while (!tokens_.current().is_symbol(")")) {
      if (!macro.parameters.empty()) tokens_.expect_symbol(",");
      const std::string name = tokens_.take_name("the name of a parameter");
      if (std::find(macro.parameters.begin(), macro.parameters.end(), name) != macro.parameters.end())
        tokens_.refuse(fmt::format("the parameter '{}' is there twice", name));
      macro.parameters.push_back(name);
      if (tokens_.skip_symbol("="))
        macro.defaults.push_back(expressions_.expression());
      else if (!macro.defaults.empty())
        tokens_.refuse(fmt::format("the parameter '{}' has no default, but one before it has", name));
    }
    tokens_.take();
  }

  // The body of a macro or call: it sees no loop around it.
  void macro_body(MacroDefinition& macro, std::string_view end) {
    expressions_.macros.push_back(&macro);
    const int loops = std::exchange(loops_, 0);
    macro.body = block_body({end});
    loops_ = loops;
    expressions_.macros.pop_back();
    const auto declared = [&](std::string_view name) {
      return std::find(macro.parameters.begin(), macro.parameters.end(), name) != macro.parameters.end();
    };
    if (declared("caller")) macro.uses_caller = false;
    if (declared("varargs")) macro.uses_varargs = false;
    if (declared("kwargs")) macro.uses_kwargs = false;
  }

  StatementPtr macro(int line) {
    auto made = make(StatementKind::macro, line);
    made->macro = std::make_shared<MacroDefinition>();
    made->macro->name = tokens_.take_name("the name of a macro");
    parameters(*made->macro);
    macro_body(*made->macro, "endmacro");
    return made;
  }

  StatementPtr call(int line) {
    auto made = make(StatementKind::call, line);
    made->macro = std::make_shared<MacroDefinition>();
    made->macro->name = "caller";
    if (tokens_.current().is_symbol("(")) parameters(*made->macro);
    made->expressions.push_back(expressions_.expression());
    if (made->expressions[0]->kind != ExpressionKind::call)
      throw SyntaxError{line, "the tag 'call' has no call, such as {% call macro() %}"};
    macro_body(*made->macro, "endcall");
    return made;
  }

  StatementPtr filter(int line) {
    auto made = make(StatementKind::filter, line);
    made->expressions.push_back(expressions_.filter_chain());
    made->body = block_body({"endfilter"});
    return made;
  }

  StatementPtr with(int line) {
    auto made = make(StatementKind::with, line);
    while (tokens_.current().type != TokenType::block_end) {
      if (!made->targets.empty()) tokens_.expect_symbol(",");
      made->targets.push_back(expressions_.target(false));
      tokens_.expect_symbol("=");
      made->expressions.push_back(expressions_.expression());
    }
    made->body = block_body({"endwith"});
    return made;
  }

  StatementPtr print(int line) {
    auto made = make(StatementKind::print, line);
    while (tokens_.current().type != TokenType::block_end) {
      if (!made->expressions.empty()) tokens_.expect_symbol(",");
      made->expressions.push_back(expressions_.expression());
    }
    return made;
  }

  // transformers makes a call of it, so the loop around it cannot be left.
  StatementPtr generation(int line) {
    auto made = make(StatementKind::generation, line);
    const int loops = std::exchange(loops_, 0);
    made->body = block_body({"endgeneration"});
    loops_ = loops;
    return made;
  }

  StatementPtr leave(const Token& tag) {
    if (loops_ == 0) throw SyntaxError{tag.line, fmt::format("'{}' is outside of a loop", tag.text)};
    return make(tag.text == "break" ? StatementKind::leave_loop : StatementKind::next_item, tag.line);
  }

  TokenStream tokens_;
  ExpressionParser expressions_;
  int loops_ = 0;  // around the statement
};

}  // namespace

Body parse_template(std::string_view source) {
  return Parser(source).run();
}

}  // namespace collie::jinja
