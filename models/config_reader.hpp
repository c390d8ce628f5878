// Reads the keys of a config.json, one by one, and remembers which it has seen.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>

namespace collie {

// The keys of a model, and where they stand.
struct ModelKeys {
  struct Origin {
    std::string place;           // what a message about the key begins with: "FILE:LINE: hidden_size"
    bool of_the_engine = false;  // given in the engine's own configuration, where nothing is meant for others
  };

  nlohmann::json object;
  std::string where;                      // the file, or "model.config": the place of all other keys
  std::map<std::string, Origin> origins;  // may lack keys
};

// folder/config.json. UserError names the file.
ModelKeys read_model_keys(const std::string& folder);

// Each far above the largest that any published model has, and such that a tensor's bytes fit into 64 bits.
namespace model_limits {
inline constexpr int64_t width = int64_t{1} << 20, heads = int64_t{1} << 16, layers = int64_t{1} << 14,
                         tokens = int64_t{1} << 24;
}  // namespace model_limits

// A feature that is there but switched off: null, false, 0, "", empty.
bool is_off(const nlohmann::json& value);

// All functions throw UserError, which names the key, what was found and what would be right. A key that is
// null is as one that is missing.
class ConfigReader {
 public:
  ConfigReader(const nlohmann::json& object, std::string where) : object_(object), where_(std::move(where)) {}
  explicit ConfigReader(const ModelKeys& keys)
      : object_(keys.object), where_(keys.where), origins_(&keys.origins) {}

  // The value, or null.
  const nlohmann::json& value(const std::string& key);
  bool has(const std::string& key) { return !value(key).is_null(); }
  // The key is known and changes nothing here, whatever it says.
  void ignore(const std::string& key) { seen_.insert(key); }

  // A whole number from 1 to `most`; `otherwise` if it is missing, which is an error if that is 0.
  int64_t size(const std::string& key, int64_t most, int64_t otherwise = 0);
  // A finite number of at least `least`, or above it where `open`.
  double number(const std::string& key, double otherwise, double least, bool open);
  // From 0 up to 1, 1 excluded.
  double rate(const std::string& key, double otherwise);
  bool flag(const std::string& key, bool otherwise = false);
  // One of `known`, which maps what the file may say to what it means; `otherwise` if it is missing.
  template <class Meaning>
  Meaning one_of(const std::string& key, const std::map<std::string, Meaning>& known, Meaning otherwise) {
    const nlohmann::json& found = value(key);
    if (found.is_null()) return otherwise;
    const auto meaning = known.find(found.is_string() ? found.get<std::string>() : "");
    if (meaning != known.end()) return meaning->second;
    std::string names;
    for (const auto& [name, ignored] : known) names += (names.empty() ? "" : ", ") + name;
    refuse(key, found, "known: " + names);
  }

  [[noreturn]] void refuse(const std::string& key, const nlohmann::json& found,
                           const std::string& right) const;
  // What a message about `key` begins with.
  std::string place(const std::string& key) const;

  // Refuses every key that has not been read and is neither harmless (which says nothing about the maths) nor
  // off; a key of the engine's own configuration is refused even if it is off.
  void refuse_the_rest() const;
  const std::set<std::string>& seen() const { return seen_; }
  const nlohmann::json& object() const { return object_; }
  const std::string& where() const { return where_; }

 private:
  const ModelKeys::Origin* origin_of(const std::string& key) const;
  bool is_ours(const std::string& key) const;

  const nlohmann::json& object_;
  std::string where_;
  const std::map<std::string, ModelKeys::Origin>* origins_ = nullptr;
  std::set<std::string> seen_;
};

}  // namespace collie
