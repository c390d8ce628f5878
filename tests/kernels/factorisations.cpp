#include "kernels/factorisations.hpp"

#include <cmath>

#include "tests/catch.hpp"
#include "tests/kernels/support.hpp"

namespace collie::test {
namespace {

// The largest element of a [m, k] diag(s) b [k, n] - c [m, n].
double largest_difference(const std::vector<float>& a, const std::vector<float>& s,
                          const std::vector<float>& b, const std::vector<float>& c, int64_t m, int64_t n) {
  const auto k = static_cast<int64_t>(s.size());
  double largest = 0;
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (int64_t x = 0; x < k; ++x)
        sum += static_cast<double>(a[static_cast<size_t>(i * k + x)]) * s[static_cast<size_t>(x)] *
               b[static_cast<size_t>(x * n + j)];
      largest = std::max(largest, std::abs(sum - c[static_cast<size_t>(i * n + j)]));
    }
  return largest;
}

// The largest element of aᵀ a - 1, a [m, k].
double distance_from_orthonormal(const std::vector<float>& a, int64_t m, int64_t k) {
  double largest = 0;
  for (int64_t x = 0; x < k; ++x)
    for (int64_t y = 0; y < k; ++y) {
      double sum = 0;
      for (int64_t i = 0; i < m; ++i)
        sum += static_cast<double>(a[static_cast<size_t>(i * k + x)]) * a[static_cast<size_t>(i * k + y)];
      largest = std::max(largest, std::abs(sum - (x == y ? 1 : 0)));
    }
  return largest;
}

}  // namespace

TEST_CASE("the factors of a matrix give it back, and are orthonormal", "[factorisations]") {
  const auto [m, n] = GENERATE(table<int64_t, int64_t>({{1, 1}, {7, 4}, {4, 7}, {33, 33}, {96, 40}, {1, 9}}));
  CAPTURE(m, n);
  const int64_t k = std::min(m, n);
  const std::vector<float> matrix = random_values({m, n}, 71).data;
  const SingularValues svd = singular_values(matrix, m, n);
  CHECK(largest_difference(svd.u, svd.s, svd.v, matrix, m, n) < 1e-5);
  CHECK(distance_from_orthonormal(svd.u, m, k) < 1e-5);
  CHECK(std::is_sorted(svd.s.rbegin(), svd.s.rend()));
  const OrthogonalFactors qr = orthogonal_factors(matrix, m, n);
  CHECK(largest_difference(qr.q, std::vector<float>(static_cast<size_t>(k), 1), qr.r, matrix, m, n) < 1e-5);
  CHECK(distance_from_orthonormal(qr.q, m, k) < 1e-5);
  for (int64_t i = 0; i < k; ++i)
    for (int64_t j = 0; j < i; ++j) CHECK(qr.r[static_cast<size_t>(i * n + j)] == 0);
}

}  // namespace collie::test
