#include "kernels/checks.hpp"
#include "kernels/reference/reference_operations.hpp"
#include "kernels/reference/view.hpp"

namespace collie {

using reference::View;

void ReferenceOperations::embedding(const Tensor& table, std::span<const int32_t> ids, Tensor& out) {
  check::embedding(dtype(), table, ids, out);
  const View tv(table), ov(out);
  for (int64_t t = 0; t < ov.rows(); ++t) {
    const int32_t id = ids[static_cast<size_t>(t)];
    for (int64_t j = 0; j < ov.width(); ++j) ov(t, j) = id == absent_id ? 0 : tv(id, j);
  }
}

void ReferenceOperations::embedding_backward(std::span<const int32_t> ids, const Tensor& d_out,
                                             Tensor& d_table, bool accumulate) {
  check::embedding(dtype(), d_table, ids, d_out);
  const View dv(d_out), tv(d_table);
  if (!accumulate) fill(d_table, 0);
  for (int64_t t = 0; t < dv.rows(); ++t) {
    const int32_t id = ids[static_cast<size_t>(t)];
    if (id == absent_id) continue;
    for (int64_t j = 0; j < dv.width(); ++j) tv(id, j) += dv(t, j);
  }
}

}  // namespace collie
