// n-grams: how often each sequence of n items occurs in a text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace collie {

struct NgramCounts {
  std::unordered_map<std::string, int64_t> counts;  // by the n-gram's items, joined
  int64_t total = 0;

  // How many of these are in `other`, each at most as often as it occurs there.
  int64_t matches_in(const NgramCounts& other) const;
  // Each n-gram as often as it occurs in the one of the two that has it more often. `total` has no meaning
  // then.
  void raise_to(const NgramCounts& other);
};

// Items have no spaces in them, or are single characters.
NgramCounts count_ngrams(const std::vector<std::string_view>& items, size_t order);

// The characters (code points) of valid UTF-8.
std::vector<std::string_view> characters_of(std::string_view text);

}  // namespace collie
