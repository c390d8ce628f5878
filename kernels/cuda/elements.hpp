// Turns a view's element type into a kernel's template argument, and decides how many elements one memory
// access takes. For .cu files.
#pragma once

#include <initializer_list>

#include "kernels/cuda/bfloat16.hpp"
#include "kernels/cuda/launch.hpp"
#include "kernels/cuda/views.hpp"

namespace collie::cuda {

// A view whose element type is known.
template <class T>
struct Typed {
  T* data;
  int64_t rows, width, stride;
  __device__ T* row(int64_t index) const { return data + index * stride; }
};
template <class T>
Typed<T> typed(const Matrix& x) {
  return {static_cast<T*>(x.data), x.rows, x.width, x.stride};
}

// Calls f with a value of the element's type.
template <class F>
void with_type(Element element, F f) {
  if (element == Element::bf16)
    f(bfloat16{});
  else
    f(float{});
}

// Calls f with std::integral_constant<int, V>. V is the number of elements of type T per access: 16 bytes'
// worth if all views allow it, else one.
template <class T, class F>
void with_width(std::initializer_list<Matrix> views, F f) {
  constexpr int full = 16 / sizeof(T);
  bool aligned = true;
  for (const Matrix& x : views) {
    const auto address = reinterpret_cast<uintptr_t>(x.data);
    const auto size = static_cast<int64_t>(x.element == Element::bf16 ? 2 : 4);
    aligned = aligned && address % static_cast<uintptr_t>(full * size > 16 ? 16 : full * size) == 0 &&
              x.width % full == 0 && (x.rows <= 1 || x.stride % full == 0);
  }
  if (aligned)
    f(std::integral_constant<int, full>{});
  else
    f(std::integral_constant<int, 1>{});
}

// Turns the views into one row if no view has gaps between its rows.
inline bool flatten(std::initializer_list<Matrix*> views) {
  for (const Matrix* x : views)
    if (x->rows > 1 && x->stride != x->width) return false;
  for (Matrix* x : views) *x = {x->data, x->element, 1, x->rows * x->width, x->rows * x->width};
  return true;
}

// Loads and stores V elements as floats.
template <int V, class T>
__device__ __forceinline__ void load(const T* from, float (&values)[V]) {
  const auto pack = *reinterpret_cast<const Pack<T, V>*>(from);
#pragma unroll
  for (int i = 0; i < V; ++i) values[i] = to_float(pack.values[i]);
}
template <int V, class T>
__device__ __forceinline__ void store(T* to, const float (&values)[V]) {
  Pack<T, V> pack;
#pragma unroll
  for (int i = 0; i < V; ++i) pack.values[i] = from_float<T>(values[i]);
  *reinterpret_cast<Pack<T, V>*>(to) = pack;
}

}  // namespace collie::cuda
