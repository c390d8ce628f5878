// A launch goes over a list of tensors, 4096 elements per block. Bytes per element: the weight and both
// states are read and written, and the gradient is read. That makes 28 if all are float32, 26 with a bfloat16
// gradient, 22 with bfloat16 weight and gradient, and 14 if all are bfloat16. It is 2 more if the new weight
// is also stored rounded.
#include "kernels/cuda/ops/adamw.hpp"

#include <cmath>

#include "kernels/cuda/ops/packs.hpp"
#include "kernels/cuda/ops/philox.hpp"

namespace collie::cuda {

namespace {

constexpr int list_length = 64;  // so that the list fits the 4 KB of a kernel's parameters
constexpr int V = 4, packs = 4;  // per thread
constexpr unsigned threads = 256;
constexpr int64_t block_elements = int64_t{threads} * packs * V;

struct Tensors {
  struct Each {
    void *weight, *gradient, *exp_avg, *exp_avg_sq, *rounded;
    int64_t count;
    uint64_t first_index;
  };
  Each each[list_length];
  unsigned first_block[list_length];
  int count;
  bool copied;  // `rounded` gets the weights unrounded
};
static_assert(sizeof(Tensors) + sizeof(AdamWFactors) + sizeof(Rounding) + sizeof(double*) <= 4096);

// Rounds up with probability (the part that truncation cuts off) / (a unit of the last place kept). 16 bits
// of `random` decide.
__device__ __forceinline__ bfloat16 round_by(float x, unsigned random) {
  const unsigned bits = __float_as_uint(x);
  if ((bits & 0x7F800000U) == 0x7F800000U) return from_float<bfloat16>(x);  // infinities, NaN
  return {static_cast<uint16_t>((bits + (random & 0xFFFFU)) >> 16)};
}

// 16 bits each for an element's weight and states. Two elements share a Philox block.
struct RandomBits {
  unsigned of_weight, of_exp_avg, of_exp_avg_sq;
};
__device__ __forceinline__ void random_bits(uint64_t key, uint64_t index, RandomBits (&bits)[V]) {
  uint4 block = philox(key, index / 2);
#pragma unroll
  for (int i = 0; i < V; ++i) {
    const bool odd = (index + i) % 2 == 1;
    if (i > 0 && !odd) block = philox(key, (index + i) / 2);
    const unsigned first = odd ? block.z : block.x, second = odd ? block.w : block.y;
    bits[i] = {first, first >> 16, second};
  }
}

// A pack that may have fewer elements or may not be aligned.
template <class T>
__device__ __forceinline__ void load_some(const T* from, bool whole, int64_t left, float (&values)[V]) {
  if (whole) return load<V>(from, values);
#pragma unroll
  for (int i = 0; i < V; ++i) values[i] = i < left ? to_float(from[i]) : 0.0F;
}
template <bool stochastic, class T>
__device__ __forceinline__ void store_some(T* to, bool whole, int64_t left, const float (&values)[V],
                                           const unsigned (&random)[V]) {
  Pack<T, V> pack;
#pragma unroll
  for (int i = 0; i < V; ++i) {
    if constexpr (stochastic && sizeof(T) == 2)
      pack.values[i] = round_by(values[i], random[i]);
    else
      pack.values[i] = from_float<T>(values[i]);
  }
  if (whole) {
    *reinterpret_cast<Pack<T, V>*>(to) = pack;
    return;
  }
#pragma unroll
  for (int i = 0; i < V; ++i)
    if (i < left) to[i] = pack.values[i];
}

__device__ __forceinline__ bool aligned(const void* a, size_t bytes) {
  return reinterpret_cast<uintptr_t>(a) % bytes == 0;
}

template <bool stochastic, class W, class G, class S>
__global__ void __launch_bounds__(threads)
    adamw_kernel(const __grid_constant__ Tensors tensors, const AdamWFactors f, const Rounding rounding,
                 const double* gradient_factor) {
  const double factor = gradient_factor == nullptr ? 1 : *gradient_factor;
  int which = 0;
  for (int step = list_length / 2; step > 0; step /= 2)
    if (which + step < tensors.count && tensors.first_block[which + step] <= blockIdx.x) which += step;
  const Tensors::Each& x = tensors.each[which];
  W* const weight = static_cast<W*>(x.weight);
  const G* const gradient = static_cast<const G*>(x.gradient);
  S* const exp_avg = static_cast<S*>(x.exp_avg);
  S* const exp_avg_sq = static_cast<S*>(x.exp_avg_sq);
  const bool vectors = aligned(weight, V * sizeof(W)) && aligned(gradient, V * sizeof(G)) &&
                       aligned(exp_avg, V * sizeof(S)) && aligned(exp_avg_sq, V * sizeof(S)) &&
                       aligned(x.rounded, V * (tensors.copied ? sizeof(W) : sizeof(bfloat16)));
  const int64_t start = (blockIdx.x - tensors.first_block[which]) * block_elements + threadIdx.x * V;
#pragma unroll 2
  for (int pack = 0; pack < packs; ++pack) {
    const int64_t at = start + pack * int64_t{threads} * V, left = x.count - at;
    if (left <= 0) return;
    const bool whole = vectors && left >= V;
    float w[V], g[V], m[V], v[V];
    load_some(weight + at, whole, left, w);
    load_some(gradient + at, whole, left, g);
    load_some(exp_avg + at, whole, left, m);
    load_some(exp_avg_sq + at, whole, left, v);
    if (std::isnan(factor)) return;  // tested here, so that the loads do not wait for the factor
    const auto gradient_scale = static_cast<float>(factor);
    RandomBits bits[V]{};
    if constexpr (stochastic) random_bits(rounding.key, x.first_index + static_cast<uint64_t>(at), bits);
    unsigned of_weight[V], of_exp_avg[V], of_exp_avg_sq[V];
#pragma unroll
    for (int i = 0; i < V; ++i) {
      const float gi = g[i] * gradient_scale;
      m[i] = f.one_minus_beta1 * gi + f.beta1 * m[i];
      v[i] = f.one_minus_beta2 * gi * gi + f.beta2 * v[i];
      w[i] = w[i] * f.decay - f.rate * (m[i] / (sqrtf(v[i]) * f.root_scale + f.eps));
      of_weight[i] = bits[i].of_weight;
      of_exp_avg[i] = bits[i].of_exp_avg;
      of_exp_avg_sq[i] = bits[i].of_exp_avg_sq;
    }
    store_some<stochastic>(weight + at, whole, left, w, of_weight);
    if (x.rounded != nullptr && tensors.copied)
      store_some<stochastic>(static_cast<W*>(x.rounded) + at, whole, left, w, of_weight);
    else if (x.rounded != nullptr)
      store_some<false>(static_cast<bfloat16*>(x.rounded) + at, whole, left, w, of_weight);
    store_some<stochastic>(exp_avg + at, whole, left, m, of_exp_avg);
    store_some<stochastic>(exp_avg_sq + at, whole, left, v, of_exp_avg_sq);
  }
}

bool is_copied(const AdamWArrays& x) {
  return x.rounded != nullptr && x.rounded_element == x.weight_element;
}

bool same_elements(const AdamWArrays& a, const AdamWArrays& b) {
  return a.weight_element == b.weight_element && a.gradient_element == b.gradient_element &&
         a.state_element == b.state_element && is_copied(a) == is_copied(b);
}

// Takes one launch's tensors from the front of the list. `blocks` gets the number of blocks they take.
Tensors take(std::span<const AdamWArrays>& list, unsigned& blocks) {
  Tensors tensors{};
  blocks = 0;
  const AdamWArrays& first = list.front();
  tensors.copied = is_copied(first);
  while (!list.empty() && tensors.count < list_length && same_elements(list.front(), first)) {
    const AdamWArrays& x = list.front();
    if (x.count > 0) {
      tensors.first_block[tensors.count] = blocks;
      tensors.each[tensors.count++] = {x.weight,  x.gradient, x.exp_avg,    x.exp_avg_sq,
                                       x.rounded, x.count,    x.first_index};
      blocks += static_cast<unsigned>(divide_up(x.count, block_elements));
    }
    list = list.subspan(1);
  }
  return tensors;
}

}  // namespace

void adamw(cudaStream_t stream, std::span<const AdamWArrays> list, const AdamWFactors& factors,
           const Rounding& rounding, const double* gradient_factor) {
  while (!list.empty()) {
    const AdamWArrays like = list.front();
    unsigned blocks = 0;
    const Tensors tensors = take(list, blocks);
    const LaunchShape shape{{blocks}, {threads}};
    with_type(like.weight_element, [&](auto w) {
      with_type(like.gradient_element, [&](auto g) {
        with_type(like.state_element, [&](auto s) {
          using W = decltype(w);
          using G = decltype(g);
          using S = decltype(s);
          constexpr bool rounds = sizeof(W) == 2 || sizeof(S) == 2;
          if (rounds && rounding.stochastic)
            launch(stream, shape, "adamw", adamw_kernel<rounds, W, G, S>, tensors, factors, rounding,
                   gradient_factor);
          else
            launch(stream, shape, "adamw", adamw_kernel<false, W, G, S>, tensors, factors, rounding,
                   gradient_factor);
        });
      });
    });
  }
}

}  // namespace collie::cuda
