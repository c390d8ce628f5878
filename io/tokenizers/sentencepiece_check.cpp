#include "io/tokenizers/sentencepiece_check.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/error.hpp"
#include "io/tokenizers/double_array.hpp"

namespace collie {

namespace {

// The fields of a message of protocol buffers, one after another.
// Format: https://protobuf.dev/programming-guides/encoding
class ProtoReader {
 public:
  ProtoReader(std::string_view message, const std::string& file) : rest_(message), file_(file) {}

  struct Field {
    uint64_t number = 0;
    std::string_view contents;  // of a field that has a length: a text, bytes or a message
  };

  bool next(Field& field) {
    if (rest_.empty()) return false;
    const uint64_t key = varint();
    field = {key >> 3, {}};
    switch (key & 7) {
      case 0:
        varint();
        return true;
      case 1:
        take(8);
        return true;
      case 2:
        field.contents = take(varint());
        return true;
      case 5:
        take(4);
        return true;
      default:
        refuse();
    }
  }

 private:
  [[noreturn]] void refuse() const {
    throw UserError("{}: it is no model of SentencePiece: its fields are damaged", file_);
  }

  uint64_t varint() {
    uint64_t number = 0;
    for (int shift = 0; shift < 70; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1).front());
      if (shift < 64) number |= uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return number;
    }
    refuse();
  }

  std::string_view take(uint64_t bytes) {
    if (bytes > rest_.size()) refuse();
    const std::string_view taken = rest_.substr(0, bytes);
    rest_.remove_prefix(bytes);
    return taken;
  }

  std::string_view rest_;
  const std::string& file_;
};

// A precompiled_charsmap: the trie's size in bytes, the trie, and the texts that its values point into.
class CharacterMap {
 public:
  CharacterMap(std::string_view bytes, const std::string& file) : file_(file) {
    uint32_t trie_bytes = 0;
    if (bytes.size() >= sizeof(trie_bytes)) std::memcpy(&trie_bytes, bytes.data(), sizeof(trie_bytes));
    bytes.remove_prefix(std::min(bytes.size(), sizeof(trie_bytes)));
    if (trie_bytes == 0 || trie_bytes % sizeof(DoubleArrayUnit) != 0 || trie_bytes >= bytes.size())
      refuse("it has no trie with texts behind it");
    trie_.resize(trie_bytes / sizeof(DoubleArrayUnit));
    std::memcpy(trie_.data(), bytes.data(), trie_bytes);
    texts_ = bytes.substr(trie_bytes);
    if (texts_.back() != '\0') refuse("its last text has no end");
  }

  // Goes wherever a text may lead. A node is looked at with every byte that a text may have.
  void check() const {
    std::vector<bool> seen(trie_.size());
    std::vector<size_t> open{0};
    seen[0] = true;
    while (!open.empty()) {
      const size_t node = open.back();
      open.pop_back();
      const size_t children = node ^ trie_[node].offset();
      if ((children | 0xFF) >= trie_.size()) refuse(fmt::format("node {} of its trie leads out of it", node));
      if (trie_[node].has_leaf() && trie_[children].value() >= texts_.size())
        refuse(fmt::format("node {} of its trie points behind its texts", node));
      for (size_t label = 0; label < 256; ++label) {
        const size_t child = children ^ label;
        if (trie_[child].label() != label || seen[child]) continue;
        seen[child] = true;
        open.push_back(child);
      }
    }
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw UserError("{}: the character map of its normalizer is damaged: {}", file_, what);
  }

  const std::string& file_;
  std::vector<DoubleArrayUnit> trie_;
  std::string_view texts_;
};

// Of ModelProto and of NormalizerSpec.
constexpr uint64_t normalizer_field = 3, denormalizer_field = 5, character_map_field = 2;

}  // namespace

void check_sentencepiece_model(std::string_view model, const std::string& file) {
  ProtoReader fields(model, file);
  for (ProtoReader::Field field; fields.next(field);) {
    if (field.number != normalizer_field && field.number != denormalizer_field) continue;
    ProtoReader settings(field.contents, file);
    for (ProtoReader::Field setting; settings.next(setting);)
      if (setting.number == character_map_field && !setting.contents.empty())
        CharacterMap(setting.contents, file).check();
  }
}

}  // namespace collie
