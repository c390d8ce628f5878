// A SentencePiece model file (tokenizer.model), through libsentencepiece.
#pragma once

#include <memory>

#include "io/tokenizer.hpp"
#include "io/tokenizers/settings.hpp"

namespace collie {

// `files` has tokenizer.model and those of read_settings_files() that exist. BOS and EOS are added where
// tokenizer_config.json's add_bos_token and add_eos_token say so, as in transformers 5 (version 4 added BOS
// by default). The model's control tokens and the added tokens are found in texts that spell them out; the
// text behind one gets a space in front unless "legacy" is false (its default for LlamaTokenizer). Throws
// UserError naming the file if libsentencepiece refuses the model.
std::shared_ptr<const Tokenizer> make_sentencepiece_tokenizer(TokenizerFiles files,
                                                              const std::filesystem::path& folder);

}  // namespace collie
