// Translates a tensor's dtype into NCCL's type.
#pragma once

#include "comm/nccl/api.hpp"
#include "kernels/tensor.hpp"

namespace collie::nccl {

constexpr DataType type_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return DataType::float32;
    case DType::f64:
      return DataType::float64;
    case DType::bf16:
      return DataType::bfloat16;
    case DType::i32:
    case DType::u8:  // is not sent
      break;
  }
  return DataType::int32;
}

}  // namespace collie::nccl
