#include "io/tokenizers/pre_tokenizers/splitting.hpp"

namespace collie {

namespace {

// https://github.com/openai/gpt-2/blob/master/src/encoder.py
constexpr const char* gpt2_pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// GPT-2's pre-tokenizer: words by a regular expression, and every byte becomes a printable character.
class ByteLevel : public PreTokenizer {
 public:
  explicit ByteLevel(const JsonPlace& description) : prefix_(description.flag("add_prefix_space", true)) {
    if (description.flag("use_regex", true)) words_ = regular_expression(gpt2_pattern, description["type"]);
  }

  void split(TextPieces& text) const override {
    if (prefix_) add_spaces(text);
    if (words_)
      cut_pieces(text, MatchBecomes::isolated, [&](std::string_view piece, std::vector<PatternPart>& parts) {
        words_->find(piece, parts);
      });
    text.bytes_are_characters = true;
  }

 private:
  static void add_spaces(TextPieces& text) {
    TextRewriter rewriter(text.text);
    for (auto& piece : text.pieces) {
      const size_t begin = rewriter.size();
      if (text.text_of(piece).front() != ' ') rewriter.write(" ", piece.begin);
      rewriter.copy(piece);
      piece = {begin, rewriter.size()};
    }
    text.text = rewriter.finish();
  }

  bool prefix_;
  std::unique_ptr<TextPattern> words_;
};

}  // namespace

std::unique_ptr<PreTokenizer> make_byte_level(const JsonPlace& description) {
  return make_part<PreTokenizer, ByteLevel>(description);
}

}  // namespace collie
