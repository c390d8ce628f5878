// The tokens of a model and their ids.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "io/tokenizers/json_place.hpp"

namespace collie {

class Vocabulary {
 public:
  Vocabulary() = default;
  // Takes an object from tokens to ids. Throws UserError naming the file and the key.
  explicit Vocabulary(const JsonPlace& object);

  // Adds the token with the next id. Of tokens with one text the last is found.
  void append(const std::string& token);

  std::optional<int32_t> find(const std::string& token) const;
  const std::string* token(int32_t id) const;                            // null if no token has that id
  int64_t size() const { return static_cast<int64_t>(tokens_.size()); }  // one more than the largest id
  const std::unordered_map<std::string, int32_t>& ids() const { return ids_; }

 private:
  std::unordered_map<std::string, int32_t> ids_;
  std::vector<const std::string*> tokens_;             // by id; null for ids without a token
  std::vector<std::unique_ptr<std::string>> doubles_;  // tokens whose text another has
};

// The token that stands for what the vocabulary lacks: the member `key` of a model, which must be in the
// vocabulary. None if there is no such member.
std::optional<int32_t> read_unknown_token(const JsonPlace& model, const char* key,
                                          const Vocabulary& vocabulary);

// Largest id and number of tokens that are supported.
constexpr int64_t most_token_ids = int64_t{1} << 24;

}  // namespace collie
