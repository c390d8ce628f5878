#include "kernels/checks.hpp"
#include "kernels/reference/reference_operations.hpp"
#include "kernels/reference/view.hpp"

namespace collie {

using reference::View;

// Element j of a head's first half and element j of its second half are a point in the plane, which is turned
// by position · θ_j.
void ReferenceOperations::rope(Tensor& x, const Tensor& cosines, const Tensor& sines,
                               std::span<const int32_t> positions, bool inverse) {
  check::rope(dtype(), x, cosines, sines, positions);
  const View xv(x), cv(cosines), sv(sines);
  const int64_t half = cosines.dim(1);
  for (int64_t t = 0; t < x.dim(0); ++t) {
    for (int64_t h = 0; h < x.dim(1); ++h) {
      for (int64_t j = 0; j < half; ++j) {
        const int32_t position = positions[static_cast<size_t>(t)];
        const double c = cv(position, j), s = inverse ? -sv(position, j) : sv(position, j);
        const double first = xv(t, h, j), second = xv(t, h, j + half);
        xv(t, h, j) = first * c - second * s;
        xv(t, h, j + half) = second * c + first * s;
      }
    }
  }
}

}  // namespace collie
