// A value inside a JSON file, together with its place, so that every complaint names file and key.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace collie {

// It refers to the JSON it was made from. All complaints are UserErrors "FILE: KEY: what was found; what
// would be right".
class JsonPlace {
 public:
  JsonPlace(const nlohmann::json& value, std::string file, std::string key = "")
      : value_(&value), file_(std::move(file)), key_(std::move(key)) {}

  const nlohmann::json& value() const { return *value_; }
  const std::string& file() const { return file_; }

  [[noreturn]] void refuse(const std::string& complaint) const;

  JsonPlace operator[](const std::string& key) const;           // a member that must be there
  std::optional<JsonPlace> find(const std::string& key) const;  // a member that may be missing or null
  JsonPlace operator[](size_t index) const;                     // an entry of a list
  JsonPlace inside(const nlohmann::json& value, const std::string& key) const;  // a member that is found

  size_t size() const;  // of a list
  std::string text() const;
  bool flag() const;
  int64_t integer() const;

  // Members with a default.
  std::string text(const std::string& key, const std::string& otherwise) const;
  bool flag(const std::string& key, bool otherwise) const;
  int64_t integer(const std::string& key, int64_t otherwise) const;

 private:
  void must_be(bool right, const char* wanted) const;

  const nlohmann::json* value_;
  std::string file_, key_;
};

}  // namespace collie
