// A tokenizer that a tokenizer.json describes: https://huggingface.co/docs/tokenizers/pipeline
#pragma once

#include <map>
#include <memory>
#include <unordered_map>

#include "io/tokenizer.hpp"
#include "io/tokenizers/added_tokens.hpp"
#include "io/tokenizers/bpe.hpp"
#include "io/tokenizers/components.hpp"

namespace collie {

// The part of a tokenizer's folder that is kept: file name to contents.
using TokenizerFiles = std::map<std::string, std::string>;

class JsonTokenizer : public Tokenizer {
 public:
  // `files` has tokenizer.json and those of tokenizer_config.json, special_tokens_map.json,
  // generation_config.json and config.json that exist. `folder` is their place, for messages.
  JsonTokenizer(TokenizerFiles files, const std::filesystem::path& folder);

  std::vector<int32_t> encode(std::string_view text, bool add_special) const override;
  std::string decode(std::span<const int32_t> ids) const override;
  int64_t vocab_size() const override { return vocab_size_; }
  std::optional<int32_t> bos() const override { return bos_; }
  std::optional<int32_t> eos() const override { return eos_; }
  bool adds_bos() const override { return bos_ && !prefix_.empty() && prefix_.front() == *bos_; }
  void save_to(const std::filesystem::path& folder) const override;
  std::string fingerprint() const override;

 private:
  struct Added {
    std::string content;
    std::string spelling;  // what decoders see; normalised if the token is searched in normalised text
    bool special;
  };

  void read_added(const JsonPlace& list);
  void read_template(const JsonPlace& post_processor);
  void read_settings(const std::filesystem::path& folder);
  std::optional<int32_t> find(const std::string& token) const;
  std::optional<int32_t> find_named(const JsonPlace& settings, const std::string& key) const;

  TokenizerFiles files_;
  std::unique_ptr<Normalizer> normalizer_;  // may be null, like the next two
  std::unique_ptr<PreTokenizer> pre_tokenizer_;
  std::unique_ptr<Decoder> decoder_;
  std::unique_ptr<BpeModel> model_;
  std::unordered_map<int32_t, Added> added_;
  AddedTokenFinder in_raw_text_, in_normalized_text_;
  std::vector<int32_t> prefix_, suffix_;  // the ids that are added around a text
  std::optional<int32_t> bos_, eos_;
  int64_t vocab_size_ = 0;
};

}  // namespace collie
