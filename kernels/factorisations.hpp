// Factorisations of a matrix in the host's memory, by LAPACK, in float32 and with one thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace collie {

// matrix [rows, columns] = u [rows, k] diag(s) v [k, columns], k = min(rows, columns), row by row; s falls.
struct SingularValues {
  std::vector<float> u, s, v;
};
// Throws RunError if it does not converge, as where a value is not finite.
SingularValues singular_values(std::span<const float> matrix, int64_t rows, int64_t columns);

// matrix [rows, columns] = q [rows, k] r [k, columns], k = min(rows, columns), row by row; the columns of q
// are orthonormal, and r is zero below its diagonal.
struct OrthogonalFactors {
  std::vector<float> q, r;
};
OrthogonalFactors orthogonal_factors(std::span<const float> matrix, int64_t rows, int64_t columns);

}  // namespace collie
