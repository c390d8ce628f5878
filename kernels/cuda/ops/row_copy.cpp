#include "kernels/cuda/ops/row_copy.hpp"

#include "kernels/cuda/api.hpp"

namespace collie::cuda {

void copy_rows(CUstream_st* stream, const Matrix& from, const Matrix& to) {
  if (from.rows == 0 || from.width == 0) return;
  const size_t size = from.element == Element::bf16 ? 2 : 4;
  const auto bytes = [&](int64_t elements) { return static_cast<size_t>(elements) * size; };
  check(cudaMemcpy2DAsync(to.data, bytes(to.stride), from.data, bytes(from.stride), bytes(from.width),
                          static_cast<size_t>(from.rows), cudaMemcpyDeviceToDevice, stream),
        "copying on the device");
}

}  // namespace collie::cuda
