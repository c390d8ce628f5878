// Makes new tokenizers of text.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "io/tokenizers/settings.hpp"

namespace collie {

struct TokenizerTraining {
  std::string kind = "bpe";                 // bpe (of bytes) or unigram
  int64_t vocab_size = 0;                   // special tokens and bytes count
  int64_t min_frequency = 2;                // bpe: a pair that is rarer is not merged
  std::vector<std::string> special_tokens;  // bos and eos among them or not
  std::string bos, eos;                     // bos may be empty: then none is put before a text
};

// Gives the next part of the training text (valid UTF-8), or says that there is none.
using NextText = std::function<bool(std::string_view& text)>;

// Returns tokenizer.json and tokenizer_config.json, for Hugging Face's libraries and for load_tokenizer().
// The same text gives the same files. `bpe` works as the `tokenizers` library's BpeTrainer does, over Llama
// 3's regular expression; `unigram` is libsentencepiece's trainer, with byte fallback, and its tokens begin
// with a visible space. Throws UserError if the text is too short for the vocabulary or `training` is wrong
// (the message names the command's option).
TokenizerFiles train_tokenizer(const TokenizerTraining& training, const NextText& next);

// The merges that BpeTrainer finds in the words that the regular expression `pattern` cuts a text into.
struct LearntMerges {
  std::vector<std::string>
      vocabulary;  // by id: the special tokens, the bytes' characters, and what was merged
  std::vector<std::pair<std::string, std::string>> merges;
};
LearntMerges learn_merges(const TokenizerTraining& training, const std::string& pattern,
                          const NextText& next);

}  // namespace collie
