#include "io/tokenizers/aligned_text.hpp"

#include "base/error.hpp"
#include "io/utf8.hpp"

namespace collie {

size_t AlignedText::origin(size_t position) const {
  if (!moved_) return begin_ + position;
  COLLIE_ASSERT(aligned_, "a text without origins is asked for one");
  return position < origins_.size() ? origins_[position] : end_;
}

AlignedText AlignedText::part(TextRange range) const {
  AlignedText result(text().substr(range.begin, range.size()), 0, aligned_);
  result.moved_ = moved_;
  if (!moved_ || aligned_) {
    result.begin_ = origin(range.begin);
    result.end_ = origin(range.end);
  }
  if (moved_ && aligned_)
    result.origins_.assign(origins_.begin() + static_cast<std::ptrdiff_t>(range.begin),
                           origins_.begin() + static_cast<std::ptrdiff_t>(range.end));
  return result;
}

TextRewriter::TextRewriter(const AlignedText& old) : old_(old) {
  next_.begin_ = old.begin_;
  next_.end_ = old.end_;
  next_.aligned_ = old.aligned_;
  next_.moved_ = true;
  next_.text_.reserve(old.text_.size() + old.text_.size() / 8);
}

void TextRewriter::copy(TextRange range) {
  next_.text_ += old_.text().substr(range.begin, range.size());
  if (next_.aligned_)
    for (size_t i = range.begin; i < range.end; ++i) next_.origins_.push_back(old_.origin(i));
}

void TextRewriter::write(std::string_view bytes, size_t from) {
  next_.text_ += bytes;
  if (next_.aligned_) next_.origins_.insert(next_.origins_.end(), bytes.size(), old_.origin(from));
}

void TextRewriter::write(char32_t code_point, size_t from) {
  std::string bytes;
  append_utf8(bytes, code_point);
  write(bytes, from);
}

}  // namespace collie
