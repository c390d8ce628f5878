#include "kernels/checks.hpp"
#include "kernels/reference/reference_operations.hpp"
#include "kernels/reference/view.hpp"

namespace collie {

using reference::View;

// The two channels of a pair are a point in the plane, which is turned by position · θ_j.
void ReferenceOperations::rope(Tensor& x, const Tensor& cosines, const Tensor& sines,
                               std::span<const int32_t> positions, bool inverse, RotaryPairs pairs) {
  check::rope(dtype(), x, cosines, sines, positions);
  const View xv(x), cv(cosines), sv(sines);
  const int64_t half = cosines.dim(1);
  for (int64_t t = 0; t < x.dim(0); ++t) {
    for (int64_t h = 0; h < x.dim(1); ++h) {
      for (int64_t j = 0; j < half; ++j) {
        const int32_t position = positions[static_cast<size_t>(t)];
        const double c = cv(position, j), s = inverse ? -sv(position, j) : sv(position, j);
        const bool neighbours = pairs == RotaryPairs::neighbours;
        const int64_t a = neighbours ? 2 * j : j, b = neighbours ? 2 * j + 1 : j + half;
        const double first = xv(t, h, a), second = xv(t, h, b);
        xv(t, h, a) = first * c - second * s;
        xv(t, h, b) = second * c + first * s;
      }
    }
  }
}

}  // namespace collie
