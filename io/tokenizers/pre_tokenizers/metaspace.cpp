#include "io/tokenizers/pre_tokenizers/splitting.hpp"

namespace collie {

namespace {

// SentencePiece's visible space. It replaces spaces, puts one in front of the text, and starts a piece at
// each.
class Metaspace : public PreTokenizer {
 public:
  explicit Metaspace(const JsonPlace& description)
      : mark_(read_character(description["replacement"])),
        at_marks_(literal_pattern(mark_)),
        split_(description.flag("split", true)) {
    const bool prefix = description.flag("add_prefix_space", true);  // the key of older files
    scheme_ = description.text("prepend_scheme", prefix ? "always" : "never");
    if (scheme_ != "always" && scheme_ != "first" && scheme_ != "never")
      description["prepend_scheme"].refuse(
          fmt::format("it must be always, first or never, not '{}'", shortened(scheme_)));
  }

  bool needs_origins() const override { return scheme_ == "first"; }

  void split(TextPieces& text) const override {
    TextRewriter rewriter(text.text);
    for (auto& piece : text.pieces) {
      const size_t begin = rewriter.size();
      if (prepends(text, piece)) rewriter.write(mark_, piece.begin);
      replace_spaces(text, piece, rewriter);
      piece = {begin, rewriter.size()};
    }
    text.text = rewriter.finish();
    if (!split_) return;
    cut_pieces(
        text, MatchBecomes::merged_with_next,
        [&](std::string_view piece, std::vector<PatternPart>& parts) { at_marks_->find(piece, parts); });
  }

 private:
  bool prepends(const TextPieces& text, const TextRange& piece) const {
    const std::string_view words = text.text_of(piece);
    if (scheme_ == "never" || words.front() == ' ' || words.compare(0, mark_.size(), mark_) == 0)
      return false;
    return scheme_ == "always" || text.text.origin(piece.begin) == 0;
  }

  void replace_spaces(const TextPieces& text, const TextRange& piece, TextRewriter& rewriter) const {
    const std::string_view all = text.text.text().substr(0, piece.end);
    size_t from = piece.begin;
    for (size_t space; (space = all.find(' ', from)) != std::string_view::npos; from = space + 1) {
      rewriter.copy({from, space});
      rewriter.write(mark_, space);
    }
    rewriter.copy({from, piece.end});
  }

  std::string mark_, scheme_;
  std::unique_ptr<TextPattern> at_marks_;
  bool split_;
};

}  // namespace

std::unique_ptr<PreTokenizer> make_metaspace(const JsonPlace& description) {
  return make_part<PreTokenizer, Metaspace>(description);
}

}  // namespace collie
