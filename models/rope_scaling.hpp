// How rotary positions are changed for documents longer than those a model was first trained on.
#pragma once

#include <cstdint>
#include <vector>

namespace collie {

// The kinds, as transformers names them.
enum class RopeScalingKind : uint8_t {
  none,
  linear,    // all frequencies are divided by one factor (Chen et al., arXiv 2306.15595)
  dynamic,   // another base beyond max_position_embeddings, where the engine has no positions
  llama3,    // low frequencies are divided, high ones are not, those between in part (Llama 3.1)
  yarn,      // the same, by channels, and scores are scaled (Peng et al., arXiv 2309.00071)
  longrope,  // a factor for each frequency, others for long documents (Ding et al., arXiv 2402.13753)
};

struct RopeScaling {
  RopeScalingKind kind = RopeScalingKind::none;
  double factor = 1;
  int64_t original_positions = 0;  // of llama3, yarn and longrope: what the model was first trained on
  double low_frequency_factor = 1, high_frequency_factor = 4;  // of llama3
  double beta_fast = 32, beta_slow = 1;                        // of yarn: turns over original_positions
  bool truncate = true;                                        // of yarn: to whole channels
  double attention_factor = 1;  // of yarn and longrope: multiplies cosines and sines
  std::vector<double> short_factors = {}, long_factors = {};  // of longrope: [rotated channels / 2]
};

// theta^(-2i / rotated), scaled, for i in [0, rotated / 2): the angle of position 1. is_long: of a document
// of more than original_positions tokens. `rotated` is even; the factors of longrope are as many.
std::vector<double> rotary_frequencies(double theta, int64_t rotated, const RopeScaling& scaling,
                                       bool is_long);

}  // namespace collie
