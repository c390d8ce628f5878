// Choosing the next token from logits.
#pragma once

#include <cstdint>
#include <span>

namespace collie {

struct Sampling {
  double temperature = 0;  // 0: the largest logit (the first of equals)
  double top_p = 1;        // smallest set of most likely tokens whose probabilities reach top_p
  int64_t top_k = 0;       // 0: all
  uint64_t seed = 42;
};

// logits [vocab]. Draws from softmax(logits / temperature) after top_k, then top_p; `index` is the number of
// the draw: the same (seed, index) and logits give the same token.
int32_t sample_token(std::span<const float> logits, const Sampling& sampling, uint64_t index);

}  // namespace collie
