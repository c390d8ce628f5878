#include <algorithm>
#include <map>
#include <queue>
#include <unordered_map>
#include <unordered_set>

#include "base/error.hpp"
#include "io/tokenizers/components.hpp"
#include "io/tokenizers/text_pattern.hpp"
#include "io/tokenizers/training/train_tokenizer.hpp"
#include "io/utf8.hpp"

namespace collie {

namespace {

using Pair = std::pair<int32_t, int32_t>;

struct PairHash {
  size_t operator()(const Pair& pair) const {
    return (size_t{static_cast<uint32_t>(pair.first)} << 32 | static_cast<uint32_t>(pair.second)) *
           0x9e3779b97f4a7c15u;
  }
};

struct Word {
  std::vector<int32_t> symbols;
  int64_t count = 0;  // how often it is in the text
};

// How often each different word is in the text. Ordered, so that everything after is deterministic.
std::map<std::string, int64_t> count_words(const std::string& pattern, const NextText& next) {
  const nlohmann::json place = pattern;
  const auto words = regular_expression(pattern, JsonPlace(place, "the pattern of words"));
  std::unordered_map<std::string, int64_t> counts;
  std::vector<PatternPart> parts;
  for (std::string_view text; next(text);) {
    parts.clear();
    words->find(text, parts);
    for (const auto& part : parts)
      if (part.range.size() > 0) ++counts[std::string(text.substr(part.range.begin, part.range.size()))];
  }
  return {counts.begin(), counts.end()};
}

// Sennrich et al., 2016: the most frequent pair is merged first; of equally frequent ones that with the
// smaller ids.
class Learner {
 public:
  Learner(const TokenizerTraining& training, const std::map<std::string, int64_t>& counts)
      : training_(training) {
    for (const auto& token : training.special_tokens) add(token);
    std::vector<char32_t> characters = byte_characters();
    std::sort(characters.begin(), characters.end());
    for (const char32_t character : characters) {
      std::string token;
      append_utf8(token, character);
      add(token);
    }
    for (size_t byte = 0; byte < 256; ++byte) {
      std::string token;
      append_utf8(token, byte_characters()[byte]);
      byte_ids_.push_back(ids_.at(token));
    }
    for (const auto& [text, count] : counts) {
      Word word{{}, count};
      for (const char byte : text) word.symbols.push_back(byte_ids_[static_cast<unsigned char>(byte)]);
      words_.push_back(std::move(word));
    }
  }

  LearntMerges run() {
    count_pairs();
    while (static_cast<int64_t>(learnt_.vocabulary.size()) < training_.vocab_size && !queue_.empty()) {
      const Candidate top = queue_.top();
      queue_.pop();
      const int64_t count = counts_[top.pair];
      if (count != top.count) {
        if (count > 0) queue_.push({count, top.pair});
        continue;
      }
      if (count < std::max<int64_t>(1, training_.min_frequency)) break;
      merge(top.pair);
    }
    return std::move(learnt_);
  }

 private:
  struct Candidate {
    int64_t count;
    Pair pair;
    bool operator<(const Candidate& other) const {
      return count != other.count ? count < other.count : pair > other.pair;
    }
  };

  int32_t add(const std::string& token) {
    const auto [entry, added] = ids_.emplace(token, static_cast<int32_t>(learnt_.vocabulary.size()));
    if (added) learnt_.vocabulary.push_back(token);
    return entry->second;
  }

  void count_pairs() {
    for (size_t i = 0; i < words_.size(); ++i)
      for (size_t k = 0; k + 1 < words_[i].symbols.size(); ++k) {
        const Pair pair{words_[i].symbols[k], words_[i].symbols[k + 1]};
        counts_[pair] += words_[i].count;
        places_[pair].insert(i);
      }
    for (const auto& [pair, count] : counts_) queue_.push({count, pair});
  }

  void merge(const Pair& pair) {
    const std::string left = learnt_.vocabulary[static_cast<size_t>(pair.first)],
                      right = learnt_.vocabulary[static_cast<size_t>(pair.second)];
    const int32_t merged = add(left + right);
    learnt_.merges.emplace_back(left, right);
    std::unordered_set<Pair, PairHash> grown;
    const auto places = std::move(places_[pair]);
    places_.erase(pair);
    for (const size_t place : places) merge_in(place, pair, merged, grown);
    for (const Pair& more : grown) queue_.push({counts_[more], more});
  }

  void change(size_t word, const Pair& pair, int sign, std::unordered_set<Pair, PairHash>& grown) {
    counts_[pair] += sign * words_[word].count;
    if (sign < 0) return;
    places_[pair].insert(word);
    grown.insert(pair);
  }

  void merge_in(size_t index, const Pair& pair, int32_t merged, std::unordered_set<Pair, PairHash>& grown) {
    auto& symbols = words_[index].symbols;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      if (symbols[i] != pair.first || symbols[i + 1] != pair.second) continue;
      if (i > 0) {
        change(index, {symbols[i - 1], pair.first}, -1, grown);
        change(index, {symbols[i - 1], merged}, 1, grown);
      }
      if (i + 2 < symbols.size()) {
        change(index, {pair.second, symbols[i + 2]}, -1, grown);
        change(index, {merged, symbols[i + 2]}, 1, grown);
      }
      counts_[pair] -= words_[index].count;
      symbols[i] = merged;
      symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    }
  }

  const TokenizerTraining& training_;
  LearntMerges learnt_;
  std::unordered_map<std::string, int32_t> ids_;
  std::vector<int32_t> byte_ids_;  // [256]
  std::vector<Word> words_;
  std::unordered_map<Pair, int64_t, PairHash> counts_;
  std::unordered_map<Pair, std::unordered_set<size_t>, PairHash> places_;  // the words that have the pair
  std::priority_queue<Candidate> queue_;
};

}  // namespace

LearntMerges learn_merges(const TokenizerTraining& training, const std::string& pattern,
                          const NextText& next) {
  return Learner(training, count_words(pattern, next)).run();
}

}  // namespace collie
