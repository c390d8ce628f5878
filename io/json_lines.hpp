// metrics.jsonl and its like have one JSON object per line (jsonlines.org).
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "io/appended_file.hpp"

namespace collie {

class JsonLinesFile {
 public:
  // Opens `path` for appending and creates it if it is missing; its folder must exist. If the last line has
  // no end, the first append ends it, so that it cannot spoil the next line. RunError names the file and the
  // reason.
  explicit JsonLinesFile(const std::string& path);

  // Adds one line, which is in the file (readable by others) when this returns. Numbers are printed so that
  // they read back exactly. NaN and the infinities, which JSON lacks, become null. RunError names the file
  // and the reason ("No space left on device"), and no half line stays behind. The ordered form keeps the
  // keys in the order of insertion.
  void append(const nlohmann::json& object);
  void append(const nlohmann::ordered_json& object);

  // Puts `object` in the place of the lines whose "step" is `step` or greater, in one atomic step.
  void amend(int64_t step, const nlohmann::ordered_json& object);

 private:
  void append_line(std::string line);

  std::string path_;
  bool torn_;
  std::optional<AppendedFile> file_;
};

// For resuming at `step`: drops every line whose "step" is greater, a torn last line, and (with a warning)
// any other line that is no JSON object. Objects without a "step" stay. The file is replaced in one atomic
// step. A file that does not exist is not created. Returns the number of dropped lines.
int64_t truncate_after_step(const std::string& path, int64_t step);

}  // namespace collie
