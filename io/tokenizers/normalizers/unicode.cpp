#include "io/unicode.hpp"

#include <utf8proc.h>

#include <cstdlib>

#include "base/error.hpp"
#include "io/tokenizers/normalizers/normalizers.hpp"
#include "io/utf8.hpp"

namespace collie {

namespace {

std::string map_with_utf8proc(std::string_view text, int options) {
  utf8proc_uint8_t* result = nullptr;
  const auto length = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                   static_cast<utf8proc_ssize_t>(text.size()), &result,
                                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | options));
  COLLIE_ASSERT(length >= 0, "utf8proc: {}", utf8proc_errmsg(length));
  std::string mapped(reinterpret_cast<const char*>(result), static_cast<size_t>(length));
  std::free(result);
  return mapped;
}

// Whether the cluster [begin, end) is one code point that no normal form changes.
bool is_inert(std::string_view text, size_t begin, size_t end) {
  const char32_t character = next_code_point(text, begin);
  if (begin != end) return false;
  if (character >= 0xAC00 && character <= 0xD7A3) return false;  // Hangul syllables are taken apart by rule
  return utf8proc_get_property(static_cast<utf8proc_int32_t>(character))->decomp_seqindex == UINT16_MAX;
}

// NFC, NFD, NFKC, NFKD: Unicode standard annex 15. Neither composition nor reordering crosses the boundaries
// of grapheme clusters, so each cluster is mapped on its own, and all bytes of a changed one come from its
// start.
class NormalForm : public Normalizer {
 public:
  explicit NormalForm(int options) : options_(options) {}

  void normalize(AlignedText& aligned) const override {
    const std::string_view text = aligned.text();
    if (is_ascii(text)) return;
    TextRewriter rewriter(aligned);
    size_t copied = 0;
    for (size_t begin = 0, end; begin < text.size(); begin = end) {
      const bool ascii = static_cast<unsigned char>(text[begin]) < 0x80;
      if (ascii && (begin + 1 == text.size() || static_cast<unsigned char>(text[begin + 1]) < 0x80)) {
        end = begin + 1;  // a mark may follow the last character of a run only
        continue;
      }
      end = grapheme_end(text, begin);
      if (is_inert(text, begin, end)) continue;
      const std::string_view cluster = text.substr(begin, end - begin);
      const std::string mapped = map_with_utf8proc(cluster, options_);
      if (mapped == cluster) continue;
      rewriter.copy({copied, begin});
      rewriter.write(mapped, begin);
      copied = end;
    }
    if (copied == 0) return;
    rewriter.copy({copied, text.size()});
    aligned = rewriter.finish();
  }

 private:
  int options_;
};

template <int options>
std::unique_ptr<Normalizer> make_form(const JsonPlace&) {
  return std::make_unique<NormalForm>(options);
}

// Rewrites a text character by character. `rewrite(character, begin, end, rewriter)` writes what a character
// becomes.
template <class Rewrite>
void rewrite_characters(AlignedText& aligned, const Rewrite& rewrite) {
  const std::string_view text = aligned.text();
  TextRewriter rewriter(aligned);
  for (size_t begin = 0, end = 0; begin < text.size(); begin = end) {
    const char32_t character = next_code_point(text, end);
    rewrite(character, begin, end, rewriter);
  }
  aligned = rewriter.finish();
}

// The full lower case of each character on its own: a final sigma is no special case.
void lower_case(AlignedText& text) {
  rewrite_characters(text, [](char32_t character, size_t begin, size_t, TextRewriter& rewriter) {
    if (character == 0x130) return rewriter.write("i\xCC\x87", begin);
    rewriter.write(to_lower(character), begin);
  });
}

template <class Drop>
void drop_characters(AlignedText& text, const Drop& drop) {
  rewrite_characters(text, [&](char32_t character, size_t begin, size_t end, TextRewriter& rewriter) {
    if (!drop(character)) rewriter.copy({begin, end});
  });
}

class Lowercase : public Normalizer {
 public:
  explicit Lowercase(const JsonPlace&) {}
  void normalize(AlignedText& text) const override { lower_case(text); }
};

class StripAccents : public Normalizer {
 public:
  explicit StripAccents(const JsonPlace&) {}
  void normalize(AlignedText& text) const override {
    if (!is_ascii(text.text())) drop_characters(text, is_mark);
  }
};

// SentencePiece's rules for machine translation: some control characters go, others become spaces.
class Nmt : public Normalizer {
 public:
  explicit Nmt(const JsonPlace&) {}
  void normalize(AlignedText& text) const override {
    rewrite_characters(text, [](char32_t c, size_t begin, size_t end, TextRewriter& rewriter) {
      if ((c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F)
        return;
      const bool space = c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 ||
                         (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
                         c == 0xFEFF || c == 0xFFFD;
      if (space)
        rewriter.write(" ", begin);
      else
        rewriter.copy({begin, end});
    });
  }
};

// https://github.com/google-research/bert/blob/master/tokenization.py, BasicTokenizer
class BertNormalizer : public Normalizer {
 public:
  explicit BertNormalizer(const JsonPlace& description)
      : clean_(description.flag("clean_text", true)),
        space_chinese_(description.flag("handle_chinese_chars", true)),
        lower_case_(description.flag("lowercase", true)),
        strip_accents_(description.flag("strip_accents", lower_case_)) {}

  void normalize(AlignedText& text) const override {
    if (clean_) clean(text);
    if (space_chinese_) space_chinese(text);
    if (strip_accents_) {
      decompose_.normalize(text);
      drop_characters(text, is_nonspacing_mark);
    }
    if (lower_case_) lower_case(text);
  }

 private:
  static void clean(AlignedText& text) {
    rewrite_characters(text, [](char32_t c, size_t begin, size_t end, TextRewriter& rewriter) {
      const bool breaks = c == '\t' || c == '\n' || c == '\r';
      if (c == 0 || c == 0xFFFD || (!breaks && is_other(c))) return;
      if (is_white_space(c))
        rewriter.write(" ", begin);
      else
        rewriter.copy({begin, end});
    });
  }

  static bool is_chinese(char32_t c) {
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
           (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) ||
           (c >= 0x2B920 && c <= 0x2CEAF) || (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
  }

  static void space_chinese(AlignedText& text) {
    rewrite_characters(text, [](char32_t c, size_t begin, size_t end, TextRewriter& rewriter) {
      if (is_chinese(c)) rewriter.write(" ", begin);
      rewriter.copy({begin, end});
      if (is_chinese(c)) rewriter.write(" ", begin);
    });
  }

  bool clean_, space_chinese_, lower_case_, strip_accents_;
  NormalForm decompose_{UTF8PROC_DECOMPOSE};
};

}  // namespace

ComponentTable<Normalizer> unicode_normalizers() {
  return {{"BertNormalizer", make_part<Normalizer, BertNormalizer>},
          {"Lowercase", make_part<Normalizer, Lowercase>},
          {"NFC", make_form<UTF8PROC_COMPOSE>},
          {"NFD", make_form<UTF8PROC_DECOMPOSE>},
          {"NFKC", make_form<UTF8PROC_COMPOSE | UTF8PROC_COMPAT>},
          {"NFKD", make_form<UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT>},
          {"Nmt", make_part<Normalizer, Nmt>},
          {"StripAccents", make_part<Normalizer, StripAccents>}};
}

}  // namespace collie
