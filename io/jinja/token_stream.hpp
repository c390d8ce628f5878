// The tokens that a parser has before it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "io/jinja/lexer.hpp"

namespace collie::jinja {

class TokenStream {
 public:
  explicit TokenStream(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& current() const { return tokens_[at_]; }
  const Token& following() const { return tokens_[at_ + 1 < tokens_.size() ? at_ + 1 : at_]; }
  Token take() { return at_ + 1 < tokens_.size() ? tokens_[at_++] : tokens_[at_]; }

  bool skip_symbol(std::string_view symbol);
  bool skip_name(std::string_view name);
  // Throw SyntaxError naming what is found instead.
  void expect_symbol(std::string_view symbol);
  void expect_name(std::string_view name);
  std::string take_name(std::string_view what);
  void expect(TokenType type, std::string_view description);

  [[noreturn]] void refuse(const std::string& message) const;
  std::string description() const;  // of the current token

 private:
  std::vector<Token> tokens_;
  size_t at_ = 0;
};

}  // namespace collie::jinja
