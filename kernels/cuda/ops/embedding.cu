// Bytes per element of the tokens' rows, float32 / bfloat16: forward 8 / 4; backward 4 / 2. The backward also
// moves, per element of the rows of d_table whose ids occur, twice the element's size.
#include "kernels/cuda/ops/embedding.hpp"

#include "kernels/cuda/ops/packs.hpp"

namespace collie::cuda {

namespace {

template <int V, class T>
__global__ void embedding_kernel(Typed<T> table, const int32_t* ids, Typed<T> out) {
  for_packs<V>(out.rows, out.width, [&](int64_t row, int64_t column) {
    const int32_t id = ids[row];
    Pack<T, V> pack{};  // all bits 0
    if (id >= 0) pack = *reinterpret_cast<const Pack<T, V>*>(table.row(id) + column);
    *reinterpret_cast<Pack<T, V>*>(out.row(row) + column) = pack;
  });
}

// A row of the launch is an id. Its tokens' rows are loaded several at a time and added one after another.
template <int V, class T, class G>
__global__ void embedding_backward_kernel(int64_t ids, const int32_t* array, Typed<T> d_out,
                                          Typed<G> d_table) {
  const int32_t* const first = array + ids;
  const int32_t* const tokens = first + ids + 1;
  for_packs<V>(ids, d_out.width, [&](int64_t which, int64_t column) {
    G* const to = d_table.row(array[which]) + column;
    float sums[V];
    load<V>(to, sums);
#pragma unroll 8
    for (int32_t at = first[which]; at < first[which + 1]; ++at) {
      float values[V];
      load<V>(d_out.row(tokens[at]) + column, values);
#pragma unroll
      for (int i = 0; i < V; ++i) sums[i] += values[i];
    }
    store<V>(to, sums);
  });
}

}  // namespace

void embedding(cudaStream_t stream, const Matrix& table, const int32_t* ids, const Matrix& out) {
  with_type(out.element, [&](auto type) {
    using T = decltype(type);
    with_width<T>({table, out}, [&](auto v) {
      launch(stream, over_packs<v>(out), "embedding", embedding_kernel<v, T>, typed<T>(table), ids,
             typed<T>(out));
    });
  });
}

void embedding_backward(cudaStream_t stream, int64_t ids, const int32_t* array, const Matrix& d_out,
                        const Matrix& d_table) {
  with_type(d_out.element, [&](auto type) {
    using T = decltype(type);
    with_width<T>({d_out, d_table}, [&](auto v) {
      const Matrix rows{nullptr, d_out.element, ids, d_out.width, d_out.width};
      with_type(d_table.element, [&](auto table_type) {
        using G = decltype(table_type);
        launch(stream, over_packs<v>(rows), "embedding_backward", embedding_backward_kernel<v, T, G>, ids,
               array, typed<T>(d_out), typed<G>(d_table));
      });
    });
  });
}

}  // namespace collie::cuda
