// JSON in which a repeated key is an error: nlohmann's parser alone would silently keep the last.
#pragma once

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>

namespace collie {

struct DuplicateKey : std::runtime_error {
  explicit DuplicateKey(const std::string& name)
      : std::runtime_error("key '" + name + "' is there twice"), key(name) {}
  std::string key;
};

// Throws DuplicateKey (for any object at any depth) or nlohmann::json::exception.
nlohmann::json parse_json_with_unique_keys(std::string_view text);

}  // namespace collie
