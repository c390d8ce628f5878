// Bytes per element, in either direction: 8 (float32) or 4 (bfloat16). A mask of float32 would add 4 each
// way.
#include "kernels/cuda/ops/dropout.hpp"

#include "kernels/cuda/ops/packs.hpp"
#include "kernels/cuda/ops/philox.hpp"

namespace collie::cuda {

namespace {

struct Mask {
  uint64_t key, dropped;  // of 2³² words
  int64_t first, pitch;
  float scale;
};

template <int V, class T>
__global__ void dropout_kernel(Typed<T> x, Mask mask, Typed<T> out) {
  for_packs<V>(x.rows, x.width, [&](int64_t row, int64_t column) {
    float values[V];
    unsigned words[V];
    load<V>(x.row(row) + column, values);
    random_words(mask.key, static_cast<uint64_t>(mask.first + row * mask.pitch + column), words);
#pragma unroll
    for (int i = 0; i < V; ++i) values[i] = words[i] < mask.dropped ? 0.0F : values[i] * mask.scale;
    store<V>(out.row(row) + column, values);
  });
}

}  // namespace

void dropout(cudaStream_t stream, const Matrix& x, const DropoutMask& mask, const Matrix& out) {
  const double kept = 1 - mask.probability;
  const Mask of_device{mask.key, static_cast<uint64_t>(mask.probability * 0x1p32), mask.first, mask.pitch,
                       kept > 0 ? static_cast<float>(1 / kept) : 0.0F};
  with_type(x.element, [&](auto type) {
    using T = decltype(type);
    with_width<T>({x, out}, [&](auto v) {
      launch(stream, over_packs<v>(x), "dropout", dropout_kernel<v, T>, typed<T>(x), of_device,
             typed<T>(out));
    });
  });
}

}  // namespace collie::cuda
