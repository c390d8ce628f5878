#include "io/tokenizers/pre_tokenizers/splitting.hpp"
#include "io/unicode.hpp"

namespace collie {

namespace {

// A pre-tokenizer that looks at one character at a time.
class ByCharacter : public PreTokenizer {
 public:
  using Matches = std::function<bool(char32_t)>;
  ByCharacter(Matches matches, MatchBecomes becomes) : matches_(std::move(matches)), becomes_(becomes) {}

  void split(TextPieces& text) const override {
    cut_pieces(text, becomes_, [&](std::string_view piece, std::vector<PatternPart>& parts) {
      find_characters(piece, matches_, parts);
    });
  }

 private:
  Matches matches_;
  MatchBecomes becomes_;
};

std::unique_ptr<PreTokenizer> make_white_space_split(const JsonPlace&) {
  return std::make_unique<ByCharacter>(is_white_space, MatchBecomes::removed);
}

std::unique_ptr<PreTokenizer> make_punctuation(const JsonPlace& description) {
  return std::make_unique<ByCharacter>(is_punctuation, read_behavior(description, "Isolated"));
}

std::unique_ptr<PreTokenizer> make_digits(const JsonPlace& description) {
  return std::make_unique<ByCharacter>(is_numeric, description.flag("individual_digits", false)
                                                       ? MatchBecomes::isolated
                                                       : MatchBecomes::contiguous);
}

std::unique_ptr<PreTokenizer> make_delimiter_split(const JsonPlace& description) {
  const std::string text = read_character(description["delimiter"]);
  size_t position = 0;
  const char32_t delimiter = next_code_point(text, position);
  return std::make_unique<ByCharacter>([=](char32_t character) { return character == delimiter; },
                                       MatchBecomes::removed);
}

// Words, and runs of what is neither word nor white space: \w+|[^\w\s]+
class Whitespace : public PreTokenizer {
 public:
  explicit Whitespace(const JsonPlace&) {}

  void split(TextPieces& text) const override {
    std::vector<TextRange> words;
    for (const auto& piece : text.pieces) {
      const std::string_view all = text.text.text();
      int before = space;
      for (size_t begin = piece.begin, end = begin; begin < piece.end; begin = end) {
        const int kind = kind_of(next_code_point(all, end));
        if (kind != space && kind == before)
          words.back().end = end;
        else if (kind != space)
          words.push_back({begin, end});
        before = kind;
      }
    }
    text.pieces = std::move(words);
  }

 private:
  enum { space, word, other };
  static int kind_of(char32_t character) {
    return is_word_character(character) ? word : is_white_space(character) ? space : other;
  }
};

class BertPreTokenizer : public PreTokenizer {
 public:
  explicit BertPreTokenizer(const JsonPlace&) {}
  void split(TextPieces& text) const override {
    words_.split(text);
    punctuation_.split(text);
  }

 private:
  ByCharacter words_{is_white_space, MatchBecomes::removed};
  ByCharacter punctuation_{is_punctuation, MatchBecomes::isolated};
};

class Split : public PreTokenizer {
 public:
  explicit Split(const JsonPlace& description)
      : pattern_(read_pattern(description)),
        becomes_(read_behavior(description, "")),
        invert_(description.flag("invert", false)) {}

  void split(TextPieces& text) const override {
    cut_pieces(text, becomes_, [&](std::string_view piece, std::vector<PatternPart>& parts) {
      pattern_->find(piece, parts);
      if (invert_)
        for (auto& part : parts) part.matches = !part.matches;
    });
  }

 private:
  std::unique_ptr<TextPattern> pattern_;
  MatchBecomes becomes_;
  bool invert_;
};

class PreTokenizerSequence : public PreTokenizer {
 public:
  explicit PreTokenizerSequence(const JsonPlace& description) {
    const JsonPlace list = description["pretokenizers"];
    for (size_t i = 0; i < list.size(); ++i) parts_.push_back(make_pre_tokenizer(list[i]));
  }

  void split(TextPieces& text) const override {
    for (const auto& part : parts_) {
      text.write_out_characters();
      part->split(text);
    }
  }

  bool needs_origins() const override {
    for (const auto& part : parts_)
      if (part->needs_origins()) return true;
    return false;
  }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> parts_;
};

}  // namespace

std::unique_ptr<PreTokenizer> make_pre_tokenizer(const JsonPlace& description) {
  static const ComponentTable<PreTokenizer> known = {
      {"BertPreTokenizer", make_part<PreTokenizer, BertPreTokenizer>},
      {"ByteLevel", make_byte_level},
      {"CharDelimiterSplit", make_delimiter_split},
      {"Digits", make_digits},
      {"Metaspace", make_metaspace},
      {"Punctuation", make_punctuation},
      {"Sequence", make_part<PreTokenizer, PreTokenizerSequence>},
      {"Split", make_part<PreTokenizer, Split>},
      {"Whitespace", make_part<PreTokenizer, Whitespace>},
      {"WhitespaceSplit", make_white_space_split}};
  return make_component<PreTokenizer>(description, "pre_tokenizer", known);
}

}  // namespace collie
