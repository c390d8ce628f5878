// Byte-pair encoding: Sennrich et al., "Neural machine translation of rare words with subword units", ACL
// 2016, as the `tokenizers` library's model "BPE" applies it.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "io/tokenizers/models/token_model.hpp"

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

class BpeModel : public TokenModel {
 public:
  explicit BpeModel(const JsonPlace& model);

  std::unique_ptr<Workspace> make_workspace() const override;

  // Only the ranks of merges decide. O(n log n).
  void encode(std::string_view word, Workspace* workspace, std::vector<WordToken>& tokens) const override;

 private:
  struct Scratch;
  using Symbols = std::span<const WordToken>;

  void read_merges(const JsonPlace& merges);
  void find_characters();
  void find_joints();

  int32_t symbol_of(char32_t character, std::string_view spelled, bool first, bool last) const;
  void append_symbols(std::string_view word, std::vector<WordToken>& symbols) const;
  void merge(Symbols symbols, Scratch& scratch) const;
  void merge_or_recall(Symbols symbols, uint64_t hash, Scratch& scratch,
                       std::vector<WordToken>& tokens) const;

  std::array<int32_t, 128> ascii_{};                  // id of a character, -1 if it has none
  std::unordered_map<char32_t, int32_t> characters_;  // the other characters
  std::array<int32_t, 256> bytes_{};                  // id of "<0xNN>", -1 if it has none
  MergeTable merges_;
  MergeTable joints_;  // the pairs of neighbouring symbols across which something can merge at all
  std::string continuing_prefix_, end_suffix_;  // of symbols that do not begin, or that end, a word
  int32_t unknown_ = -1;
  bool fuse_unknown_ = false, byte_fallback_ = false, ignore_merges_ = false;
};

}  // namespace collie
