// Tensors as kernels/cuda's kernels see them: plain pointers and sizes, so that nvcc reads nothing else of
// the engine.
#pragma once

#include <cstdint>

namespace collie::cuda {

enum class Element : uint8_t { f32, bf16 };

// rows × width elements, with rows `stride` elements apart.
struct Matrix {
  void* data;
  Element element;
  int64_t rows, width, stride;
};

}  // namespace collie::cuda
