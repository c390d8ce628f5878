// The numbers that 8-bit codes of optimizer states stand for (dynamic quantisation: Dettmers, arXiv
// 1511.04561; of states: Dettmers et al., arXiv 2110.02861). A block of states is divided by its largest
// absolute value, and each quotient becomes the code of the nearest number of a map.
#pragma once

#include <array>
#include <cstdint>

namespace collie {

inline constexpr int64_t quantisation_block = 256;  // elements that share one absolute maximum
inline constexpr int map_size = 256;

struct DynamicMap {
  std::array<float, map_size> values{};  // ascending, by code
  // Half-way between a code's value and the next; the last one is infinite. The code of a number is how many
  // of them lie below it, so a number half-way between two values gets the lower one.
  std::array<float, map_size> midpoints{};
};

// Seven decades up to 1, of which each higher one has twice as many numbers as the one below; 0, and 1. With
// signs all numbers but 1 are there negative, too, and a decade has half as many.
const DynamicMap& dynamic_map(bool has_signs);

}  // namespace collie
