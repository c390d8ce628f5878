#include "io/tokenizers/text_pattern.hpp"

#include "base/quote.hpp"

namespace collie {

namespace {

class Literal : public TextPattern {
 public:
  explicit Literal(std::string text) : text_(std::move(text)) {}

  void find(std::string_view text, std::vector<PatternPart>& parts) const override {
    size_t from = 0;
    for (size_t hit; (hit = text.find(text_, from)) != std::string_view::npos; from = hit + text_.size()) {
      if (hit > from) parts.push_back({{from, hit}, false});
      parts.push_back({{hit, hit + text_.size()}, true});
    }
    if (from < text.size()) parts.push_back({{from, text.size()}, false});
  }

 private:
  std::string text_;
};

}  // namespace

std::unique_ptr<TextPattern> literal_pattern(std::string text) {
  return std::make_unique<Literal>(std::move(text));
}

std::unique_ptr<TextPattern> read_pattern(const JsonPlace& description) {
  const JsonPlace pattern = description["pattern"];
  if (const auto expression = pattern.find("Regex"))
    return regular_expression(expression->text(), *expression);
  const JsonPlace literal = pattern["String"];
  if (literal.text().empty()) literal.refuse("it must not be empty");
  return literal_pattern(literal.text());
}

}  // namespace collie
