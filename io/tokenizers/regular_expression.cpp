#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/error.hpp"
#include "io/tokenizers/text_pattern.hpp"
#include "io/utf8.hpp"

namespace collie {

namespace {

constexpr size_t longest_pattern = 1 << 16;
constexpr uint32_t most_steps = 10'000'000;  // of one match attempt, without just-in-time compilation
constexpr size_t jit_stack_bytes = size_t{1} << 20;

// What Unicode calls white space, and Oniguruma \s. PCRE2's own \s has U+180E, too.
constexpr const char* white_space_class =
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{"
    "3000}";
// Oniguruma's \w: letters, marks, decimal and letter numbers, connectors, what is Alphabetic besides, and the
// superscripts and fractions of Latin-1, but no others.
constexpr const char* word_class =
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{"
    "1f149}\\x{1f150}-\\x{1f169}"
    "\\x{1f170}-\\x{1f189}";
constexpr const char* digit_class = "\\p{Nd}";

// Translates Oniguruma's Ruby syntax to PCRE2's, as far as they differ.
class Translation {
 public:
  Translation(const std::string& pattern, const JsonPlace& place) : pattern_(pattern), place_(place) {}

  std::string run() {
    while (at_ < pattern_.size()) step();
    return std::move(result_);
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    place_.refuse(fmt::format("{} at byte {} of the regular expression is not supported", what, at_));
  }

  void copy(size_t bytes) {
    result_.append(pattern_, at_, bytes);
    at_ += bytes;
  }

  bool follows(std::string_view text) const { return pattern_.compare(at_, text.size(), text) == 0; }

  void step() {
    const char next = pattern_[at_];
    if (next == '\\') return escape();
    if (in_class_) return step_in_class(next);
    if (next == '[') return open_class();
    if (follows("(?")) return group();
    if (follows("(*")) refuse("'(*'");
    if (next == '{') return repeat();
    copy(1);
  }

  void open_class() {
    in_class_ = true;
    copy(1);
    if (follows("^")) copy(1);
    if (follows("]")) {  // literal in first place, for both
      result_ += "\\]";
      ++at_;
    }
  }

  void step_in_class(char next) {
    if (next == ']') in_class_ = false;
    if (follows("[:")) {
      const size_t end = pattern_.find(":]", at_);
      if (end == std::string::npos) refuse("'[:' without ':]'");
      return copy(end + 2 - at_);
    }
    if (next == '[') refuse("a class within a class");
    if (follows("&&")) refuse("an intersection of classes ('&&')");
    copy(1);
  }

  // "(?m" is Ruby's "dot matches all"; "(?<name>", "(?:", look-arounds, atomic groups and "i" mean the same.
  void group() {
    size_t flags = at_ + 2;
    while (flags < pattern_.size() &&
           (pattern_[flags] == '-' || (pattern_[flags] >= 'a' && pattern_[flags] <= 'z')))
      if (pattern_[flags++] == 'm') refuse("the flag m");
    copy(2);
  }

  // "{2,3}+" repeats the repetition for Oniguruma and is possessive for PCRE2.
  void repeat() {
    const size_t end = pattern_.find('}', at_);
    if (end == std::string::npos) {
      result_ += "\\{";
      ++at_;
      return;
    }
    copy(end + 1 - at_);
    if (follows("+")) refuse("'+' after a counted repetition");
  }

  void escape() {
    if (at_ + 1 == pattern_.size()) refuse("a backslash at the end");
    const char kind = pattern_[at_ + 1];
    const char* set = kind == 's' || kind == 'S'   ? white_space_class
                      : kind == 'w' || kind == 'W' ? word_class
                      : kind == 'd' || kind == 'D' ? digit_class
                                                   : nullptr;
    if (set) {
      const bool inverted = kind < 'a';
      if (in_class_ && inverted) refuse(fmt::format("'\\{}' within a class", kind));
      result_ += in_class_ ? set : fmt::format("[{}{}]", inverted ? "^" : "", set);
      at_ += 2;
      return;
    }
    if (!in_class_ && (kind == 'b' || kind == 'B')) {  // by this \w, not by PCRE2's
      const char *same = kind == 'b' ? "!" : "=", *other = kind == 'b' ? "=" : "!";
      result_ += fmt::format("(?:(?<=[{0}])(?{1}[{0}])|(?<![{0}])(?{2}[{0}]))", word_class, same, other);
      at_ += 2;
      return;
    }
    if (kind == 'h' || kind == 'H' || kind == 'R' || kind == 'X' || kind == 'K' || kind == 'G' || kind == 'Q')
      refuse(fmt::format("'\\{}'", kind));
    if (kind == 'u') return hexadecimal();
    size_t bytes = 2;
    if ((kind == 'p' || kind == 'P' || kind == 'x') && pattern_.compare(at_ + 2, 1, "{") == 0) {
      const size_t end = pattern_.find('}', at_);
      if (end == std::string::npos) refuse(fmt::format("'\\{}{{' without '}}'", kind));
      bytes = end + 1 - at_;
    } else if (static_cast<unsigned char>(kind) >= 0x80) {
      size_t end = at_ + 1;
      next_code_point(pattern_, end);
      bytes = end - at_;
    }
    copy(bytes);
  }

  void hexadecimal() {  // \uHHHH
    if (at_ + 6 > pattern_.size()) refuse("'\\u' without four digits");
    result_ += fmt::format("\\x{{{}}}", pattern_.substr(at_ + 2, 4));
    at_ += 6;
  }

  const std::string& pattern_;
  const JsonPlace& place_;
  std::string result_;
  size_t at_ = 0;
  bool in_class_ = false;
};

template <class T, void (*free)(T*)>
struct Free {
  void operator()(T* object) const { free(object); }
};
using Code = std::unique_ptr<pcre2_code, Free<pcre2_code, pcre2_code_free>>;
using Match = std::unique_ptr<pcre2_match_data, Free<pcre2_match_data, pcre2_match_data_free>>;
using Context = std::unique_ptr<pcre2_match_context, Free<pcre2_match_context, pcre2_match_context_free>>;
using Stack = std::unique_ptr<pcre2_jit_stack, Free<pcre2_jit_stack, pcre2_jit_stack_free>>;

std::string words_of(int error) {
  PCRE2_UCHAR text[200];
  pcre2_get_error_message(error, text, sizeof(text));
  return reinterpret_cast<const char*>(text);
}

class Expression : public TextPattern {
 public:
  Expression(const std::string& pattern, const JsonPlace& place) : shown_(shortened(pattern)) {
    if (pattern.size() > longest_pattern)
      place.refuse(fmt::format("the regular expression has {} bytes; at most {} are supported",
                               pattern.size(), longest_pattern));
    const std::string translated = Translation(pattern, place).run();
    int error = 0;
    PCRE2_SIZE offset = 0;
    code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                              PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error,
                              &offset, nullptr));
    if (!code_)
      place.refuse(fmt::format("the regular expression '{}' is wrong: {}", shown_, words_of(error)));
    pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);  // without it matching is slower, not different
  }

  void find(std::string_view text, std::vector<PatternPart>& parts) const override {
    const Match match(pcre2_match_data_create(1, nullptr));
    const Context context(pcre2_match_context_create(nullptr));
    const Stack stack(pcre2_jit_stack_create(32 * 1024, jit_stack_bytes, nullptr));
    pcre2_set_match_limit(context.get(), most_steps);
    pcre2_jit_stack_assign(context.get(), nullptr, stack.get());
    size_t done = 0;  // parts cover the text up to here
    for (size_t from = 0; from <= text.size();) {
      const int found = pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                                    PCRE2_NO_UTF_CHECK, match.get(), context.get());
      if (found == PCRE2_ERROR_NOMATCH) break;
      if (found < 0)
        throw UserError("the tokenizer's regular expression '{}' gives up at byte {} of a text: {}", shown_,
                        from, words_of(found));
      const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(match.get());
      const TextRange range{ends[0], ends[1]};
      from = range.end;
      if (range.size() == 0) {
        if (from < text.size())
          next_code_point(text, from);
        else
          ++from;
        if (range.begin == done && done > 0) continue;  // right behind the last match
      }
      if (done < range.begin) parts.push_back({{done, range.begin}, false});
      parts.push_back({range, true});
      done = range.end;
    }
    if (done < text.size()) parts.push_back({{done, text.size()}, false});
  }

 private:
  std::string shown_;
  Code code_;
};

}  // namespace

std::unique_ptr<TextPattern> regular_expression(const std::string& pattern, const JsonPlace& place) {
  return std::make_unique<Expression>(pattern, place);
}

}  // namespace collie
