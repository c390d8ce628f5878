// The records of a data file with one JSON object per line (JSONL).
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "io/dataset_formats.hpp"

namespace collie {

// One line. The keys keep their order, which chat templates print.
class JsonRecord {
 public:
  // Throws UserError "FILE:LINE: ..." if the line is not one JSON object.
  explicit JsonRecord(const DataRecord& line);

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

}  // namespace collie
