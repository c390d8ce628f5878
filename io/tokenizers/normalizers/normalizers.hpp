// The normalizers' files, for the table in simple.cpp.
#pragma once

#include "io/tokenizers/components.hpp"

namespace collie {

// NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, Nmt, BertNormalizer.
ComponentTable<Normalizer> unicode_normalizers();

// SentencePiece's table of replacements, "precompiled_charsmap" in base64: a double-array trie (Aoe, "An
// efficient digital search algorithm by using a double-array structure", 1989) and the texts it points to.
std::unique_ptr<Normalizer> make_precompiled(const JsonPlace& description);

}  // namespace collie
