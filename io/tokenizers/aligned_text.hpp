// A text on its way through a tokenizer, which knows where each of its bytes comes from.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace collie {

// A part of a text, in bytes.
struct TextRange {
  size_t begin = 0, end = 0;
  size_t size() const { return end - begin; }
};

// Normalizers and pre-tokenizers rewrite the text. The origin of a byte is the offset in the original text of
// what it was made from; that of a byte which was added is the origin of the byte before it.
class AlignedText {
 public:
  AlignedText() = default;
  // `begin` is the offset of `text` in the original. If `aligned` is false, no origins are kept once the text
  // is rewritten, and origin() must not be asked.
  AlignedText(std::string_view text, size_t begin, bool aligned)
      : text_(text), begin_(begin), end_(begin + text.size()), aligned_(aligned) {}

  std::string_view text() const { return text_; }
  size_t origin(size_t position) const;  // position <= text().size(); the text's end has an origin, too
  AlignedText part(TextRange range) const;

 private:
  friend class TextRewriter;

  std::string text_;
  std::vector<size_t> origins_;           // [text_.size()]; empty: byte i comes from begin_ + i
  size_t begin_ = 0, end_ = 0;            // in the original
  bool aligned_ = false, moved_ = false;  // moved_: origins_ counts
};

// Writes the next version of a text, from front to back.
class TextRewriter {
 public:
  explicit TextRewriter(const AlignedText& old);

  void copy(TextRange range);  // of the old text
  void write(std::string_view bytes,
             size_t from);  // they are made from what stands at `from` in the old text
  void write(char32_t code_point, size_t from);
  size_t size() const { return next_.text_.size(); }
  AlignedText finish() { return std::move(next_); }

 private:
  const AlignedText& old_;
  AlignedText next_;
};

}  // namespace collie
