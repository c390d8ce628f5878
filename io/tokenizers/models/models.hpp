// The models' files, for the table in token_model.cpp.
#pragma once

#include "base/quote.hpp"
#include "io/tokenizers/models/token_model.hpp"

namespace collie {

std::unique_ptr<TokenModel> make_bpe(const JsonPlace& model);
std::unique_ptr<TokenModel> make_unigram(const JsonPlace& model);
std::unique_ptr<TokenModel> make_word_level(const JsonPlace& model);
std::unique_ptr<TokenModel> make_word_piece(const JsonPlace& model);

}  // namespace collie
