// The rules between keys, and the places that messages name. For the implementation of io/config.hpp only.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "io/config_schema.hpp"
#include "io/config_tree.hpp"

namespace collie::config {

// The place of each key that was given, by the key's path. For other keys it names the place of the nearest
// section.
class Places {
 public:
  Places() = default;
  explicit Places(Origin file) : file_(std::move(file)) {}
  void add(const std::string& path, const Origin& origin) { origins_[path] = origin; }
  // The beginning of a message about `path`.
  std::string of(const std::string& path) const;

 private:
  Origin file_;
  std::map<std::string, Origin> origins_;
};

// Checks every rule of the schema and every rule between keys. Throws UserError.
void check_all(const Config& config, const Places& places, std::vector<std::string>& warnings);

// "data.train.0"
std::string source_path(const std::string& list, size_t index);

}  // namespace collie::config
