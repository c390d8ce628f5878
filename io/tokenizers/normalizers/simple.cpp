#include "io/tokenizers/normalizers/normalizers.hpp"
#include "io/tokenizers/text_pattern.hpp"
#include "io/unicode.hpp"
#include "io/utf8.hpp"

namespace collie {

std::string replace_all(std::string_view text, std::string_view pattern, std::string_view content) {
  std::string result;
  result.reserve(text.size());
  size_t from = 0;
  for (size_t hit; (hit = text.find(pattern, from)) != std::string_view::npos; from = hit + pattern.size()) {
    result += text.substr(from, hit - from);
    result += content;
  }
  return result += text.substr(from);
}

std::string read_character(const JsonPlace& setting) {
  const std::string text = setting.text();
  size_t position = 0;
  if (!text.empty()) next_code_point(text, position);
  if (text.empty() || position != text.size())
    setting.refuse(fmt::format("it must be one character, not '{}'", shortened(text)));
  return text;
}

namespace {

class Prepend : public Normalizer {
 public:
  explicit Prepend(const JsonPlace& description) : prefix_(description["prepend"].text()) {}

  void normalize(AlignedText& text) const override {
    if (text.text().empty()) return;
    TextRewriter rewriter(text);
    rewriter.write(prefix_, 0);
    rewriter.copy({0, text.text().size()});
    text = rewriter.finish();
  }

 private:
  std::string prefix_;
};

class Replace : public Normalizer {
 public:
  explicit Replace(const JsonPlace& description)
      : pattern_(read_pattern(description)), content_(description["content"].text()) {}

  void normalize(AlignedText& text) const override {
    std::vector<PatternPart> parts;
    pattern_->find(text.text(), parts);
    if (parts.empty() || (parts.size() == 1 && !parts.front().matches)) return;
    TextRewriter rewriter(text);
    for (const auto& part : parts)
      if (part.matches)
        rewriter.write(content_, part.range.begin);
      else
        rewriter.copy(part.range);
    text = rewriter.finish();
  }

 private:
  std::unique_ptr<TextPattern> pattern_;
  std::string content_;
};

class Strip : public Normalizer {
 public:
  explicit Strip(const JsonPlace& description)
      : left_(description["strip_left"].flag()), right_(description["strip_right"].flag()) {}

  void normalize(AlignedText& aligned) const override {
    const std::string_view text = aligned.text();
    size_t begin = 0, end = text.size();
    for (size_t next = begin; left_ && begin < end; begin = next)
      if (!is_white_space(next_code_point(text, next))) break;
    for (size_t last; right_ && end > begin; end = last) {
      last = previous_code_point(text, end);
      size_t position = last;
      if (!is_white_space(next_code_point(text, position))) break;
    }
    if (begin > 0 || end < text.size()) aligned = aligned.part({begin, end});
  }

 private:
  bool left_, right_;
};

// Every byte becomes its printable character.
class ByteLevelNormalizer : public Normalizer {
 public:
  explicit ByteLevelNormalizer(const JsonPlace&) {}
  void normalize(AlignedText& text) const override {
    TextPieces pieces{std::move(text), {}, true};
    pieces.pieces.push_back({0, pieces.text.text().size()});
    pieces.write_out_characters();
    text = std::move(pieces.text);
  }
};

class NormalizerSequence : public Normalizer {
 public:
  explicit NormalizerSequence(const JsonPlace& description) {
    const JsonPlace list = description["normalizers"];
    for (size_t i = 0; i < list.size(); ++i) parts_.push_back(make_normalizer(list[i]));
  }
  void normalize(AlignedText& text) const override {
    for (const auto& part : parts_) part->normalize(text);
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> parts_;
};

}  // namespace

std::unique_ptr<Normalizer> make_normalizer(const JsonPlace& description) {
  static const ComponentTable<Normalizer> known = [] {
    ComponentTable<Normalizer> table = unicode_normalizers();
    table["ByteLevel"] = make_part<Normalizer, ByteLevelNormalizer>;
    table["Precompiled"] = make_precompiled;
    table["Prepend"] = make_part<Normalizer, Prepend>;
    table["Replace"] = make_part<Normalizer, Replace>;
    table["Sequence"] = make_part<Normalizer, NormalizerSequence>;
    table["Strip"] = make_part<Normalizer, Strip>;
    return table;
  }();
  return make_component<Normalizer>(description, "normalizer", known);
}

}  // namespace collie
