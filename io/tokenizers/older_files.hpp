// Vocabularies that came before tokenizer.json, as the tokenizer.json that transformers makes of them.
#pragma once

#include <filesystem>
#include <optional>

#include "io/tokenizers/settings.hpp"

namespace collie {

// Looks in `folder` for, in this order:
//   vocab.json and merges.txt   byte-level BPE, as GPT2Tokenizer (also CodeGen, GPT-NeoX) or Qwen2Tokenizer
//   reads
//                               it, by tokenizer_config.json's tokenizer_class
//   vocab.txt                   WordPiece, as BertTokenizer reads it
//   tokenizer.model, *.tiktoken lines of a token in base64 and its rank: tiktoken's, as TikTokenConverter
//   reads
//                               them, with Llama 3's regular expression, or Qwen's or GPT-2's by the file's
//                               name
// and adds a "tokenizer.json" to `files`, which has what read_settings_files() found. Returns the name of the
// file that was used; none if there is none. Throws UserError naming the file and the line.
std::optional<std::string> describe_older_files(const std::filesystem::path& folder, TokenizerFiles& files);

}  // namespace collie
