// What becomes of the activations that a block's backward needs, until then.
#pragma once

#include <string>

namespace collie {

// Those that are computed again instead of kept (Chen et al., arXiv 1604.06174). The same operations on the
// same values: the same bits.
enum class Recompute {
  none,
  selective,  // what costs no matrix product: the norms' outputs and SwiGLU's (the idea: arXiv 2205.05198)
  full,       // everything but the block's input
};

struct ActivationMemory {
  Recompute recompute = Recompute::none;
  bool offload = false;  // what is kept waits on the host (Operations::offload)
};

// "none", "selective" or "full"; throws UserError otherwise.
Recompute recompute_of(const std::string& name);

}  // namespace collie
