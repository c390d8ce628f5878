// Bytes per element, float32 / bfloat16: gated 12 / 6, its backward 20 / 10; plain 8 / 4, its backward 12
// / 6.
#include "kernels/cuda/ops/activations.hpp"

#include "kernels/cuda/ops/packs.hpp"

namespace collie::cuda {

namespace {

// exp(-x) overflows to infinity, whose inverse is the right 0.
__device__ __forceinline__ float sigmoid(float x) {
  return 1.0F / (1.0F + expf(-x));
}

// Each function is x · phi(x), or phi(x) alone. `times` is factor times the function, and `slope_times` is
// factor times the derivative, of a phi that was computed before. For large |x| phi is 0 or 1, without losing
// the digits of small values.
struct Silu {
  __device__ static float phi(float x) { return sigmoid(x); }
  __device__ static float value(float x, float phi) { return x * phi; }
  __device__ static float times(float factor, float x, float phi) { return factor * x * phi; }
  __device__ static float slope_times(float factor, float x, float phi) {
    return factor * phi * (1.0F + x * (1.0F - phi));
  }
};

struct Gelu {
  __device__ static float phi(float x) { return 0.5F * erfcf(-0.70710678F * x); }
  __device__ static float value(float x, float phi) { return x * phi; }
  __device__ static float times(float factor, float x, float phi) { return factor * x * phi; }
  __device__ static float slope_times(float factor, float x, float phi) {
    constexpr float density = 0.39894228F;  // 1 / √(2π)
    return factor * (phi + x * density * expf(-0.5F * x * x));
  }
};

// (1 + tanh(u)) / 2 is the sigmoid of 2u.
struct GeluTanh {
  static constexpr float twice_root = 1.5957691F, cubic = 0.044715F;  // 2 √(2/π)
  __device__ static float phi(float x) { return sigmoid(twice_root * (x + cubic * x * x * x)); }
  __device__ static float value(float x, float phi) { return x * phi; }
  __device__ static float times(float factor, float x, float phi) { return factor * x * phi; }
  __device__ static float slope_times(float factor, float x, float phi) {
    const float bounded = fminf(fmaxf(x, -20.0F), 20.0F);  // beyond this, phi (1 - phi) is 0
    return factor * (phi + x * phi * (1.0F - phi) * twice_root * (1.0F + 3.0F * cubic * bounded * bounded));
  }
};

// Not as a product: an infinity below 0 gives 0.
struct Relu {
  __device__ static float phi(float x) { return x <= 0.0F ? 0.0F : 1.0F; }
  __device__ static float value(float x, float) { return x < 0.0F ? 0.0F : x; }
  __device__ static float times(float factor, float x, float phi) { return factor * value(x, phi); }
  __device__ static float slope_times(float factor, float, float phi) { return factor * phi; }
};

struct Sigmoid {
  __device__ static float phi(float x) { return sigmoid(x); }
  __device__ static float value(float, float phi) { return phi; }
  __device__ static float times(float factor, float, float phi) { return factor * phi; }
  // 1 - phi keeps no digits of what is small.
  __device__ static float slope_times(float factor, float x, float phi) { return factor * phi * sigmoid(-x); }
};

struct Tanh {
  __device__ static float phi(float x) { return tanhf(x); }
  __device__ static float value(float, float phi) { return phi; }
  __device__ static float times(float factor, float, float phi) { return factor * phi; }
  // 1 - phi² in the same way
  __device__ static float slope_times(float factor, float x, float) {
    return factor * 4.0F * sigmoid(2.0F * x) * sigmoid(-2.0F * x);
  }
};

template <class F>
void with_activation(Activation activation, F f) {
  switch (activation) {
    case Activation::silu:
      return f(Silu{});
    case Activation::gelu:
      return f(Gelu{});
    case Activation::gelu_tanh:
      return f(GeluTanh{});
    case Activation::relu:
      return f(Relu{});
    case Activation::sigmoid:
      return f(Sigmoid{});
    case Activation::tanh:
      return f(Tanh{});
  }
}

template <int V, class Function, class T>
__global__ void gated_kernel(Typed<T> gate, Typed<T> up, Typed<T> out) {
  for_packs<V>(gate.rows, gate.width, [&](int64_t row, int64_t column) {
    float g[V], u[V];
    load<V>(gate.row(row) + column, g);
    load<V>(up.row(row) + column, u);
#pragma unroll
    for (int i = 0; i < V; ++i) g[i] = Function::value(g[i], Function::phi(g[i])) * u[i];
    store<V>(out.row(row) + column, g);
  });
}

template <int V, class Function, class T>
__global__ void gated_backward_kernel(Typed<T> gate, Typed<T> up, Typed<T> d_out, Typed<T> d_gate,
                                      Typed<T> d_up) {
  for_packs<V>(gate.rows, gate.width, [&](int64_t row, int64_t column) {
    float g[V], u[V], d[V];
    load<V>(gate.row(row) + column, g);
    load<V>(up.row(row) + column, u);
    load<V>(d_out.row(row) + column, d);
#pragma unroll
    for (int i = 0; i < V; ++i) {
      const float phi = Function::phi(g[i]);
      u[i] = Function::slope_times(d[i] * u[i], g[i], phi);
      d[i] = Function::times(d[i], g[i], phi);
    }
    store<V>(d_gate.row(row) + column, u);
    store<V>(d_up.row(row) + column, d);
  });
}

template <int V, class Function, class T>
__global__ void activate_kernel(Typed<T> x, Typed<T> out) {
  for_packs<V>(x.rows, x.width, [&](int64_t row, int64_t column) {
    float values[V];
    load<V>(x.row(row) + column, values);
#pragma unroll
    for (int i = 0; i < V; ++i) values[i] = Function::value(values[i], Function::phi(values[i]));
    store<V>(out.row(row) + column, values);
  });
}

template <int V, class Function, class T>
__global__ void activate_backward_kernel(Typed<T> x, Typed<T> d_out, Typed<T> dx) {
  for_packs<V>(x.rows, x.width, [&](int64_t row, int64_t column) {
    float values[V], d[V];
    load<V>(x.row(row) + column, values);
    load<V>(d_out.row(row) + column, d);
#pragma unroll
    for (int i = 0; i < V; ++i) d[i] = Function::slope_times(d[i], values[i], Function::phi(values[i]));
    store<V>(dx.row(row) + column, d);
  });
}

}  // namespace

void gated(cudaStream_t stream, Activation activation, const Matrix& whole_gate, const Matrix& whole_up,
           const Matrix& whole_out) {
  Matrix gate = whole_gate, up = whole_up, out = whole_out;
  flatten({&gate, &up, &out});
  with_activation(activation, [&](auto function) {
    with_type(gate.element, [&](auto type) {
      using T = decltype(type);
      with_width<T>({gate, up, out}, [&](auto v) {
        launch(stream, over_packs<v>(gate), "gated", gated_kernel<v, decltype(function), T>, typed<T>(gate),
               typed<T>(up), typed<T>(out));
      });
    });
  });
}

void gated_backward(cudaStream_t stream, Activation activation, const Matrix& whole_gate,
                    const Matrix& whole_up, const Matrix& whole_d_out, const Matrix& whole_d_gate,
                    const Matrix& whole_d_up) {
  Matrix gate = whole_gate, up = whole_up, d_out = whole_d_out, d_gate = whole_d_gate, d_up = whole_d_up;
  flatten({&gate, &up, &d_out, &d_gate, &d_up});
  with_activation(activation, [&](auto function) {
    with_type(gate.element, [&](auto type) {
      using T = decltype(type);
      with_width<T>({gate, up, d_out, d_gate, d_up}, [&](auto v) {
        launch(stream, over_packs<v>(gate), "gated_backward", gated_backward_kernel<v, decltype(function), T>,
               typed<T>(gate), typed<T>(up), typed<T>(d_out), typed<T>(d_gate), typed<T>(d_up));
      });
    });
  });
}

void activate(cudaStream_t stream, Activation activation, const Matrix& whole_x, const Matrix& whole_out) {
  Matrix x = whole_x, out = whole_out;
  flatten({&x, &out});
  with_activation(activation, [&](auto function) {
    with_type(x.element, [&](auto type) {
      using T = decltype(type);
      with_width<T>({x, out}, [&](auto v) {
        launch(stream, over_packs<v>(x), "activate", activate_kernel<v, decltype(function), T>, typed<T>(x),
               typed<T>(out));
      });
    });
  });
}

void activate_backward(cudaStream_t stream, Activation activation, const Matrix& whole_x,
                       const Matrix& whole_d_out, const Matrix& whole_dx) {
  Matrix x = whole_x, d_out = whole_d_out, dx = whole_dx;
  flatten({&x, &d_out, &dx});
  with_activation(activation, [&](auto function) {
    with_type(x.element, [&](auto type) {
      using T = decltype(type);
      with_width<T>({x, d_out, dx}, [&](auto v) {
        launch(stream, over_packs<v>(x), "activate_backward",
               activate_backward_kernel<v, decltype(function), T>, typed<T>(x), typed<T>(d_out),
               typed<T>(dx));
      });
    });
  });
}

}  // namespace collie::cuda
