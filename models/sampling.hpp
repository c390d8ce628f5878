// Choosing the next token from logits. What the settings mean is what transformers 5.24's logits processors
// do (generation/logits_process.py), in the order in which they stand here.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace collie {

struct Sampling {
  double repetition_penalty = 1;  // of tokens that the text has; also where the largest logit is taken
  double temperature = 0;         // 0: the largest logit (the first of equals)
  int64_t top_k = 0;              // the most likely tokens, and those as likely as the last of them; 0: all
  double top_p = 1;               // smallest set of most likely tokens whose probabilities reach top_p
  double min_p = 0;               // tokens at least min_p times as likely as the most likely one
  double typical_p = 1;           // the tokens nearest to the expected surprise that together reach typical_p
  uint64_t seed = 42;
  bool operator==(const Sampling&) const = default;
};

struct Candidate {
  int32_t token = 0;
  double weight = 0;  // its probability is this by the sum of all weights
};

// The tokens that may be drawn, most likely first, equal ones in the order of their ids. logits [vocab];
// temperature > 0. `seen` has the text's tokens, each once; only repetition_penalty asks for them.
std::vector<Candidate> sampling_candidates(std::span<const float> logits, const Sampling& sampling,
                                           std::span<const int32_t> seen);

// logits [vocab]. Draws one of the candidates; `index` is the number of the draw: the same (seed, index),
// logits and `seen` give the same token.
int32_t sample_token(std::span<const float> logits, const Sampling& sampling, std::span<const int32_t> seen,
                     uint64_t index);

}  // namespace collie
