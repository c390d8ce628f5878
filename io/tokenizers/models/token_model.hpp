// The model of a tokenizer.json: it cuts words into tokens.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "io/tokenizers/models/vocabulary.hpp"

namespace collie {

struct WordToken {
  int32_t id = 0;
  uint32_t begin = 0;  // where it begins in the word, in bytes
};

class TokenModel {
 public:
  // What one thread needs while it encodes.
  class Workspace {
   public:
    virtual ~Workspace() = default;
  };

  virtual ~TokenModel() = default;
  virtual std::unique_ptr<Workspace> make_workspace() const { return nullptr; }

  // Appends the tokens of `word` (valid UTF-8, less than 4 GiB). `workspace` is one that make_workspace()
  // made.
  virtual void encode(std::string_view word, Workspace* workspace, std::vector<WordToken>& tokens) const = 0;

  const Vocabulary& vocabulary() const { return vocabulary_; }

 protected:
  Vocabulary vocabulary_;
};

// Takes the `model` object of a tokenizer.json. Throws UserError naming the file and the key.
std::unique_ptr<TokenModel> make_token_model(const JsonPlace& model);

}  // namespace collie
