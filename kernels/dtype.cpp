#include "kernels/tensor.hpp"

namespace collie {

size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::f64:
      return 8;
    case DType::bf16:
      return 2;
    case DType::u8:
      return 1;
  }
  COLLIE_ASSERT(false, "unknown dtype {}", static_cast<int>(dtype));
  return 0;
}

std::string_view name(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "float32";
    case DType::f64:
      return "float64";
    case DType::bf16:
      return "bfloat16";
    case DType::i32:
      return "int32";
    case DType::u8:
      return "uint8";
  }
  COLLIE_ASSERT(false, "unknown dtype {}", static_cast<int>(dtype));
  return {};
}

}  // namespace collie
