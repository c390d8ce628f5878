#include "kernels/reference/reference_operations.hpp"

#include "kernels/checks.hpp"
#include "kernels/host_data.hpp"

namespace collie {

ReferenceOperations::ReferenceOperations(std::shared_ptr<MemoryAccount> account)
    : Operations(DType::f64, std::move(account)) {}

Tensor ReferenceOperations::empty(const Shape& shape, DType dtype, Category category) {
  return Tensor::host(shape, dtype, account(), category);
}

void ReferenceOperations::fill(Tensor& x, double value) {
  host::fill(x, value);
}

void ReferenceOperations::copy(const Tensor& from, Tensor& to) {
  check::copy(from, to);
  host::copy(from, to);
}

void ReferenceOperations::upload(std::span<const float> values, Tensor& x) {
  host::upload(values, x);
}
void ReferenceOperations::download(const Tensor& x, std::span<float> values) {
  host::download(x, values);
}

std::unique_ptr<Operations> make_reference_operations(std::shared_ptr<MemoryAccount> account) {
  return std::make_unique<ReferenceOperations>(std::move(account));
}

}  // namespace collie
