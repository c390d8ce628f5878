// Unicode properties that tokenizers ask for, by the tables of utf8proc (Unicode 15.0 in Debian 12).
#pragma once

#include <string_view>

namespace collie {

bool is_white_space(char32_t code_point);      // property White_Space, the regular expression \s
bool is_word_character(char32_t code_point);   // the regular expression \w (UTS 18, annex C)
bool is_numeric(char32_t code_point);          // general categories Nd, Nl, No
bool is_punctuation(char32_t code_point);      // general categories P*, and ASCII's symbols ("$+<=>^`|~")
bool is_mark(char32_t code_point);             // general categories Mn, Mc, Me
bool is_nonspacing_mark(char32_t code_point);  // general category Mn
bool is_other(char32_t code_point);  // general categories C*: control, format, private, surrogate, unassigned

// The simple lower case of a code point. U+0130 is the only one whose full lower case has two; callers that
// want it ask for it.
char32_t to_lower(char32_t code_point);

// Where the extended grapheme cluster (Unicode standard annex 29) that begins at `begin` of valid UTF-8 ends.
size_t grapheme_end(std::string_view text, size_t begin);

// Whether ASCII is all there is.
bool is_ascii(std::string_view text);

}  // namespace collie
