// A CSV file (RFC 4180, with "\n" at the end of lines) that grows by rows, while others may read it. Its
// first line names the columns, and every row has all of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "io/appended_file.hpp"

namespace collie {

class CsvFile {
 public:
  // A column's name and the text of its field.
  using Row = std::vector<std::pair<std::string, std::string>>;

  // Opens `path` to add rows, and creates it if it is missing; its folder must exist. An existing file must
  // be as rows were added, or as cut_csv() left it. RunError names the file and the reason.
  explicit CsvFile(const std::string& path);

  // Adds a row, which is in the file when this returns. Columns that the row lacks are empty. If the file
  // lacks a column of the row, it gets the column at the end, empty in the earlier rows; the file is then
  // replaced in one atomic step. RunError names the file and the reason ("No space left on device"), and no
  // half row stays behind.
  void append(const Row& row);

  // Puts `row` in the place of the rows that have `least` or more in `column`, as in cut_csv(). The file is
  // replaced in one atomic step.
  void amend(const Row& row, const std::string& column, int64_t least);

 private:
  std::string line_of_row(const Row& row) const;
  void rewrite(const std::string& old, const Row& row);

  std::string path_;
  std::vector<std::string> columns_;
  std::optional<AppendedFile> file_;
};

// Drops the rows whose integer in `column` is greater than `most`, a torn last row, and (with a warning) rows
// that do not fit the header or have no integer there. The file is replaced in one atomic step. A file that
// does not exist, or has no whole first line, is left without rows and without a header. UserError names a
// file without the column.
void cut_csv(const std::string& path, const std::string& column, int64_t most);

}  // namespace collie
