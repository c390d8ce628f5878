#include "kernels/cpu/cpu_operations.hpp"

#include <cstring>

#include "kernels/checks.hpp"
#include "kernels/cpu/bfloat16_product.hpp"
#include "kernels/cpu/pieces.hpp"
#include "kernels/host_data.hpp"

namespace collie {

CpuOperations::CpuOperations(DType dtype, int threads, std::shared_ptr<MemoryAccount> account)
    : Operations(dtype, std::move(account)), buffers_(threads), arena_(threads) {
  COLLIE_ASSERT(dtype == DType::f32 || dtype == DType::bf16, "there are no operations in {} on the CPU",
                name(dtype));
  if (dtype == DType::bf16) cpu::bfloat16_products();  // finds a wrong setting before any work is done
}

Tensor CpuOperations::empty(const Shape& shape, DType dtype, Category category) {
  return Tensor::host(shape, dtype, account(), category);
}

void CpuOperations::fill(Tensor& x, double value) {
  if (x.numel() <= cpu::piece_size) return host::fill(x, value);
  const int64_t width = x.numel() / x.dim(0);
  arena_.for_pieces(x.dim(0), cpu::rows_per_piece(width),
                    [&](int64_t first, int64_t last) { host::fill(x.rows(first, last), value); });
}

void CpuOperations::copy(const Tensor& from, Tensor& to) {
  check::copy(from, to);
  if (from.numel() <= cpu::piece_size) return host::copy(from, to);
  const int64_t width = from.numel() / from.dim(0);
  arena_.for_pieces(from.dim(0), cpu::rows_per_piece(width), [&](int64_t first, int64_t last) {
    host::copy(from.rows(first, last), to.rows(first, last));
  });
}

void CpuOperations::upload(std::span<const float> values, Tensor& x) {
  host::upload(values, x);
}
void CpuOperations::download(const Tensor& x, std::span<float> values) {
  host::download(x, values);
}

std::unique_ptr<Operations> make_cpu_operations(int threads, std::shared_ptr<MemoryAccount> account,
                                                DType dtype) {
  return std::make_unique<CpuOperations>(dtype, threads, std::move(account));
}

}  // namespace collie
