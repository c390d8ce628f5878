#include "io/tokenizers/components.hpp"
#include "io/utf8.hpp"

namespace collie {

const std::vector<char32_t>& byte_characters() {
  static const std::vector<char32_t> characters = [] {
    std::vector<char32_t> all(256);
    char32_t next = 256;  // bytes that do not print get the code points from here on
    for (char32_t byte = 0; byte < 256; ++byte) {
      const bool prints = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
      all[byte] = prints ? byte : next++;
    }
    return all;
  }();
  return characters;
}

namespace {

// SentencePiece's visible space. It replaces spaces, puts one in front of the text, and starts a piece at
// each.
class Metaspace : public PreTokenizer {
 public:
  explicit Metaspace(const JsonPlace& description)
      : mark_(read_character(description["replacement"])), split_(description.flag("split", true)) {
    const bool prefix = description.flag("add_prefix_space", true);  // the key of older files
    scheme_ = description.text("prepend_scheme", prefix ? "always" : "never");
    if (scheme_ != "always" && scheme_ != "first" && scheme_ != "never")
      description["prepend_scheme"].refuse(
          fmt::format("it must be always, first or never, not '{}'", shortened(scheme_)));
  }

  std::vector<TextPiece> split(std::vector<TextPiece> pieces) const override {
    std::vector<TextPiece> result;
    for (const auto& piece : pieces) {
      std::string text = replace_all(piece.text, " ", mark_);
      if (prepends(piece) && !text.empty() && text.compare(0, mark_.size(), mark_) != 0) text = mark_ + text;
      if (split_)
        split_at_marks(text, piece.at_start, result);
      else if (!text.empty())
        result.push_back({std::move(text), piece.at_start});
    }
    return result;
  }

 private:
  bool prepends(const TextPiece& piece) const {
    return scheme_ == "always" || (scheme_ == "first" && piece.at_start);
  }

  void split_at_marks(const std::string& text, bool at_start, std::vector<TextPiece>& result) const {
    for (size_t begin = 0; begin < text.size();) {
      size_t end = text.find(mark_, begin + 1);
      if (end == std::string::npos) end = text.size();
      result.push_back({text.substr(begin, end - begin), at_start && begin == 0});
      begin = end;
    }
  }

  std::string mark_, scheme_;
  bool split_;
};

// GPT-2's pre-tokenizer: every byte becomes a printable character. Its regular expression is a separate
// splitter, which does not exist yet.
class ByteLevel : public PreTokenizer {
 public:
  explicit ByteLevel(const JsonPlace& description) : prefix_(description.flag("add_prefix_space", true)) {
    if (description.flag("use_regex", true))
      description["type"].refuse(
          "the pre_tokenizer 'ByteLevel' with use_regex is not supported yet; supported: use_regex "
          "false");
  }

  std::vector<TextPiece> split(std::vector<TextPiece> pieces) const override {
    std::vector<TextPiece> result;
    for (const auto& piece : pieces) {
      if (piece.text.empty()) continue;
      TextPiece mapped{"", piece.at_start};
      mapped.text.reserve(2 * piece.text.size());
      if (prefix_ && piece.text.front() != ' ') append_utf8(mapped.text, byte_characters()[' ']);
      for (const char byte : piece.text)
        append_utf8(mapped.text, byte_characters()[static_cast<unsigned char>(byte)]);
      result.push_back(std::move(mapped));
    }
    return result;
  }

 private:
  bool prefix_;
};

class PreTokenizerSequence : public PreTokenizer {
 public:
  explicit PreTokenizerSequence(const JsonPlace& description) {
    const JsonPlace list = description["pretokenizers"];
    for (size_t i = 0; i < list.size(); ++i) parts_.push_back(make_pre_tokenizer(list[i]));
  }
  std::vector<TextPiece> split(std::vector<TextPiece> pieces) const override {
    for (const auto& part : parts_) pieces = part->split(std::move(pieces));
    return pieces;
  }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> parts_;
};

}  // namespace

std::unique_ptr<PreTokenizer> make_pre_tokenizer(const JsonPlace& description) {
  return make_component<PreTokenizer>(description, "pre_tokenizer",
                                      {{"ByteLevel", make_part<PreTokenizer, ByteLevel>},
                                       {"Metaspace", make_part<PreTokenizer, Metaspace>},
                                       {"Sequence", make_part<PreTokenizer, PreTokenizerSequence>}});
}

}  // namespace collie
