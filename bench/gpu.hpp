// The GPU back end that a benchmark was built with, if any, as the command takes it.
#pragma once

#include "kernels/gpu.hpp"
#ifdef COLLIE_HAS_CUDA
#include "kernels/cuda/backend.hpp"
#endif

namespace collie::bench {

// Call it in main().
inline void use_gpus() {
#ifdef COLLIE_HAS_CUDA
  set_gpu_backend(&cuda_backend());
#endif
}

}  // namespace collie::bench
