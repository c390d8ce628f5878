// Which option of a classification a generated text means.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace collie {

// Without punctuation, in lower case (io/unicode.hpp), with one space between words and none around them.
// `text` is UTF-8; bytes that are not count as U+FFFD.
std::string normalised_answer(std::string_view text);

// The index of the option whose normalised_answer() the text's begins with; of several, the longest; -1 if
// there is none. `options` are normalised, and none is empty.
int64_t option_of_answer(std::string_view text, const std::vector<std::string>& options);

}  // namespace collie
