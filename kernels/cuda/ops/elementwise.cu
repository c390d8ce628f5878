#include "kernels/cuda/ops/elementwise.hpp"

#include "kernels/cuda/ops/packs.hpp"

namespace collie::cuda {

namespace {

template <int V, class T>
__global__ void fill_kernel(Typed<T> x, float value) {
  for_packs<V>(x.rows, x.width, [&](int64_t row, int64_t column) {
    float values[V];
    for (float& each : values) each = value;
    store<V>(x.row(row) + column, values);
  });
}

template <int V, class From, class To>
__global__ void convert_kernel(Typed<From> from, Typed<To> to) {
  for_packs<V>(from.rows, from.width, [&](int64_t row, int64_t column) {
    float values[V];
    load<V>(from.row(row) + column, values);
    store<V>(to.row(row) + column, values);
  });
}

template <int V, class T>
__global__ void add_kernel(Typed<T> a, Typed<T> b, Typed<T> out) {
  for_packs<V>(a.rows, a.width, [&](int64_t row, int64_t column) {
    float x[V], y[V];
    load<V>(a.row(row) + column, x);
    load<V>(b.row(row) + column, y);
#pragma unroll
    for (int i = 0; i < V; ++i) x[i] += y[i];
    store<V>(out.row(row) + column, x);
  });
}

template <int V, class T>
__global__ void scale_kernel(Typed<T> x, float factor) {
  for_packs<V>(x.rows, x.width, [&](int64_t row, int64_t column) {
    float values[V];
    load<V>(x.row(row) + column, values);
#pragma unroll
    for (int i = 0; i < V; ++i) values[i] *= factor;
    store<V>(x.row(row) + column, values);
  });
}

// Comparisons with NaN are false, so NaN stays.
template <int V, class T>
__global__ void clamp_kernel(Typed<T> x, float limit) {
  for_packs<V>(x.rows, x.width, [&](int64_t row, int64_t column) {
    float values[V];
    load<V>(x.row(row) + column, values);
#pragma unroll
    for (float& each : values) each = each > limit ? limit : each < -limit ? -limit : each;
    store<V>(x.row(row) + column, values);
  });
}

template <int V, class T>
__global__ void divide_by_root_kernel(Typed<T> x, const double* square, double least) {
  const double root = sqrt(*square);
  const auto factor = static_cast<float>(1 / (root < least ? least : root));
  for_packs<V>(x.rows, x.width, [&](int64_t row, int64_t column) {
    float values[V];
    load<V>(x.row(row) + column, values);
#pragma unroll
    for (int i = 0; i < V; ++i) values[i] *= factor;
    store<V>(x.row(row) + column, values);
  });
}

template <int V, class T>
__global__ void add_row_kernel(Typed<T> x, const T* added) {
  for_packs<V>(x.rows, x.width, [&](int64_t row, int64_t column) {
    float values[V], more[V];
    load<V>(x.row(row) + column, values);
    load<V>(added + column, more);
#pragma unroll
    for (int i = 0; i < V; ++i) values[i] += more[i];
    store<V>(x.row(row) + column, values);
  });
}

template <int V, class T, class Factor>
__global__ void scale_columns_kernel(Typed<T> x, const Factor* factors, Typed<T> out) {
  for_packs<V>(x.rows, x.width, [&](int64_t row, int64_t column) {
    float values[V], by[V];
    load<V>(x.row(row) + column, values);
    load<V>(factors + column, by);
#pragma unroll
    for (int i = 0; i < V; ++i) values[i] *= by[i];
    store<V>(out.row(row) + column, values);
  });
}

}  // namespace

void fill(cudaStream_t stream, const Matrix& whole, float value) {
  Matrix x = whole;
  flatten({&x});
  with_type(x.element, [&](auto type) {
    using T = decltype(type);
    with_width<T>({x}, [&](auto v) {
      launch(stream, over_packs<v>(x), "fill", fill_kernel<v, T>, typed<T>(x), value);
    });
  });
}

void convert(cudaStream_t stream, const Matrix& whole_from, const Matrix& whole_to) {
  Matrix from = whole_from, to = whole_to;
  flatten({&from, &to});
  // Four elements at a time: 16 bytes on the float32 side.
  const auto run = [&](auto source, auto target) {
    using From = decltype(source);
    using To = decltype(target);
    with_width<float>({from, to}, [&](auto v) {
      launch(stream, over_packs<v>(from), "convert", convert_kernel<v, From, To>, typed<From>(from),
             typed<To>(to));
    });
  };
  if (from.element == Element::bf16)
    run(bfloat16{}, float{});
  else
    run(float{}, bfloat16{});
}

void add(cudaStream_t stream, const Matrix& whole_a, const Matrix& whole_b, const Matrix& whole_out) {
  Matrix a = whole_a, b = whole_b, out = whole_out;
  flatten({&a, &b, &out});
  with_type(a.element, [&](auto type) {
    using T = decltype(type);
    with_width<T>({a, b, out}, [&](auto v) {
      launch(stream, over_packs<v>(a), "add", add_kernel<v, T>, typed<T>(a), typed<T>(b), typed<T>(out));
    });
  });
}

void scale(cudaStream_t stream, const Matrix& whole, float factor) {
  Matrix x = whole;
  flatten({&x});
  with_type(x.element, [&](auto type) {
    using T = decltype(type);
    with_width<T>({x}, [&](auto v) {
      launch(stream, over_packs<v>(x), "scale", scale_kernel<v, T>, typed<T>(x), factor);
    });
  });
}

void divide_by_root(cudaStream_t stream, const Matrix& whole, const double* square, double least) {
  Matrix x = whole;
  flatten({&x});
  with_type(x.element, [&](auto type) {
    using T = decltype(type);
    with_width<T>({x}, [&](auto v) {
      launch(stream, over_packs<v>(x), "divide_by_root", divide_by_root_kernel<v, T>, typed<T>(x), square,
             least);
    });
  });
}

void clamp(cudaStream_t stream, const Matrix& whole, float limit) {
  Matrix x = whole;
  flatten({&x});
  with_type(x.element, [&](auto type) {
    using T = decltype(type);
    with_width<T>({x}, [&](auto v) {
      launch(stream, over_packs<v>(x), "clamp", clamp_kernel<v, T>, typed<T>(x), limit);
    });
  });
}

void add_row(cudaStream_t stream, const Matrix& x, const void* row) {
  const Matrix added{const_cast<void*>(row), x.element, 1, x.width, x.width};
  with_type(x.element, [&](auto type) {
    using T = decltype(type);
    with_width<T>({x, added}, [&](auto v) {
      launch(stream, over_packs<v>(x), "add_row", add_row_kernel<v, T>, typed<T>(x),
             static_cast<const T*>(row));
    });
  });
}

void scale_columns(cudaStream_t stream, const Matrix& x, const void* factors, Element factor_element,
                   const Matrix& out) {
  const Matrix by{const_cast<void*>(factors), factor_element, 1, x.width, x.width};
  with_type(x.element, [&](auto type) {
    using T = decltype(type);
    with_type(factor_element, [&](auto factor_type) {
      using Factor = decltype(factor_type);
      with_width<float>({x, by, out}, [&](auto v) {
        launch(stream, over_packs<v>(x), "scale_columns", scale_columns_kernel<v, T, Factor>, typed<T>(x),
               static_cast<const Factor*>(factors), typed<T>(out));
      });
    });
  });
}

}  // namespace collie::cuda
