// A tokenizer that a tokenizer.json describes: https://huggingface.co/docs/tokenizers/pipeline
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "io/tokenizer.hpp"
#include "io/tokenizers/added_tokens.hpp"
#include "io/tokenizers/components.hpp"
#include "io/tokenizers/models/token_model.hpp"
#include "io/tokenizers/post_processors.hpp"
#include "io/tokenizers/settings.hpp"
#include "io/tokenizers/word_cache.hpp"

namespace collie {

class JsonTokenizer : public Tokenizer {
 public:
  // `files` has tokenizer.json and those of read_settings_files() that exist. `folder` is their place, for
  // messages. What is added around a text is what tokenizer.json's post_processor says: like transformers 5,
  // unlike 4, add_bos_token and add_eos_token of tokenizer_config.json change nothing (a contradiction is
  // logged).
  JsonTokenizer(TokenizerFiles files, const std::filesystem::path& folder);
  ~JsonTokenizer() override;

  std::vector<int32_t> encode(std::string_view text, bool add_special) const override;
  Encoding encode_with_starts(std::string_view text) const override;
  std::string decode(std::span<const int32_t> ids) const override;
  int64_t vocab_size() const override { return vocab_size_; }
  std::optional<int32_t> bos() const override { return bos_; }
  std::optional<int32_t> eos() const override { return eos_; }
  bool adds_bos() const override {
    return bos_ && !around_.before.empty() && around_.before.front() == *bos_;
  }
  void save_to(const std::filesystem::path& folder) const override;
  std::string fingerprint() const override;

 private:
  struct Added {
    std::string content;
    std::string spelling;  // what decoders see; normalised if the token is searched in normalised text
    bool special;
  };

  struct Workspace;
  class Encoder;

  void read_added(const JsonPlace& list);
  void read_added_beside(const std::filesystem::path& folder);
  void add(const AddedToken& token, const JsonPlace& place);
  void warn_of_contradictions(const std::filesystem::path& folder) const;
  std::optional<int32_t> find(const std::string& token) const;
  std::unique_ptr<Workspace> borrow() const;
  void give_back(std::unique_ptr<Workspace> workspace) const;

  TokenizerFiles files_;
  std::unique_ptr<Normalizer> normalizer_;  // may be null, like the next two
  std::unique_ptr<PreTokenizer> pre_tokenizer_;
  std::unique_ptr<Decoder> decoder_;
  std::unique_ptr<TokenModel> model_;
  std::unordered_map<int32_t, Added> added_;
  AddedTokenFinder in_raw_text_, in_normalized_text_;
  AddedAround around_;
  std::optional<int32_t> bos_, eos_;
  int64_t vocab_size_ = 0;

  // Those that no thread uses. There are never more than threads encoded at a time.
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Workspace>> idle_;
};

}  // namespace collie
