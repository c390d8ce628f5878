#include "io/json_lines.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>

#include "base/error.hpp"
#include "base/log.hpp"
#include "io/files.hpp"
#include "io/json_text.hpp"
#include "io/mapped_file.hpp"

namespace collie {

namespace {

template <class Json>
std::string one_line(const Json& object) {
  COLLIE_ASSERT(object.is_object(), "a line must be a JSON object, not {}", object.type_name());
  // Bytes that are not UTF-8 (in a path, for example) are replaced: a metric is not worth ending the run for.
  return object.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

bool lacks_final_newline(const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) return false;
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  char last = '\n';
  const off_t size = ::lseek(fd, 0, SEEK_END);
  const bool read = size > 0 && ::pread(fd, &last, 1, size - 1) == 1;
  ::close(fd);
  return read && last != '\n';
}

enum class Fate { keep, drop, broken };

Fate fate_of(const std::string& line, int64_t step) {
  try {
    const nlohmann::json object = parse_json_object(line, "");
    const auto found = object.find("step");
    if (found == object.end() || !found->is_number_integer()) return Fate::keep;
    return *found > step ? Fate::drop : Fate::keep;
  } catch (const UserError&) {
    return Fate::broken;
  }
}

struct Cut {
  std::string kept;
  int64_t dropped = 0;  // lines
  bool is_change = false;
};

// The lines of a file that a resume at `step` keeps.
Cut cut_after_step(const std::string& path, int64_t step) {
  const MappedFile file(path);
  const std::string_view text = file.text();
  Cut cut;
  int64_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line(text.substr(begin, end - begin));
    begin = end + 1;
    ++number;
    const Fate fate = fate_of(line, step);
    if (fate == Fate::keep)
      cut.kept += line + "\n";
    else
      ++cut.dropped;
    if (fate == Fate::broken && begin < text.size())
      log::warn("{}:{}: not a JSON object; the line is dropped", path, number);
  }
  cut.is_change = cut.kept != text;
  return cut;
}

}  // namespace

JsonLinesFile::JsonLinesFile(const std::string& path)
    : path_(path), torn_(lacks_final_newline(path)), file_(path) {}

void JsonLinesFile::append(const nlohmann::json& object) {
  append_line(one_line(object));
}
void JsonLinesFile::append(const nlohmann::ordered_json& object) {
  append_line(one_line(object));
}

void JsonLinesFile::append_line(std::string line) {
  if (torn_) line.insert(0, "\n");
  file_->append(line);
  torn_ = false;
}

int64_t truncate_after_step(const std::string& path, int64_t step) {
  if (!std::filesystem::exists(path)) return 0;
  const Cut cut = cut_after_step(path, step);
  if (cut.is_change) write_file_durably(path, cut.kept);
  return cut.dropped;
}

void JsonLinesFile::amend(int64_t step, const nlohmann::ordered_json& object) {
  write_file_durably(path_, cut_after_step(path_, step - 1).kept + one_line(object));
  file_.emplace(path_);
  torn_ = false;
}

}  // namespace collie
