#include "io/data_pieces.hpp"

#include <algorithm>
#include <utility>

#include "base/error.hpp"

namespace collie {

DataPieces::DataPieces(const std::string& path, Cut cut, size_t piece_bytes)
    : stream_(path), cut_(cut), piece_bytes_(piece_bytes) {}

size_t DataPieces::read_more(std::string& text) {
  constexpr size_t least = size_t{1} << 16;
  const size_t before = text.size(), room = std::max(piece_bytes_, least);
  text.resize(before + room);
  const size_t count = stream_.read({text.data() + before, room});
  text.resize(before + count);
  return count;
}

// Reads on to the end of the line that `piece` has the beginning of.
void DataPieces::skip_line(DataPiece& piece) {
  piece.overlong = piece.text.size();
  piece.text = std::string();
  while (read_more(rest_) > 0) {
    const size_t end = rest_.find('\n');
    piece.overlong += std::min(end, rest_.size());
    if (end != std::string::npos) {
      rest_.erase(0, end + 1);
      byte_ += piece.overlong + 1;
      return;
    }
    rest_.clear();
  }
  byte_ += piece.overlong;
}

bool DataPieces::next(DataPiece& piece) {
  piece = {std::exchange(rest_, {}), line_, byte_, 0};
  std::string& text = piece.text;
  size_t searched = 0, end = std::string::npos;
  const bool cuts = cut_ == Cut::lines;
  while (true) {
    if (cuts && text.size() >= piece_bytes_) {
      end = text.find('\n', std::max(searched, piece_bytes_ - 1));
      searched = text.size();
    }
    if (end != std::string::npos) break;
    if (cuts && text.size() > longest_line) {
      // Lines that end before are given first.
      const size_t last = text.rfind('\n');
      if (last != std::string::npos) {
        end = last;
        break;
      }
      ++line_;
      skip_line(piece);
      return true;
    }
    if (!cuts && text.size() > longest_text)
      throw UserError(
          "{}: a file of format text is one document, and has more than {} bytes; a smaller one, or format "
          "jsonl, is wanted",
          stream_.path(), longest_text);
    if (read_more(text) == 0) break;
  }
  if (end != std::string::npos) {
    rest_ = text.substr(end + 1);
    text.resize(end + 1);
  }
  line_ += std::count(text.begin(), text.end(), '\n');
  byte_ += text.size();
  return !text.empty();
}

}  // namespace collie
