// What an accident, or somebody who means harm, makes of a file.
#pragma once

#include <cstdint>
#include <string>

namespace collie::test {

// `text` with one to four changes that `seed` chooses: flipped bits, other bytes, cuts, repetitions, swaps,
// other numbers, words that readers stumble over, and nesting of up to 100,000 levels. The same seed makes
// the same changes.
std::string mutated(const std::string& text, uint64_t seed);

}  // namespace collie::test
