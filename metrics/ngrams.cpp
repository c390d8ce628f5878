#include "metrics/ngrams.hpp"

#include <algorithm>

#include "io/utf8.hpp"

namespace collie {

int64_t NgramCounts::matches_in(const NgramCounts& other) const {
  int64_t matches = 0;
  for (const auto& [ngram, count] : counts)
    if (const auto found = other.counts.find(ngram); found != other.counts.end())
      matches += std::min(count, found->second);
  return matches;
}

void NgramCounts::raise_to(const NgramCounts& other) {
  for (const auto& [ngram, count] : other.counts) {
    int64_t& kept = counts[ngram];
    kept = std::max(kept, count);
  }
}

NgramCounts count_ngrams(const std::vector<std::string_view>& items, size_t order) {
  NgramCounts all;
  std::string ngram;
  for (size_t first = 0; first + order <= items.size(); ++first) {
    ngram.clear();
    for (size_t i = first; i < first + order; ++i) {
      ngram += items[i];
      ngram += ' ';
    }
    ++all.counts[ngram];
    ++all.total;
  }
  return all;
}

std::vector<std::string_view> characters_of(std::string_view text) {
  std::vector<std::string_view> characters;
  for (size_t position = 0; position < text.size();) {
    const size_t begin = position;
    next_code_point(text, position);
    characters.push_back(text.substr(begin, position - begin));
  }
  return characters;
}

}  // namespace collie
