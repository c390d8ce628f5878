// The peak rates of NVIDIA's GPUs by its data sheets, in TFLOP/s, dense.
#pragma once

#include <optional>
#include <string>

#include "kernels/tensor.hpp"

namespace collie {

// The peak of the GPU with this driver name ("NVIDIA H200"), for matrices of this type: bfloat16 on tensor
// cores with sums in float32, float32 in its own precision (not TF32). From NVIDIA's data sheets, and of
// GeForce cards its white papers. Returns nothing for other GPUs.
std::optional<double> peak_tflops(const std::string& gpu, DType dtype);

}  // namespace collie
