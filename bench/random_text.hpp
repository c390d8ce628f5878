// A text of random tokens, and a tokenizer that reads it, so that a benchmark's data go the way of real ones.
#pragma once

#include <cstdint>
#include <string>

namespace collie::bench {

// Writes tokenizer.json and tokenizer_config.json to `folder`, which must exist: every token is a character,
// the last one EOS.
void write_character_tokenizer(const std::string& folder, int64_t vocabulary);

// Writes one document of `tokens` tokens, EOS (which reading appends) not counted: each but EOS equally
// often.
void write_random_text(const std::string& file, int64_t vocabulary, int64_t tokens, uint64_t seed);

}  // namespace collie::bench
