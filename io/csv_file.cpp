#include "io/csv_file.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <string_view>

#include "base/error.hpp"
#include "base/log.hpp"
#include "base/quote.hpp"
#include "io/files.hpp"

namespace collie {

namespace {

using Fields = std::vector<std::string>;

std::string escaped(const std::string& field) {
  if (field.find_first_of(",\"\r\n") == std::string::npos) return field;
  std::string text = "\"";
  for (const char c : field) text += c == '"' ? std::string("\"\"") : std::string(1, c);
  return text + "\"";
}

std::string line_of(const Fields& fields) {
  std::string line;
  for (const std::string& field : fields) line += (&field == &fields.front() ? "" : ",") + escaped(field);
  return line + "\n";
}

// A row's text with its "\n"; it is empty if no whole row begins at `begin`. Quotes that stand for themselves
// are doubled, so a row ends where a line ends after an even number of quotes.
std::string_view whole_row(std::string_view text, size_t begin) {
  bool quoted = false;
  for (size_t at = begin; at < text.size(); ++at) {
    if (text[at] == '"') quoted = !quoted;
    if (text[at] == '\n' && !quoted) return text.substr(begin, at + 1 - begin);
  }
  return {};
}

// `row` with its "\n".
Fields fields_of(std::string_view row) {
  Fields fields(1);
  bool quoted = false;
  for (size_t at = 0; at + 1 < row.size(); ++at) {
    const bool doubled = quoted && row[at] == '"' && row[at + 1] == '"';
    if (row[at] == '"' && !doubled) {
      quoted = !quoted;
    } else if (row[at] == ',' && !quoted) {
      fields.emplace_back();
    } else {
      fields.back() += row[at];
      if (doubled) ++at;
    }
  }
  return fields;
}

std::optional<int64_t> integer_of(const std::string& text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

Fields header_of(const std::string& path) {
  if (!std::filesystem::exists(path)) return {};
  const std::string text = read_text_file(path);
  const std::string_view header = whole_row(text, 0);
  return header.empty() ? Fields() : fields_of(header);
}

bool is_among(const std::string& name, const Fields& columns) {
  return std::find(columns.begin(), columns.end(), name) != columns.end();
}

// The header of a file and the rows that have at most `most` in `column`.
std::string rows_up_to(const std::string& path, const std::string& column, int64_t most) {
  const std::string text = read_text_file(path);
  const std::string_view header = whole_row(text, 0);
  const Fields columns = header.empty() ? Fields() : fields_of(header);
  const auto found = std::find(columns.begin(), columns.end(), column);
  if (!header.empty() && found == columns.end())
    throw UserError("{}: its first line names no column '{}', so it is not what a run wrote; move it away",
                    path, column);
  std::string kept(header);
  size_t number = 1;
  for (size_t begin = header.size(); begin < text.size();) {
    const std::string_view line = whole_row(text, begin);
    if (line.empty()) break;
    begin += line.size();
    ++number;
    const Fields fields = fields_of(line);
    const auto step = fields.size() == columns.size()
                          ? integer_of(fields[static_cast<size_t>(found - columns.begin())])
                          : std::nullopt;
    if (!step)
      log::warn("{}: row {} does not fit the first line; it is dropped: {}", path, number,
                shortened(std::string(line.substr(0, line.size() - 1))));
    else if (*step <= most)
      kept += line;
  }
  return kept;
}

}  // namespace

CsvFile::CsvFile(const std::string& path) : path_(path), columns_(header_of(path)), file_(path) {}

void CsvFile::append(const Row& row) {
  const auto is_known = [&](const auto& field) { return is_among(field.first, columns_); };
  if (std::all_of(row.begin(), row.end(), is_known)) return file_->append(line_of_row(row));
  rewrite(read_text_file(path_), row);
}

void CsvFile::amend(const Row& row, const std::string& column, int64_t least) {
  rewrite(rows_up_to(path_, column, least - 1), row);
}

std::string CsvFile::line_of_row(const Row& row) const {
  Fields fields(columns_.size());
  for (const auto& [name, text] : row)
    fields[static_cast<size_t>(std::find(columns_.begin(), columns_.end(), name) - columns_.begin())] = text;
  return line_of(fields);
}

// The file then has the rows of `old`, which is the file's text or its beginning, and `row`.
void CsvFile::rewrite(const std::string& old, const Row& row) {
  const size_t columns_before = columns_.size();
  for (const auto& [name, text] : row)
    if (!is_among(name, columns_)) columns_.push_back(name);
  const std::string more(columns_.size() - columns_before, ',');
  std::string wider = line_of(columns_);
  for (size_t begin = whole_row(old, 0).size(); begin < old.size();) {
    const std::string_view line = whole_row(old, begin);
    if (line.empty()) break;  // torn
    begin += line.size();
    wider += std::string(line.substr(0, line.size() - 1)) + more + "\n";
  }
  write_file_durably(path_, wider + line_of_row(row));
  file_.emplace(path_);
}

void cut_csv(const std::string& path, const std::string& column, int64_t most) {
  if (!std::filesystem::exists(path)) return;
  const std::string kept = rows_up_to(path, column, most);
  if (kept != read_text_file(path)) write_file_durably(path, kept);
}

}  // namespace collie
