// The CUDA run time. In tests without a GPU its emulation on the host (tests/emulation) takes its place in
// the include path. Only kernels/cuda and comm/nccl include it.
#pragma once

#include <cuda_runtime.h>

namespace collie::cuda {

// Throws std::runtime_error "CUDA: WHAT: REASON" unless `status` is success. For out of memory the message
// says so and how much the device has.
void check(cudaError_t status, const char* what);

}  // namespace collie::cuda
