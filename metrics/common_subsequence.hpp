// Longest common subsequences of two lists of words.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace collie {

// Its length.
size_t common_length(const std::vector<std::string>& first, const std::vector<std::string>& second);

// Marks in `in_first` [first.size()] which items of `first` one of them has: of several the one that is found
// from the end, where an item of `first` is left out before one of `second` if both are as good. Takes a byte
// for each pair of items.
void mark_common(const std::vector<std::string>& first, const std::vector<std::string>& second,
                 std::vector<bool>& in_first);

}  // namespace collie
