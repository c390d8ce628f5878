#include "kernels/checks.hpp"
#include "kernels/reference/reference_operations.hpp"
#include "kernels/reference/view.hpp"

namespace collie {

using reference::View;

void ReferenceOperations::gemm(GemmForm form, const Tensor& a, const Tensor& b, Tensor& c, bool accumulate) {
  const auto [m, n, k] = check::gemm(dtype(), form, a, b, c);
  const View av(a), bv(b), cv(c);
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (int64_t p = 0; p < k; ++p)
        sum += (form == GemmForm::tn ? av(p, i) : av(i, p)) * (form == GemmForm::nt ? bv(j, p) : bv(p, j));
      cv(i, j) = accumulate ? cv(i, j) + sum : sum;
    }
  }
}

}  // namespace collie
