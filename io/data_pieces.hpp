// A data file in pieces that end where lines do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "io/data_stream.hpp"

namespace collie {

// Far above any real record. Tokenising one takes some ten times its size in memory, and a file whose line
// never ends is a mistake.
constexpr uint64_t longest_line = uint64_t{256} << 20;
// Of a file that is one document.
constexpr uint64_t longest_text = uint64_t{2} << 30;

struct DataPiece {
  std::string text;         // whole lines, each with its end, but perhaps the file's last one
  int64_t first_line = 1;   // number of the first of them
  uint64_t first_byte = 0;  // of the text in the (unpacked) file
  // Not 0: the piece stands for one line of so many bytes, more than longest_line, of which nothing is kept.
  uint64_t overlong = 0;
};

// Cuts a file behind the first line end at or behind each `piece_bytes`, or not at all. So a piece is a whole
// line at least, and memory holds about one piece.
class DataPieces {
 public:
  enum class Cut { lines, never };
  DataPieces(const std::string& path, Cut cut, size_t piece_bytes = size_t{1} << 18);

  // False at the end. Throws as DataStream does, and UserError for a file of more than longest_text bytes
  // that may not be cut.
  bool next(DataPiece& piece);

  uint64_t file_bytes() const { return stream_.file_bytes(); }
  uint64_t bytes_read() const { return stream_.bytes_read(); }

 private:
  size_t read_more(std::string& text);
  void skip_line(DataPiece& piece);

  DataStream stream_;
  Cut cut_;
  size_t piece_bytes_;
  std::string rest_;  // read, and not given yet
  int64_t line_ = 1;
  uint64_t byte_ = 0;
};

}  // namespace collie
