// Models that look words up: WordLevel, and WordPiece (Wu et al., "Google's Neural Machine Translation
// System", 2016; https://github.com/google-research/bert/blob/master/tokenization.py).
#include "base/error.hpp"
#include "io/tokenizers/models/models.hpp"
#include "io/utf8.hpp"

namespace collie {

namespace {

[[noreturn]] void refuse_word(std::string_view word) {
  throw UserError("the tokenizer has no token for '{}' and no unk_token, so this text cannot be encoded",
                  shortened(std::string(word)));
}

class WordLevel : public TokenModel {
 public:
  explicit WordLevel(const JsonPlace& model) {
    vocabulary_ = Vocabulary(model["vocab"]);
    // The library takes "<unk>" for granted, and asks for it when a word is unknown.
    if (const auto unknown = model.find("unk_token")) unknown_ = vocabulary_.find(unknown->text());
  }

  void encode(std::string_view word, Workspace*, std::vector<WordToken>& tokens) const override {
    const auto id = vocabulary_.find(std::string(word));
    if (!id && !unknown_) refuse_word(word);
    tokens.push_back({id ? *id : *unknown_, 0});
  }

 private:
  std::optional<int32_t> unknown_;
};

class WordPiece : public TokenModel {
 public:
  explicit WordPiece(const JsonPlace& model)
      : prefix_(model.text("continuing_subword_prefix", "##")),
        longest_(model.integer("max_input_chars_per_word", 100)) {
    vocabulary_ = Vocabulary(model["vocab"]);
    if (const auto unknown = model.find("unk_token")) unknown_ = vocabulary_.find(unknown->text());
  }

  // The longest token first, from the left. A word of which a part is in no token is unknown as a whole.
  void encode(std::string_view word, Workspace*, std::vector<WordToken>& tokens) const override {
    const size_t before = tokens.size();
    bool known = !too_long(word);
    for (size_t begin = 0; known && begin < word.size();) {
      const auto [id, end] = longest_at(word, begin);
      known = id >= 0;
      if (known) tokens.push_back({id, static_cast<uint32_t>(begin)});
      begin = end;
    }
    if (known) return;
    tokens.resize(before);
    if (!unknown_) refuse_word(word);
    tokens.push_back({*unknown_, 0});
  }

 private:
  bool too_long(std::string_view word) const {
    int64_t characters = 0;
    for (size_t position = 0; position < word.size(); ++characters) next_code_point(word, position);
    return characters > longest_;
  }

  std::pair<int32_t, size_t> longest_at(std::string_view word, size_t begin) const {
    for (size_t end = word.size(); end > begin; end = previous_code_point(word, end)) {
      std::string token(begin > 0 ? prefix_ : "");
      token += word.substr(begin, end - begin);
      if (const auto id = vocabulary_.find(token)) return {*id, end};
    }
    return {-1, word.size()};
  }

  std::string prefix_;
  int64_t longest_;  // characters of a word that is not unknown
  std::optional<int32_t> unknown_;
};

}  // namespace

std::unique_ptr<TokenModel> make_word_level(const JsonPlace& model) {
  return std::make_unique<WordLevel>(model);
}

std::unique_ptr<TokenModel> make_word_piece(const JsonPlace& model) {
  return std::make_unique<WordPiece>(model);
}

}  // namespace collie
