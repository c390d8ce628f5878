// A text of random tokens, and a tokenizer that reads it, so that a benchmark's data take the way of real
// data.
#pragma once

#include <cstdint>
#include <string>

namespace collie::bench {

// Writes tokenizer.json and tokenizer_config.json to `folder`, which must exist. Every token is a character;
// the last one is EOS.
void write_character_tokenizer(const std::string& folder, int64_t vocabulary);

// Writes one document of `tokens` tokens, not counting EOS, which reading appends. Every token except EOS is
// equally likely.
void write_random_text(const std::string& file, int64_t vocabulary, int64_t tokens, uint64_t seed);

}  // namespace collie::bench
