// Bytes per element, in either direction: 8 (float32) or 4 (bfloat16). A mask of float32 would add 4 each
// way.
#include "kernels/cuda/ops/dropout.hpp"

#include "kernels/cuda/ops/packs.hpp"
#include "kernels/cuda/ops/philox.hpp"

namespace collie::cuda {

namespace {

struct DeviceMask {
  uint64_t key, dropped;  // of 2³² words
  float factor;
};

// words[i] belongs to column + i, which is a multiple of 4 if there are several.
template <int V>
__device__ __forceinline__ void words_of_columns(uint64_t key, const int32_t* row, int64_t column,
                                                 unsigned (&words)[V]) {
  uint4 counter{static_cast<unsigned>(row[0]), static_cast<unsigned>(row[1]),
                static_cast<unsigned>(column / 4), 0};
  if constexpr (V == 1) {
    words[0] = word_of(philox(key, counter), static_cast<unsigned>(column));
  } else {
#pragma unroll
    for (int i = 0; i < V; i += 4) {
      const uint4 bits = philox(key, counter);
      words[i] = bits.x;
      words[i + 1] = bits.y;
      words[i + 2] = bits.z;
      words[i + 3] = bits.w;
      ++counter.z;
    }
  }
}

template <int V, class T>
__global__ void dropout_kernel(Typed<T> x, DeviceMask mask, const int32_t* rows, int64_t first_column,
                               Typed<T> out) {
  for_packs<V>(x.rows, x.width, [&](int64_t row, int64_t column) {
    float values[V];
    unsigned words[V];
    load<V>(x.row(row) + column, values);
    words_of_columns(mask.key, rows + 2 * row, first_column + column, words);
#pragma unroll
    for (int i = 0; i < V; ++i) values[i] = words[i] < mask.dropped ? 0.0F : values[i] * mask.factor;
    store<V>(out.row(row) + column, values);
  });
}

}  // namespace

void dropout(cudaStream_t stream, const Matrix& x, const DropoutMask& mask, const int32_t* rows,
             int64_t first_column, const Matrix& out) {
  const DeviceMask of_device{mask.key, mask.dropped, static_cast<float>(mask.factor)};
  with_type(x.element, [&](auto type) {
    using T = decltype(type);
    const auto drop = [&](auto v) {
      launch(stream, over_packs<v>(x), "dropout", dropout_kernel<v, T>, typed<T>(x), of_device, rows,
             first_column, typed<T>(out));
    };
    // A pack's words begin with a block of the generator.
    if (first_column % 4 == 0) return with_width<T>({x, out}, drop);
    drop(std::integral_constant<int, 1>());
  });
}

}  // namespace collie::cuda
