// A tensor's elements, as they are passed to a kernel. Kernels are templates over the storage type, float or
// bfloat16, and find out which of the two they get here (typed() in vector-inl.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/bfloat16.hpp"

namespace collie::cpu {

struct Elements {
  void* data;
  bool narrow;  // bfloat16; float otherwise

  Elements operator+(int64_t count) const {
    return {static_cast<std::byte*>(data) + count * (narrow ? 2 : 4), narrow};
  }
};

// The first element of x. Its dtype must be float32 or bfloat16.
inline Elements elements_of(const Tensor& x) {
  const bool narrow = x.dtype() == DType::bf16;
  COLLIE_ASSERT(narrow || x.dtype() == DType::f32, "a tensor of {} is not computed with on the CPU",
                name(x.dtype()));
  return {x.raw(), narrow};
}

// The first element as a float.
inline float value_of(Elements x) {
  return x.narrow ? to_float(*static_cast<const bfloat16*>(x.data)) : *static_cast<const float*>(x.data);
}

// Makes n elements 0. All bits of a zero are 0 in both types.
inline void clear(Elements x, int64_t n) {
  if (n > 0) std::memset(x.data, 0, static_cast<size_t>(n) * (x.narrow ? 2 : 4));
}

}  // namespace collie::cpu
