#include <algorithm>
#include <cmath>

#include "kernels/checks.hpp"
#include "kernels/cpu/convert.hpp"
#include "kernels/cpu/cpu_operations.hpp"
#include "kernels/cpu/pieces.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/elementwise.cpp"
#include "hwy/foreach_target.h"

#include "kernels/cpu/vector-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace collie::HWY_NAMESPACE {

using cpu::Elements;

template <class T>
HWY_INLINE void add(const T* a, const T* b, T* out, int64_t n) {
  for_each_vector(n, [&](int64_t i, auto access) HWY_ATTR {
    access.store(hn::Add(access.load(a + i), access.load(b + i)), out + i);
  });
}

template <class T>
HWY_INLINE void scale(T* x, float factor, int64_t n) {
  const Vec f = constant(factor);
  for_each_vector(
      n, [&](int64_t i, auto access) HWY_ATTR { access.store(hn::Mul(access.load(x + i), f), x + i); });
}

// Comparisons with NaN are false, so NaN stays, which Min and Max do not promise.
template <class T>
HWY_INLINE void clamp(T* x, float limit, int64_t n) {
  const Vec most = constant(limit), least = constant(-limit);
  for_each_vector(n, [&](int64_t i, auto access) HWY_ATTR {
    const Vec v = access.load(x + i);
    const Vec below = hn::IfThenElse(hn::Gt(v, most), most, v);
    access.store(hn::IfThenElse(hn::Lt(below, least), least, below), x + i);
  });
}

template <class T, class Factor>
HWY_INLINE void multiply(const T* x, const Factor* factors, T* out, int64_t n) {
  for_each_vector(n, [&](int64_t i, auto access) HWY_ATTR {
    access.store(hn::Mul(access.load(x + i), access.load(factors + i)), out + i);
  });
}

template <class From, class To>
HWY_INLINE void convert(const From* from, To* to, int64_t n) {
  for_each_vector(n, [&](int64_t i, auto access) HWY_ATTR { access.store(access.load(from + i), to + i); });
}

void add_vectors(Elements a, Elements b, Elements out, int64_t n) {
  typed([&](auto... x) HWY_ATTR { add(x..., n); }, a, b, out);
}

// x and out are of one type, factors may be of another.
void multiply_vectors(Elements x, Elements factors, Elements out, int64_t n) {
  typed([&](auto* f)
            HWY_ATTR { typed([&](auto* from, auto* to) HWY_ATTR { multiply(from, f, to, n); }, x, out); },
        factors);
}

void scale_vector(Elements x, float factor, int64_t n) {
  typed([&](auto* elements) HWY_ATTR { scale(elements, factor, n); }, x);
}

void clamp_vector(Elements x, float limit, int64_t n) {
  typed([&](auto* elements) HWY_ATTR { clamp(elements, limit, n); }, x);
}

void convert_vector(Elements from, Elements to, int64_t n) {
  typed([&](auto* source) HWY_ATTR { typed([&](auto* target) HWY_ATTR { convert(source, target, n); }, to); },
        from);
}

}  // namespace collie::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace collie {

HWY_EXPORT(add_vectors);
HWY_EXPORT(multiply_vectors);
HWY_EXPORT(scale_vector);
HWY_EXPORT(clamp_vector);
HWY_EXPORT(convert_vector);

using cpu::at;

void cpu::convert(Elements from, Elements to, int64_t n) {
  HWY_DYNAMIC_DISPATCH(convert_vector)(from, to, n);
}

void CpuOperations::convert(const Tensor& from, Tensor& to) {
  check::convert(dtype(), from, to);
  if (from.dtype() == to.dtype()) return copy(from, to);
  cpu::for_each_piece(arena_, cpu::common_layout({&from, &to}),
                      [&](int64_t row, int64_t first, int64_t count) {
                        cpu::convert(at(from, row, first), at(to, row, first), count);
                      });
}

void CpuOperations::add(const Tensor& a, const Tensor& b, Tensor& out) {
  check::add(dtype(), a, b, out);
  const auto kernel = &HWY_DYNAMIC_DISPATCH(add_vectors);
  cpu::for_each_piece(arena_, cpu::common_layout({&a, &b, &out}),
                      [&](int64_t row, int64_t first, int64_t count) {
                        kernel(at(a, row, first), at(b, row, first), at(out, row, first), count);
                      });
}

void CpuOperations::scale(Tensor& x, double factor) {
  check::scale(dtype(), x);
  const auto kernel = &HWY_DYNAMIC_DISPATCH(scale_vector);
  cpu::for_each_piece(arena_, cpu::common_layout({&x}), [&](int64_t row, int64_t first, int64_t count) {
    kernel(at(x, row, first), static_cast<float>(factor), count);
  });
}

void CpuOperations::divide_by_root(Tensor& x, const Tensor& square, double least) {
  check::divide_by_root(dtype(), x, square);
  scale(x, 1 / std::max(std::sqrt(*square.data<double>()), least));
}

void CpuOperations::clamp(Tensor& x, double limit) {
  check::clamp(dtype(), x, limit);
  const auto kernel = &HWY_DYNAMIC_DISPATCH(clamp_vector);
  cpu::for_each_piece(arena_, cpu::common_layout({&x}), [&](int64_t row, int64_t first, int64_t count) {
    kernel(at(x, row, first), static_cast<float>(limit), count);
  });
}

void CpuOperations::add_row(Tensor& x, const Tensor& row) {
  check::add_row(dtype(), x, row);
  const auto kernel = &HWY_DYNAMIC_DISPATCH(add_vectors);
  arena_.for_pieces(x.dim(0), cpu::rows_per_piece(x.dim(1)), [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) kernel(at(x, i), cpu::elements_of(row), at(x, i), x.dim(1));
  });
}

void CpuOperations::scale_columns(const Tensor& x, const Tensor& factors, Tensor& out) {
  check::scale_columns(dtype(), x, factors, out);
  const auto kernel = &HWY_DYNAMIC_DISPATCH(multiply_vectors);
  arena_.for_pieces(x.dim(0), cpu::rows_per_piece(x.dim(1)), [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) kernel(at(x, i), cpu::elements_of(factors), at(out, i), x.dim(1));
  });
}

}  // namespace collie
#endif  // HWY_ONCE
