// The records of a data file with one JSON object per line (JSONL).
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "io/dataset_formats.hpp"

namespace collie {

// One line. The keys keep their order, which chat templates print.
class JsonRecord {
 public:
  // Throws UserError "FILE:LINE: ..." if `text` is not one JSON object.
  JsonRecord(std::string place, std::string_view text);

  const std::string& place() const { return place_; }                // FILE:LINE
  const nlohmann::ordered_json* find(const std::string& key) const;  // null if it is missing or null
  // These throw UserError naming the place and the key.
  const nlohmann::ordered_json& at(const std::string& key) const;
  const std::string& text(const std::string& key) const;

 private:
  std::string keys() const;

  std::string place_;
  nlohmann::ordered_json value_;
};

// Calls use(record) for each line that is not blank, at most 256 MiB long. A line that does not parse, or
// that `use` refuses with a UserError, ends it with that error; the first file.max_bad_lines of them are left
// out, with a warning that names the first and counts them.
void for_each_record(const DataFile& file, const std::function<void(const JsonRecord&)>& use);

}  // namespace collie
