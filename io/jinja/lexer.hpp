// Cuts a template into tokens, as Jinja2 does with trim_blocks and lstrip_blocks (the settings of
// transformers): a block's tag takes the line break behind it and the white space before it on its line.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace collie::jinja {

enum class TokenType {
  data,
  variable_begin,
  variable_end,
  block_begin,
  block_end,
  name,
  string,
  integer,
  real,
  symbol,
  end
};

struct Token {
  TokenType type = TokenType::end;
  std::string text;  // the data, name, symbol, or the string without quotes and escapes
  int line = 1;
  int64_t integer = 0;
  double real = 0;

  bool is(TokenType its_type, std::string_view its_text) const {
    return type == its_type && text == its_text;
  }
  bool is_symbol(std::string_view symbol) const { return is(TokenType::symbol, symbol); }
  bool is_name(std::string_view name) const { return is(TokenType::name, name); }
};

// Where a template is wrong. The template adds its file.
struct SyntaxError {
  int line;
  std::string message;
};

// The tokens of a template, the last of type `end`. `source` is valid UTF-8. Throws SyntaxError.
std::vector<Token> tokenize(std::string_view source);

}  // namespace collie::jinja
