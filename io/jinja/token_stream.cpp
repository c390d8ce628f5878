#include "io/jinja/token_stream.hpp"

#include <fmt/format.h>

#include "base/quote.hpp"

namespace collie::jinja {

bool TokenStream::skip_symbol(std::string_view symbol) {
  if (!current().is_symbol(symbol)) return false;
  take();
  return true;
}

bool TokenStream::skip_name(std::string_view name) {
  if (!current().is_name(name)) return false;
  take();
  return true;
}

void TokenStream::expect_symbol(std::string_view symbol) {
  if (!skip_symbol(symbol)) refuse(fmt::format("found {} where '{}' would be right", description(), symbol));
}

void TokenStream::expect_name(std::string_view name) {
  if (!skip_name(name)) refuse(fmt::format("found {} where '{}' would be right", description(), name));
}

std::string TokenStream::take_name(std::string_view what) {
  if (current().type != TokenType::name)
    refuse(fmt::format("found {} where {} would be right", this->description(), what));
  return take().text;
}

void TokenStream::expect(TokenType type, std::string_view description) {
  if (current().type != type)
    refuse(fmt::format("found {} where {} would be right", this->description(), description));
  take();
}

void TokenStream::refuse(const std::string& message) const {
  throw SyntaxError{current().line, message};
}

std::string TokenStream::description() const {
  switch (current().type) {
    case TokenType::data:
      return "text";
    case TokenType::variable_begin:
      return "'{{'";
    case TokenType::variable_end:
      return "'}}'";
    case TokenType::block_begin:
      return "'{%'";
    case TokenType::block_end:
      return "'%}'";
    case TokenType::integer:
    case TokenType::real:
      return "a number";
    case TokenType::string:
      return fmt::format("the string '{}'", shortened(current().text));
    case TokenType::end:
      return "the end of the template";
    default:
      return fmt::format("'{}'", shortened(current().text));
  }
}

}  // namespace collie::jinja
