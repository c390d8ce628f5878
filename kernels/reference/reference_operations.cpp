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

void ReferenceOperations::convert(const Tensor& from, Tensor& to) {
  check::convert(dtype(), from, to);
  copy(from, to);  // there is one dtype here
}

void ReferenceOperations::upload(std::span<const float> values, Tensor& x) {
  host::upload(values, x);
}
void ReferenceOperations::download(const Tensor& x, std::span<float> values) {
  host::download(x, values);
}

Tensor ReferenceOperations::to_host(const Tensor& x, Category category) {
  Tensor values = empty(x.shape(), x.dtype(), category);
  copy(x, values);
  return values;
}

void ReferenceOperations::from_host(const Tensor& values, Tensor& x) {
  check::from_host(values, x);
  copy(values, x);
}

std::unique_ptr<Operations> make_reference_operations(std::shared_ptr<MemoryAccount> account) {
  return std::make_unique<ReferenceOperations>(std::move(account));
}

}  // namespace collie
