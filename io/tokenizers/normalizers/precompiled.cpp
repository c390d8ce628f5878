#include <algorithm>
#include <cstring>
#include <optional>

#include "io/base64.hpp"
#include "io/tokenizers/double_array.hpp"
#include "io/tokenizers/normalizers/normalizers.hpp"
#include "io/unicode.hpp"
#include "io/utf8.hpp"

namespace collie {

namespace {

class Precompiled : public Normalizer {
 public:
  explicit Precompiled(const JsonPlace& description) {
    const JsonPlace place = description["precompiled_charsmap"];
    const auto bytes = decode_base64(place.text());
    if (!bytes) place.refuse("it must be base64");
    uint32_t trie_bytes = 0;
    if (bytes->size() >= sizeof(trie_bytes)) std::memcpy(&trie_bytes, bytes->data(), sizeof(trie_bytes));
    if (bytes->size() < sizeof(trie_bytes) || trie_bytes % sizeof(uint32_t) != 0 ||
        trie_bytes > bytes->size() - sizeof(trie_bytes) || trie_bytes == 0)
      place.refuse(
          fmt::format("its {} bytes are not a trie's size, a trie and the texts behind it", bytes->size()));
    trie_.resize(trie_bytes / sizeof(uint32_t));
    std::memcpy(trie_.data(), bytes->data() + sizeof(trie_bytes), trie_bytes);
    texts_ = bytes->substr(sizeof(trie_bytes) + trie_bytes);
    if (const auto offset = first_invalid_utf8(texts_))
      place.refuse(fmt::format("its texts are not valid UTF-8 at byte {}", *offset));
    for (size_t i = 0; i < trie_.size(); ++i) check_leaf(i, place);
  }

  // As the library does it: short grapheme clusters as a whole, else character by character.
  void normalize(AlignedText& aligned) const override {
    const std::string_view text = aligned.text();
    TextRewriter rewriter(aligned);
    for (size_t begin = 0, end; begin < text.size(); begin = end) {
      end = grapheme_end(text, begin);
      constexpr size_t longest_whole = 5;  // bytes
      if (end - begin <= longest_whole && replace({begin, end}, text, rewriter)) continue;
      for (size_t from = begin, to = begin; from < end; from = to) {
        next_code_point(text, to);
        if (!replace({from, to}, text, rewriter)) rewriter.copy({from, to});
      }
    }
    aligned = rewriter.finish();
  }

 private:
  void check_leaf(size_t node, const JsonPlace& place) const {
    const size_t leaf = node ^ trie_[node].offset();
    if (!trie_[node].has_leaf() || leaf >= trie_.size()) return;
    const size_t value = trie_[leaf].value();
    if (value >= texts_.size() || (static_cast<unsigned char>(texts_[value]) & 0xC0u) == 0x80u)
      place.refuse(
          fmt::format("node {} of its trie points to byte {} of the texts, where none begins", node, value));
  }

  bool replace(TextRange range, std::string_view text, TextRewriter& rewriter) const {
    const auto value = shortest_prefix(text.substr(range.begin, range.size()));
    if (!value) return false;
    const size_t end = std::min(texts_.find('\0', *value), texts_.size());
    rewriter.write(std::string_view(texts_).substr(*value, end - *value), range.begin);
    return true;
  }

  // The value of the shortest prefix of `key` that the trie holds.
  std::optional<size_t> shortest_prefix(std::string_view key) const {
    size_t place = trie_[0].offset();
    for (const char byte : key) {
      const auto label = static_cast<unsigned char>(byte);
      if (label == 0) break;
      place ^= label;
      if (place >= trie_.size() || trie_[place].label() != label) return std::nullopt;
      const DoubleArrayUnit unit = trie_[place];
      place ^= unit.offset();
      if (place >= trie_.size()) return std::nullopt;
      if (!unit.has_leaf()) continue;
      return trie_[place].value();
    }
    return std::nullopt;
  }

  std::vector<DoubleArrayUnit> trie_;
  std::string texts_;  // each ends with a zero byte
};

}  // namespace

std::unique_ptr<Normalizer> make_precompiled(const JsonPlace& description) {
  return make_part<Normalizer, Precompiled>(description);
}

}  // namespace collie
