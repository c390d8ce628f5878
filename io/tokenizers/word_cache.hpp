// The tokens of words that occurred before: words come again and again.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/tokenizers/models/token_model.hpp"

namespace collie {

// A bounded hash table. When it is full it forgets everything.
class WordCache {
 public:
  static constexpr size_t longest_word = 64;  // bytes; longer ones are not kept
  static constexpr size_t most_words = size_t{1} << 16;

  // Appends the tokens of `word` and says so, if they are known.
  bool find(std::string_view word, std::vector<WordToken>& tokens) const;
  void add(std::string_view word, std::span<const WordToken> tokens);  // a word that find() did not find

 private:
  struct Place {
    uint64_t hash = 0;
    uint32_t text = 0, token = 0;   // where they begin in texts_ and tokens_
    uint32_t bytes = 0, count = 0;  // bytes 0: a free place
  };
  static uint64_t hash_of(std::string_view word);
  size_t place_of(std::string_view word, uint64_t hash) const;  // where it is, or would be
  void forget();

  std::vector<Place> places_;  // a power of two, at most half full; empty until the first word
  std::string texts_;
  std::vector<WordToken> tokens_;
  size_t count_ = 0;
};

}  // namespace collie
