// Byte-pair encoding: Sennrich et al., "Neural machine translation of rare words with subword units", ACL
// 2016, as the `tokenizers` library's model "BPE" applies it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "io/tokenizers/json_place.hpp"

namespace collie {

// A hash table from pairs of token ids to merges. It is built once and then only read.
class MergeTable {
 public:
  struct Merge {
    uint64_t pair = 0;
    uint32_t rank = 0;    // lower merges first
    int32_t merged = -1;  // id of the joined pair; -1 is a free place
  };
  static uint64_t key(int32_t left, int32_t right) {
    return (uint64_t{static_cast<uint32_t>(left)} << 32) | static_cast<uint32_t>(right);
  }

  void reserve(size_t count);
  void insert(int32_t left, int32_t right, uint32_t rank, int32_t merged);  // replaces an earlier one
  const Merge* find(int32_t left, int32_t right) const {
    if (places_.empty()) return nullptr;
    const uint64_t pair = key(left, right);
    for (size_t place = home(pair);; place = (place + 1) & (places_.size() - 1)) {
      if (places_[place].merged < 0) return nullptr;
      if (places_[place].pair == pair) return &places_[place];
    }
  }
  const std::vector<Merge>& places() const { return places_; }  // those with merged >= 0 hold something

 private:
  size_t home(uint64_t pair) const {
    return static_cast<size_t>((pair * 0x9e3779b97f4a7c15u) >> 32) & (places_.size() - 1);
  }
  void grow(size_t size);

  std::vector<Merge> places_;  // a power of two, at most half full
  size_t used_ = 0;
};

class BpeModel {
 public:
  // Takes the `model` object of a tokenizer.json. Throws UserError naming the file and the key.
  explicit BpeModel(const JsonPlace& model);

  // Appends the ids of `text` (valid UTF-8), taken as a whole: only the ranks of merges decide. O(n log n).
  void encode(std::string_view text, std::vector<int32_t>& ids) const;

  std::optional<int32_t> find(const std::string& token) const;
  const std::string* token(int32_t id) const;                            // null if no token has that id
  int64_t size() const { return static_cast<int64_t>(tokens_.size()); }  // one more than the largest id

 private:
  struct Word;  // the workspace of one encode()

  void read_vocabulary(const JsonPlace& vocabulary);
  void read_merges(const JsonPlace& merges);
  void read_unknown(const JsonPlace& model);
  void find_characters();
  void find_joints();

  void append_symbols(std::string_view text, std::vector<int32_t>& symbols) const;
  void merge(std::span<const int32_t> symbols, Word& word, std::vector<int32_t>& ids) const;
  void merge_or_recall(std::span<const int32_t> symbols, uint64_t hash, Word& word,
                       std::vector<int32_t>& ids) const;

  std::unordered_map<std::string, int32_t> ids_;
  std::vector<const std::string*> tokens_;            // by id; null for ids without a token
  std::array<int32_t, 128> ascii_{};                  // id of a character, -1 if it has none
  std::unordered_map<char32_t, int32_t> characters_;  // the other characters
  std::array<int32_t, 256> bytes_{};                  // id of "<0xNN>", -1 if it has none
  MergeTable merges_;
  MergeTable joints_;  // the pairs of neighbouring symbols across which something can merge at all
  int32_t unknown_ = -1;
  bool fuse_unknown_ = false, byte_fallback_ = false, ignore_merges_ = false;
};

}  // namespace collie
