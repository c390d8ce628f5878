// Registers CUDA as the program's GPU back end (kernels/gpu.hpp).
#pragma once

#include "kernels/gpu.hpp"

namespace collie {

const GpuBackend& cuda_backend();

}  // namespace collie
