#include "kernels/operations.hpp"

#include <algorithm>

#include "kernels/checks.hpp"

namespace collie {

double ElementwiseUpdate::gradient_factor_on_host() const {
  return gradient_factor.defined() ? *gradient_factor.data<double>() : 1;
}

int64_t AttentionSpans::queries_of_one_key(size_t document) const {
  const int64_t queries = query_starts[document + 1] - query_starts[document];
  const int64_t keys = key_starts[document + 1] - key_starts[document];
  if (past_keys > 0 || (!more_keys.empty() && more_keys[document])) return 0;
  if (causal ? window == 1 : keys == 1) return queries;
  return causal && keys == queries ? std::min<int64_t>(queries, 1) : 0;
}

Operations::Operations(DType dtype, std::shared_ptr<MemoryAccount> account)
    : dtype_(dtype), account_(std::move(account)) {
  COLLIE_ASSERT(account_ != nullptr, "operations need a memory account");
}

void Operations::for_host_pieces(int64_t count, int64_t piece, const OnPiece& f) {
  for (int64_t first = 0; first < count; first += piece) f(first, std::min(first + piece, count));
}

std::unique_ptr<Offloaded> Operations::offload(std::vector<Tensor> tensors) {
  return offload_nowhere(std::move(tensors));
}

void Operations::convert(const Tensor& from, Tensor& to) {
  check::convert(dtype(), from, to);
  COLLIE_ASSERT(accumulation_dtype() == dtype(), "a table of {} does not convert", name(dtype()));
  copy(from, to);
}

Tensor Operations::to_host(const Tensor& x, Category category) {
  Tensor values = empty(x.shape(), x.dtype(), category);
  copy(x, values);
  return values;
}

void Operations::from_host(const Tensor& values, Tensor& x) {
  check::from_host(values, x);
  copy(values, x);
}

Deferred<std::vector<double>> Operations::read(const Tensor& values) {
  check::read(values);
  const double* const data = values.data<double>();
  return std::vector<double>(data, data + values.numel());
}

void Operations::gemm_add_row(GemmForm form, const Tensor& a, const Tensor& b, const Tensor& row, Tensor& c) {
  check::gemm_add_row(dtype(), form, a, b, row, c);
  gemm(form, a, b, c, false);
  add_row(c, row);
}

void Operations::add_rms_norm(const Tensor& x, const Tensor& residual, const Tensor& weight,
                              double weight_offset, double eps, Tensor& sum, Tensor& y, Tensor& inverse_rms) {
  check::add_rms_norm(dtype(), x, residual, weight, sum, y, inverse_rms);
  add(x, residual, sum);
  rms_norm(sum, weight, weight_offset, eps, y, inverse_rms);
}

void Operations::add_layer_norm(const Tensor& x, const Tensor& residual, const Tensor& weight,
                                const Tensor& bias, double eps, Tensor& sum, Tensor& y, Tensor& statistics) {
  check::add_layer_norm(dtype(), x, residual, weight, bias, sum, y, statistics);
  add(x, residual, sum);
  layer_norm(sum, weight, bias, eps, y, statistics);
}

}  // namespace collie
