// The text of tokens that follow others.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/tokenizer.hpp"

namespace collie {

// decode(before + after) without decode(before): decoding `after` alone would lose a space in front. If the
// whole does not begin with what comes before, the text of all.
std::string continuation(const Tokenizer& tokenizer, const std::vector<int32_t>& before,
                         const std::vector<int32_t>& after);

}  // namespace collie
