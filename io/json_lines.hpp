// metrics.jsonl and its like: one JSON object a line (jsonlines.org), only ever added to.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

namespace collie {

class JsonLinesFile {
 public:
  // Opens `path` for appending and creates it where it is missing; its folder must exist. A last line that
  // was left without its end is ended by the first append, so that it cannot spoil the next. RunError names
  // file and reason.
  explicit JsonLinesFile(const std::string& path);
  ~JsonLinesFile();
  JsonLinesFile(const JsonLinesFile&) = delete;
  JsonLinesFile& operator=(const JsonLinesFile&) = delete;

  // Adds one line, in the file (readable by others) when this returns. Numbers are printed so that they read
  // back exactly; NaN and the infinities, which JSON lacks, become null. RunError names file and reason ("No
  // space left on device"), and no half line stays behind. The ordered form keeps the keys in the order they
  // were put in.
  void append(const nlohmann::json& object);
  void append(const nlohmann::ordered_json& object);

 private:
  void append_line(std::string line);

  std::string path_;
  bool torn_;
  int fd_ = -1;
};

// For resuming at `step`: drops every line whose "step" is greater, a torn last line, and (with a warning)
// any other line that is no JSON object; objects without a "step" stay. The file is replaced in one atomic
// step; a file that is not there stays so. Returns how many lines went.
int64_t truncate_after_step(const std::string& path, int64_t step);

}  // namespace collie
