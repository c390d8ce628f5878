// How tokens are drawn: what a command says, over what the model's generation_config.json says.
#pragma once

#include <cstdint>
#include <optional>

#include "io/config.hpp"
#include "models/sampling.hpp"

namespace collie {

// Those that are given take the place of the model's.
struct SamplingOptions {
  std::optional<double> temperature, top_p;
  std::optional<int64_t> top_k;
  uint64_t seed = 42;
};

// As generate() of transformers 5.24 reads generation_config.json of model.path (there is none for a model
// from scratch): with "do_sample": true tokens are drawn by its temperature (else 1), top_k (else 50), top_p,
// min_p and typical_p; without, the most likely token is taken. A temperature that is given decides that: 0
// takes the most likely token, any other draws. repetition_penalty counts in both cases. Logs once what it
// draws by, and warns of settings there that this engine does not have, by name. Throws UserError naming the
// file and the key for a value that transformers refuses, too.
Sampling sampling_of(const Config& config, const SamplingOptions& options);

}  // namespace collie
