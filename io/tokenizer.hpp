// Text to token ids and back.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace collie {

// The tokens of a text, and where each begins in it.
struct Encoding {
  std::vector<int32_t> ids;
  std::vector<size_t>
      starts;  // bytes; where a character of the text became several tokens, they share its start
};

// It is immutable, so threads may share one.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // `add_special` adds what the tokenizer puts around a text (usually BOS in front). An empty text gives the
  // added tokens alone. Special tokens that are spelled out in the text become their ids, as in transformers.
  // Throws UserError with the byte offset if the text is not valid UTF-8.
  virtual std::vector<int32_t> encode(std::string_view text, bool add_special) const = 0;

  // Works like encode(text, false), and says where the tokens begin.
  virtual Encoding encode_with_starts(std::string_view text) const = 0;

  // Works like transformers' decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False). Ids
  // that name no token are skipped.
  virtual std::string decode(std::span<const int32_t> ids) const = 0;

  virtual int64_t vocab_size() const = 0;  // one more than the largest id
  virtual std::optional<int32_t> bos() const = 0;
  virtual std::optional<int32_t> eos() const = 0;
  virtual bool adds_bos() const = 0;  // whether encode(text, true) starts with BOS

  // Writes tokenizer.json or tokenizer.model (and tokenizer_config.json and special_tokens_map.json if there
  // are any) into `folder`, which must exist, for Hugging Face's libraries and for load_tokenizer. Throws
  // RunError.
  virtual void save_to(const std::filesystem::path& folder) const = 0;

  // SHA-256 (hexadecimal) of everything that decides which ids a text gets.
  virtual std::string fingerprint() const = 0;
};

// `kind` "auto" reads folder/tokenizer.json (Hugging Face `tokenizers` format), else tokenizer.model
// (SentencePiece's, or tiktoken's), else vocab.json with merges.txt, vocab.txt or *.tiktoken
// (io/tokenizers/older_files.hpp). BOS and EOS come from tokenizer_config.json, else special_tokens_map.json,
// else generation_config.json, else config.json. `kind` "byte" is the byte tokenizer, and `folder` is not
// looked at. Throws UserError naming the file, the key, what was found and what would be right.
std::shared_ptr<const Tokenizer> load_tokenizer(const std::filesystem::path& folder, const std::string& kind);

// Ids 0-255 are the bytes of the text, 256 is BOS, 257 is EOS. encode(text, true) starts with BOS.
std::shared_ptr<const Tokenizer> byte_tokenizer();

}  // namespace collie
