#include <utf8proc.h>

#include <cstdlib>

#include "base/error.hpp"
#include "io/tokenizers/components.hpp"
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

std::string read_literal_pattern(const JsonPlace& description) {
  const JsonPlace pattern = description["pattern"];
  if (pattern.find("Regex"))
    pattern.refuse("a Regex pattern is not supported yet; supported: {\"String\": \"...\"}");
  const JsonPlace literal = pattern["String"];
  if (literal.text().empty()) literal.refuse("it must not be empty");
  return literal.text();
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
  std::string normalize(std::string text) const override { return text.empty() ? text : prefix_ + text; }

 private:
  std::string prefix_;
};

class ReplaceText : public Normalizer {
 public:
  explicit ReplaceText(const JsonPlace& description)
      : pattern_(read_literal_pattern(description)), content_(description["content"].text()) {}
  std::string normalize(std::string text) const override { return replace_all(text, pattern_, content_); }

 private:
  std::string pattern_, content_;
};

class StripSpace : public Normalizer {
 public:
  explicit StripSpace(const JsonPlace& description)
      : left_(description["strip_left"].flag()), right_(description["strip_right"].flag()) {}

  std::string normalize(std::string text) const override {
    size_t begin = 0, end = text.size();
    for (size_t next = begin; left_ && begin < end; begin = next)
      if (!is_white_space(next_code_point(text, next))) break;
    for (size_t last; right_ && end > begin; end = last) {
      last = previous_code_point(text, end);
      size_t position = last;
      if (!is_white_space(next_code_point(text, position))) break;
    }
    return text.substr(begin, end - begin);
  }

 private:
  bool left_, right_;
};

// NFC, NFD, NFKC, NFKD: Unicode standard annex 15.
class NormalForm : public Normalizer {
 public:
  explicit NormalForm(int options) : options_(static_cast<utf8proc_option_t>(UTF8PROC_STABLE | options)) {}

  std::string normalize(std::string text) const override {
    utf8proc_uint8_t* result = nullptr;
    const auto length = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                     static_cast<utf8proc_ssize_t>(text.size()), &result, options_);
    COLLIE_ASSERT(length >= 0, "utf8proc: {}", utf8proc_errmsg(length));
    text.assign(reinterpret_cast<const char*>(result), static_cast<size_t>(length));
    std::free(result);
    return text;
  }

 private:
  utf8proc_option_t options_;
};

class NormalizerSequence : public Normalizer {
 public:
  explicit NormalizerSequence(const JsonPlace& description) {
    const JsonPlace list = description["normalizers"];
    for (size_t i = 0; i < list.size(); ++i) parts_.push_back(make_normalizer(list[i]));
  }
  std::string normalize(std::string text) const override {
    for (const auto& part : parts_) text = part->normalize(std::move(text));
    return text;
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> parts_;
};

template <int options>
std::unique_ptr<Normalizer> make_form(const JsonPlace&) {
  return std::make_unique<NormalForm>(options);
}

}  // namespace

std::unique_ptr<Normalizer> make_normalizer(const JsonPlace& description) {
  return make_component<Normalizer>(description, "normalizer",
                                    {{"NFC", make_form<UTF8PROC_COMPOSE>},
                                     {"NFD", make_form<UTF8PROC_DECOMPOSE>},
                                     {"NFKC", make_form<UTF8PROC_COMPOSE | UTF8PROC_COMPAT>},
                                     {"NFKD", make_form<UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT>},
                                     {"Prepend", make_part<Normalizer, Prepend>},
                                     {"Replace", make_part<Normalizer, ReplaceText>},
                                     {"Sequence", make_part<Normalizer, NormalizerSequence>},
                                     {"Strip", make_part<Normalizer, StripSpace>}});
}

}  // namespace collie
