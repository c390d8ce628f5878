// The CUDA run time; in tests without a GPU its emulation on the host (tests/emulation), which stands in the
// include path instead. Only kernels/cuda and comm/nccl include it.
#pragma once

#include <cuda_runtime.h>

namespace collie::cuda {

// Throws std::runtime_error "CUDA: WHAT: REASON" unless `status` is success; out of memory says so and how
// much the device has.
void check(cudaError_t status, const char* what);

}  // namespace collie::cuda
