// Sums whose bits do not depend on the order of additions: each term is rounded to a multiple of a unit that
// is so large that no sum is rounded any more (pre-rounding: Demmel & Nguyen, ARITH 2013). So ranks, threads
// and blocks of a GPU may add in any order.
#pragma once

#include <cmath>
#include <cstdint>

// nvcc reads this file, too.
#ifdef __CUDACC__
#define COLLIE_EVERYWHERE __host__ __device__
#else
#define COLLIE_EVERYWHERE
#endif

namespace collie {

// What to add to and subtract from a term, so that it is rounded to a multiple of the unit, if there are
// `count` terms from 0 to bound². A term is off by at most 2^-51 · count · bound² then.
COLLIE_EVERYWHERE inline double rounding_anchor(double bound, int64_t count) {
  int exponent = 0;
  std::frexp(bound * bound * static_cast<double>(count), &exponent);
  return std::ldexp(1.5, exponent + 1);
}

// `term` rounded so. The two operations must not be contracted or reordered. NaN stays NaN.
COLLIE_EVERYWHERE inline double rounded_term(double term, double anchor) {
  return (term + anchor) - anchor;
}

}  // namespace collie

#undef COLLIE_EVERYWHERE
