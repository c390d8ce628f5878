// What NVIDIA says its GPUs can do at most, in TFLOP/s, dense.
#pragma once

#include <optional>
#include <string>

#include "kernels/tensor.hpp"

namespace collie::bench {

// Of the GPU that the driver calls so ("NVIDIA H200"), for matrices of the type: bfloat16 on tensor cores,
// float32 in its own precision (not TF32). Data sheets of A100 (80 GB SXM), H100 (SXM) and H200 (SXM).
// Nothing for other GPUs.
std::optional<double> peak_tflops(const std::string& gpu, DType dtype);

}  // namespace collie::bench
