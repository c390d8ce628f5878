// Reads the keys of an adapter_config.json, each checked, and which modules the folder's tensors are of.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "base/option.hpp"
#include "io/config.hpp"

namespace collie {

class AdapterConfigFile {
 public:
  // Throws UserError naming the file, as all functions here do, which also name the key.
  explicit AdapterConfigFile(const std::string& folder);

  [[noreturn]] void refuse(const std::string& key, const nlohmann::json& found,
                           const std::string& wanted) const;
  // Refuses keys that are not in `known`, unless they are null, false or empty.
  void check_keys(const std::set<std::string>& known) const;

  // Null where the key is missing or null.
  const nlohmann::json* find(const std::string& key) const;
  int64_t whole(const std::string& key, int64_t otherwise) const;  // 1 to 65536
  double number(const std::string& key, double otherwise, const NumberRange& range) const;
  bool flag(const std::string& key) const;
  std::string text(const std::string& key, const std::set<std::string>& valid,
                   const std::string& otherwise) const;
  const nlohmann::json& list(const nlohmann::json& value, const std::string& key) const;
  // In the order of the file, of which the first that matches counts.
  void read_patterns(const std::string& key, bool whole, PatternNumbers& patterns) const;
  void read_blocks(PeftSection& peft) const;  // layers_to_transform
  // Names, "all-linear", or a regular expression of whole names: then those modules of the folder that match
  // it and have a tensor `part`, such as ".lora_A".
  std::vector<std::string> read_modules(const std::string& key, const char* part) const;
  // Of modules_to_save: peft takes each module whose name ends so, also within a word.
  void read_saved(const char* part, PeftSection& peft) const;

 private:
  std::string file_;
  nlohmann::ordered_json ordered_;
  nlohmann::json object_;
  std::map<std::string, std::set<std::string>> modules_;  // by the model's names, and the tensors of each
};

}  // namespace collie
