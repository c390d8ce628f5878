// Bytes per element: 8 (float32) or 4 (bfloat16). A position's cosines and sines, 4 / heads, come from the
// cache for all heads except the first.
#include "kernels/cuda/ops/rope.hpp"

#include "kernels/cuda/elements.hpp"

namespace collie::cuda {

namespace {

// V pairs of a head, from pair `column` on: V elements of its first half and those of its second.
template <int V>
struct Halves {
  unsigned half;

  template <class T>
  __device__ void read(const T* head, unsigned column, float (&first)[V], float (&second)[V]) const {
    load<V>(head + column, first);
    load<V>(head + half + column, second);
  }
  template <class T>
  __device__ void write(T* head, unsigned column, const float (&first)[V], const float (&second)[V]) const {
    store<V>(head + column, first);
    store<V>(head + half + column, second);
  }
};

// The same where a pair's elements are neighbours: 2 V elements, as two packs.
template <int V>
struct Neighbours {
  unsigned half;

  template <class T>
  __device__ void read(const T* head, unsigned column, float (&first)[V], float (&second)[V]) const {
    float packs[2][V];
    load<V>(head + 2 * column, packs[0]);
    load<V>(head + 2 * column + V, packs[1]);
#pragma unroll
    for (int i = 0; i < V; ++i) {
      first[i] = packs[2 * i / V][2 * i % V];
      second[i] = packs[(2 * i + 1) / V][(2 * i + 1) % V];
    }
  }
  template <class T>
  __device__ void write(T* head, unsigned column, const float (&first)[V], const float (&second)[V]) const {
    float packs[2][V];
#pragma unroll
    for (int i = 0; i < V; ++i) {
      packs[2 * i / V][2 * i % V] = first[i];
      packs[(2 * i + 1) / V][(2 * i + 1) % V] = second[i];
    }
    store<V>(head + 2 * column, packs[0]);
    store<V>(head + 2 * column + V, packs[1]);
  }
};

// A thread has packs of V pairs. threadIdx: pack, head, token.
template <int V, class Pairs, class T>
__global__ void rope_kernel(Typed<T> x, unsigned heads, unsigned head_dim, unsigned half,
                            Typed<float> cosines, Typed<float> sines, const int32_t* positions,
                            bool inverse) {
  const Pairs pairs{half};
  const int64_t token = int64_t{blockIdx.x} * blockDim.z + threadIdx.z;
  if (token >= x.rows) return;
  const int32_t position = positions[token];
  for (unsigned column = threadIdx.x * V; column < half; column += blockDim.x * V) {
    float c[V], s[V];
    load<V>(cosines.row(position) + column, c);
    load<V>(sines.row(position) + column, s);
#pragma unroll
    for (int i = 0; i < V; ++i) s[i] = inverse ? -s[i] : s[i];
#pragma unroll 2
    for (unsigned head = threadIdx.y; head < heads; head += blockDim.y) {
      T* const at = x.row(token) + int64_t{head} * head_dim;
      float first[V], second[V];
      pairs.read(at, column, first, second);
#pragma unroll
      for (int i = 0; i < V; ++i) {
        const float a = first[i], b = second[i];
        first[i] = a * c[i] - b * s[i];
        second[i] = b * c[i] + a * s[i];
      }
      pairs.write(at, column, first, second);
    }
  }
}

// A block has at most 128 threads: for all packs of a head, then for as many heads and then as many tokens as
// fit.
LaunchShape shape_of(int64_t tokens, int64_t heads, int64_t packs) {
  constexpr int64_t threads = 128;
  const int64_t x = packs < threads ? packs : threads;
  const int64_t y = heads < threads / x ? heads : threads / x, z = threads / (x * y);
  const auto to_unsigned = [](int64_t count) { return static_cast<unsigned>(count); };
  const int64_t deep = z < 64 ? z : 64;  // the limit of a block
  return {{to_unsigned(divide_up(tokens, deep))}, {to_unsigned(x), to_unsigned(y), to_unsigned(deep)}};
}

}  // namespace

void rope(cudaStream_t stream, const Matrix& x, int64_t heads, int64_t head_dim, const Matrix& cosines,
          const Matrix& sines, const int32_t* positions, bool inverse, bool neighbours) {
  const int64_t half = cosines.width;
  if (heads == 0 || half == 0) return;
  with_type(x.element, [&](auto type) {
    using T = decltype(type);
    // Packs must not go beyond a half, nor a head begin in the middle of one.
    const Matrix halves{x.data, x.element, x.rows, half, x.stride},
        head{x.data, x.element, x.rows, head_dim, x.stride};
    with_width<T>({halves, head, cosines, sines}, [&](auto v) {
      const auto kernel = neighbours ? rope_kernel<v, Neighbours<v>, T> : rope_kernel<v, Halves<v>, T>;
      launch(stream, shape_of(x.rows, heads, divide_up(half, v)), "rope", kernel, typed<T>(x),
             static_cast<unsigned>(heads), static_cast<unsigned>(head_dim), static_cast<unsigned>(half),
             typed<float>(cosines), typed<float>(sines), positions, inverse);
    });
  });
}

}  // namespace collie::cuda
