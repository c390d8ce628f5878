// What holds between keys, and the places that messages name. Below io/config.hpp only.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "io/config_schema.hpp"
#include "io/config_tree.hpp"

namespace collie::config {

// Where each key that was given stands, by its path; of the others the nearest section's place is named.
class Places {
 public:
  Places() = default;
  explicit Places(Origin file) : file_(std::move(file)) {}
  void add(const std::string& path, const Origin& origin) { origins_[path] = origin; }
  // What a message about `path` begins with.
  std::string of(const std::string& path) const;

 private:
  Origin file_;
  std::map<std::string, Origin> origins_;
};

// Every rule of the schema and every rule between keys. UserError.
void check_all(const Config& config, const Places& places, std::vector<std::string>& warnings);

// "data.train.0"
std::string source_path(const std::string& list, size_t index);

}  // namespace collie::config
