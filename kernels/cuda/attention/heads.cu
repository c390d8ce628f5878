// The work of attention for each head of each query on its own.
//
// Deltas read out and d_out once, 8 (bfloat16: 4) bytes per element. A merge reads two elements and writes
// one, 12 (6) bytes per element, and 12 bytes per head.
#include "kernels/cuda/attention/kernels.hpp"
#include "kernels/cuda/elements.hpp"

namespace collie::cuda {

namespace {

constexpr unsigned warps = 8;

struct Heads {
  int64_t queries, heads, head_dim;
};

// Calls f(query, head, query · heads + head) if the warp has a head. All lanes of the warp take part
// together.
template <class F>
__device__ __forceinline__ void for_warps_head(const Heads& x, F f) {
  const int64_t index = int64_t{blockIdx.x} * warps + threadIdx.x / warp_size;
  if (index < x.queries * x.heads) f(index / x.heads, index % x.heads, index);
}

// A thread takes one head, with its columns in order, as the float32 backward sums d_out · v. If one key has
// all the weight, out is its v, and the two cancel exactly.
template <int V, class T>
__global__ void deltas_kernel(Heads x, Typed<T> out, Typed<T> d_out, float* deltas) {
  const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (index >= x.queries * x.heads) return;
  const int64_t first = index % x.heads * x.head_dim;
  const T *a = out.row(index / x.heads) + first, *b = d_out.row(index / x.heads) + first;
  float sum = 0;
  for (int64_t column = 0; column < x.head_dim; column += V) {
    float left[V], right[V];
    load<V>(a + column, left);
    load<V>(b + column, right);
#pragma unroll
    for (int i = 0; i < V; ++i) sum += right[i] * left[i];
  }
  deltas[index] = sum;
}

template <int V, class T>
__global__ void merge_kernel(Heads x, Typed<T> out, float* log_sum_exp, Typed<T> part,
                             const float* part_log_sum_exp) {
  for_warps_head(x, [&](int64_t query, int64_t head, int64_t index) {
    const float before = log_sum_exp[index], added = part_log_sum_exp[index];
    if (added == -INFINITY) return;
    const float largest = fmaxf(before, added);
    float keep = expf(before - largest), take = expf(added - largest);
    const float sum = keep + take, both = largest + logf(sum);
    // exp(before - both) would not do: if the logarithms are large, `both` is rounded too much for it.
    keep /= sum;
    take /= sum;
    for (int64_t column = threadIdx.x % warp_size * V; column < x.head_dim;
         column += int64_t{warp_size} * V) {
      float a[V] = {}, b[V];
      T* to = out.row(query) + head * x.head_dim + column;
      if (before != -INFINITY) load<V>(to, a);
      load<V>(part.row(query) + head * x.head_dim + column, b);
#pragma unroll
      for (int i = 0; i < V; ++i) a[i] = keep * a[i] + take * b[i];
      store(to, a);
    }
    __syncwarp();  // all lanes have read the old values
    if (threadIdx.x % warp_size == 0) log_sum_exp[index] = both;
  });
}

LaunchShape a_warp_each(const Heads& x) {
  return {{static_cast<unsigned>(divide_up(x.queries * x.heads, warps))}, {warps * warp_size}};
}

// One head's columns. Their width must be a whole number of accesses.
Matrix head_of(const Matrix& x, int64_t head_dim) {
  return {x.data, x.element, x.rows > 1 ? x.rows : 2, head_dim, x.stride};
}

}  // namespace

void attention_deltas(cudaStream_t stream, const AttentionViews& views, const Matrix& d_out, float* deltas) {
  const Heads heads{views.q.rows, views.heads, views.head_dim};
  with_type(views.out.element, [&](auto type) {
    using T = decltype(type);
    with_width<T>({head_of(views.out, views.head_dim), head_of(d_out, views.head_dim)}, [&](auto v) {
      launch(stream, {{static_cast<unsigned>(divide_up(heads.queries * heads.heads, 128))}, {128}},
             "attention_deltas", deltas_kernel<v, T>, heads, typed<T>(views.out), typed<T>(d_out), deltas);
    });
  });
}

void merge_attention(cudaStream_t stream, const Matrix& out, float* log_sum_exp, const Matrix& part,
                     const float* part_log_sum_exp, int64_t heads_count) {
  if (heads_count == 0) return;
  const Heads heads{out.rows, heads_count, out.width / heads_count};
  with_type(out.element, [&](auto type) {
    using T = decltype(type);
    with_width<T>({head_of(out, heads.head_dim), head_of(part, heads.head_dim)}, [&](auto v) {
      launch(stream, a_warp_each(heads), "merge_attention", merge_kernel<v, T>, heads, typed<T>(out),
             log_sum_exp, typed<T>(part), part_log_sum_exp);
    });
  });
}

}  // namespace collie::cuda
