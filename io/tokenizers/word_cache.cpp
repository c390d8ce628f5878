#include "io/tokenizers/word_cache.hpp"

#include <cstring>

namespace collie {

uint64_t WordCache::hash_of(std::string_view word) {
  uint64_t hash = word.size();
  while (!word.empty()) {
    uint64_t part = 0;
    const size_t bytes = std::min(word.size(), sizeof(part));
    std::memcpy(&part, word.data(), bytes);
    hash = (hash ^ part) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 29;
    word.remove_prefix(bytes);
  }
  return hash;
}

size_t WordCache::place_of(std::string_view word, uint64_t hash) const {
  size_t at = hash & (places_.size() - 1);
  for (;; at = (at + 1) & (places_.size() - 1)) {
    const Place& place = places_[at];
    if (place.bytes == 0) return at;
    if (place.hash == hash && place.bytes == word.size() &&
        std::memcmp(texts_.data() + place.text, word.data(), word.size()) == 0)
      return at;
  }
}

bool WordCache::find(std::string_view word, std::vector<WordToken>& tokens) const {
  if (places_.empty() || word.size() > longest_word) return false;
  const Place& place = places_[place_of(word, hash_of(word))];
  if (place.bytes == 0) return false;
  const auto first = tokens_.begin() + place.token;
  tokens.insert(tokens.end(), first, first + place.count);
  return true;
}

void WordCache::forget() {
  places_.assign(2 * most_words, {});
  texts_.clear();
  tokens_.clear();
  count_ = 0;
}

void WordCache::add(std::string_view word, std::span<const WordToken> tokens) {
  if (word.empty() || word.size() > longest_word) return;
  if (places_.empty() || count_ == most_words) forget();
  const uint64_t hash = hash_of(word);
  places_[place_of(word, hash)] = {hash, static_cast<uint32_t>(texts_.size()),
                                   static_cast<uint32_t>(tokens_.size()), static_cast<uint32_t>(word.size()),
                                   static_cast<uint32_t>(tokens.size())};
  texts_ += word;
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  ++count_;
}

}  // namespace collie
