// Bytes per element, float32 / bfloat16: forward 8 / 4, backward 12 / 6.
#include "kernels/cuda/ops/gelu.hpp"

#include "kernels/cuda/ops/packs.hpp"

namespace collie::cuda {

namespace {

// Each form has `phi` and the derivative of x · phi(x). For large |x| `phi` is 0 or 1, without losing the
// digits of small values.
struct ByErf {
  __device__ static float phi(float x) { return 0.5F * erfcf(-0.70710678F * x); }
  __device__ static float derivative(float x) {
    constexpr float density = 0.39894228F;  // 1 / √(2π)
    return phi(x) + x * density * expf(-0.5F * x * x);
  }
};

// (1 + tanh(u)) / 2 is the sigmoid of 2u.
struct ByTanh {
  static constexpr float twice_root = 1.5957691F, cubic = 0.044715F;  // 2 √(2/π)
  __device__ static float phi(float x) { return 1.0F / (1.0F + expf(-twice_root * (x + cubic * x * x * x))); }
  __device__ static float derivative(float x) {
    const float s = phi(x), bounded = fminf(fmaxf(x, -20.0F), 20.0F);  // beyond this, s (1 - s) is 0
    return s + x * s * (1.0F - s) * twice_root * (1.0F + 3.0F * cubic * bounded * bounded);
  }
};

template <int V, class Form, class T>
__global__ void gelu_kernel(Typed<T> x, Typed<T> out) {
  for_packs<V>(x.rows, x.width, [&](int64_t row, int64_t column) {
    float values[V];
    load<V>(x.row(row) + column, values);
#pragma unroll
    for (int i = 0; i < V; ++i) values[i] *= Form::phi(values[i]);
    store<V>(out.row(row) + column, values);
  });
}

template <int V, class Form, class T>
__global__ void gelu_backward_kernel(Typed<T> x, Typed<T> d_out, Typed<T> dx) {
  for_packs<V>(x.rows, x.width, [&](int64_t row, int64_t column) {
    float values[V], d[V];
    load<V>(x.row(row) + column, values);
    load<V>(d_out.row(row) + column, d);
#pragma unroll
    for (int i = 0; i < V; ++i) d[i] *= Form::derivative(values[i]);
    store<V>(dx.row(row) + column, d);
  });
}

template <class F>
void with_form(GeluForm form, F f) {
  if (form == GeluForm::erf)
    f(ByErf{});
  else
    f(ByTanh{});
}

}  // namespace

void gelu(cudaStream_t stream, GeluForm form, const Matrix& whole_x, const Matrix& whole_out) {
  Matrix x = whole_x, out = whole_out;
  flatten({&x, &out});
  with_form(form, [&](auto by) {
    with_type(x.element, [&](auto type) {
      using T = decltype(type);
      with_width<T>({x, out}, [&](auto v) {
        launch(stream, over_packs<v>(x), "gelu", gelu_kernel<v, decltype(by), T>, typed<T>(x), typed<T>(out));
      });
    });
  });
}

void gelu_backward(cudaStream_t stream, GeluForm form, const Matrix& whole_x, const Matrix& whole_d_out,
                   const Matrix& whole_dx) {
  Matrix x = whole_x, d_out = whole_d_out, dx = whole_dx;
  flatten({&x, &d_out, &dx});
  with_form(form, [&](auto by) {
    with_type(x.element, [&](auto type) {
      using T = decltype(type);
      with_width<T>({x, d_out, dx}, [&](auto v) {
        launch(stream, over_packs<v>(x), "gelu_backward", gelu_backward_kernel<v, decltype(by), T>,
               typed<T>(x), typed<T>(d_out), typed<T>(dx));
      });
    });
  });
}

}  // namespace collie::cuda
