// In which order a block's threads run where they run one after another: on the emulated device. A GPU has
// its own order, and these tests run twice on it, for the same bits.
#pragma once

#ifdef COLLIE_CUDA_EMULATED
#include "kernels/cuda/emulation/cuda_runtime.hpp"
#endif

namespace collie::test {

inline void set_backward_order([[maybe_unused]] bool backward) {
#ifdef COLLIE_CUDA_EMULATED
  emulation::set_backward_order(backward);
#endif
}

}  // namespace collie::test
