#include "kernels/factorisations.hpp"

#include <algorithm>
#include <limits>

#include "base/error.hpp"
#include "kernels/cpu/blas.hpp"
#include "kernels/host_data.hpp"

namespace collie {

// LAPACK's matrices are column by column, so they are transposed on their way in and out.
namespace {

int lapack_size(int64_t size) {
  COLLIE_ASSERT(size > 0 && size <= std::numeric_limits<int>::max(), "a matrix with a side of {}", size);
  return static_cast<int>(size);
}

void check_done(const char* routine, int info) {
  COLLIE_ASSERT(info >= 0, "{}: argument {} is wrong", routine, -info);
  if (info > 0) throw RunError("{} did not converge; a value of the matrix may not be finite", routine);
}

// Calls routine(work, size) twice: the first time it says in work[0] how long work should be.
template <class Routine>
void with_work(const char* name, Routine routine) {
  std::vector<float> work(1);
  check_done(name, routine(work.data(), -1));
  work.resize(static_cast<size_t>(work[0]) + 1);
  check_done(name, routine(work.data(), static_cast<int>(work.size())));
}

}  // namespace

SingularValues singular_values(std::span<const float> matrix, int64_t rows, int64_t columns) {
  using Gesdd =
      void(const char* job, const int* m, const int* n, float* a, const int* lda, float* s, float* u,
           const int* ldu, float* vt, const int* ldvt, float* work, const int* lwork, int* iwork, int* info);
  const auto gesdd = reinterpret_cast<Gesdd*>(cpu::blas_symbol("sgesdd_"));
  const int m = lapack_size(rows), n = lapack_size(columns), k = std::min(m, n);
  const auto size = [](int a, int b) { return static_cast<size_t>(a) * static_cast<size_t>(b); };
  std::vector<float> a = host::transposed(matrix, rows, columns), s(static_cast<size_t>(k)), u(size(m, k)),
                     vt(size(k, n));
  std::vector<int> integers(size(8, k));
  with_work("sgesdd", [&](float* work, int length) {
    int info = 0;
    gesdd("S", &m, &n, a.data(), &m, s.data(), u.data(), &m, vt.data(), &k, work, &length, integers.data(),
          &info);
    return info;
  });
  return {host::transposed(u, k, m), std::move(s), host::transposed(vt, n, k)};
}

OrthogonalFactors orthogonal_factors(std::span<const float> matrix, int64_t rows, int64_t columns) {
  using Geqrf = void(const int* m, const int* n, float* a, const int* lda, float* tau, float* work,
                     const int* lwork, int* info);
  using Orgqr = void(const int* m, const int* n, const int* k, float* a, const int* lda, const float* tau,
                     float* work, const int* lwork, int* info);
  const auto geqrf = reinterpret_cast<Geqrf*>(cpu::blas_symbol("sgeqrf_"));
  const auto orgqr = reinterpret_cast<Orgqr*>(cpu::blas_symbol("sorgqr_"));
  const int m = lapack_size(rows), n = lapack_size(columns), k = std::min(m, n);
  std::vector<float> a = host::transposed(matrix, rows, columns), tau(static_cast<size_t>(k));
  with_work("sgeqrf", [&](float* work, int length) {
    int info = 0;
    geqrf(&m, &n, a.data(), &m, tau.data(), work, &length, &info);
    return info;
  });
  OrthogonalFactors result;
  result.r.resize(static_cast<size_t>(k) * static_cast<size_t>(n));
  for (int i = 0; i < k; ++i)
    for (int j = i; j < n; ++j)
      result.r[static_cast<size_t>(int64_t{i} * n + j)] = a[static_cast<size_t>(int64_t{j} * m + i)];
  with_work("sorgqr", [&](float* work, int length) {
    int info = 0;
    orgqr(&m, &k, &k, a.data(), &m, tau.data(), work, &length, &info);
    return info;
  });
  a.resize(static_cast<size_t>(k) * static_cast<size_t>(m));
  result.q = host::transposed(a, k, m);
  return result;
}

}  // namespace collie
