// A warp works on one block of states at a time: it decodes it, updates the weights, finds the new maxima
// among its lanes and encodes. Codes are found by a binary search among the midpoints, which are in shared
// memory. Bytes per element: the weight and two codes are read and written, and the gradient is read: 16 if
// weight and gradient are float32, 10 if they are bfloat16, and 16 / 256 for the maxima.
#include "kernels/cuda/ops/update_quantised.hpp"

#include <cmath>

#include "kernels/cuda/ops/update_elements.hpp"

namespace collie::cuda {

namespace {

using Formula = formulas::AdamW;

constexpr int V = update_width, states = quantised_states;
constexpr int64_t block_elements = 256;  // quantisation_block
constexpr int packs = static_cast<int>(block_elements) / (V * static_cast<int>(warp_size));  // of a lane
constexpr unsigned warps = 8, blocks_per_warp = 2, blocks_at_a_time = warps * blocks_per_warp;
static_assert(warps * warp_size == quantised_codes);  // a thread for each code

// The list is as long as fits the 4 KB of a kernel's parameters beside the maps.
struct QuantisedList {
  static constexpr int length = 16;
  struct Each {
    void *weight, *gradient, *rounded;
    uint8_t* codes[states];
    float* absmax[states];
    int64_t count;
    uint64_t first_index;
  };
  Each each[length];
  unsigned first_block[length];
  int count;
  bool copied;  // `rounded` gets the weights unrounded
};
static_assert(sizeof(QuantisedList) + sizeof(CodeValues) + sizeof(FloatFactors) + sizeof(Rounding) +
                  sizeof(double*) <=
              4096);

struct Maps {
  float values[states][quantised_codes], midpoints[states][quantised_codes];
};

// Each thread makes the entries of one code.
__device__ __forceinline__ void make_maps(const CodeValues& from, Maps& maps) {
  const unsigned code = threadIdx.x;
#pragma unroll
  for (int k = 0; k < states; ++k) {
    const float value = from.values[k][code];
    maps.values[k][code] = value;
    maps.midpoints[k][code] = code + 1 < quantised_codes ? (value + from.values[k][code + 1]) / 2 : value;
  }
  __syncthreads();
}

// How many midpoints are below x.
__device__ __forceinline__ uint8_t code_of(const float (&midpoints)[quantised_codes], float x) {
  int code = 0;
#pragma unroll
  for (int step = quantised_codes / 2; step > 0; step /= 2)
    if (x > midpoints[code + step - 1]) code += step;
  return static_cast<uint8_t>(code);
}

__device__ __forceinline__ void load_codes(const uint8_t* from, bool whole, int64_t left,
                                           uint8_t (&codes)[V]) {
  if (whole) {
    const auto pack = *reinterpret_cast<const Pack<uint8_t, V>*>(from);
#pragma unroll
    for (int i = 0; i < V; ++i) codes[i] = pack.values[i];
    return;
  }
#pragma unroll
  for (int i = 0; i < V; ++i) codes[i] = i < left ? from[i] : 0;
}
__device__ __forceinline__ void store_codes(uint8_t* to, bool whole, int64_t left,
                                            const Pack<uint8_t, V>& codes) {
  if (whole) {
    *reinterpret_cast<Pack<uint8_t, V>*>(to) = codes;
    return;
  }
#pragma unroll
  for (int i = 0; i < V; ++i)
    if (i < left) to[i] = codes.values[i];
}

// The new states of a lane's elements [packs][V], those past the end 0, as codes and the block's maximum.
__device__ __forceinline__ void encode(const float (&midpoints)[quantised_codes], const float (&x)[packs][V],
                                       Pack<uint8_t, V> (&codes)[packs], float* absmax) {
  float largest = 0;
#pragma unroll
  for (int pack = 0; pack < packs; ++pack)
#pragma unroll
    for (int i = 0; i < V; ++i) largest = fmaxf(largest, fabsf(x[pack][i]));
  largest = warp_max(largest);
  if (threadIdx.x % warp_size == 0) *absmax = largest;
  const float divisor = largest == 0 ? 1 : largest;
#pragma unroll
  for (int pack = 0; pack < packs; ++pack)
#pragma unroll
    for (int i = 0; i < V; ++i) codes[pack].values[i] = code_of(midpoints, x[pack][i] / divisor);
}

// One block of states by a warp.
template <bool stochastic, class W, class G>
__device__ __forceinline__ void update_block(const QuantisedList::Each& x, int64_t block, bool copied,
                                             bool vectors, const Maps& maps, const FloatFactors& f,
                                             uint64_t key, float gradient_scale) {
  W* const weight = static_cast<W*>(x.weight);
  const G* const gradient = static_cast<const G*>(x.gradient);
  float s[states][packs][V]{}, absmax[states];
#pragma unroll
  for (int k = 0; k < states; ++k) absmax[k] = x.absmax[k][block];
#pragma unroll
  for (int pack = 0; pack < packs; ++pack) {
    const int64_t at = block * block_elements + (pack * int64_t{warp_size} + threadIdx.x % warp_size) * V,
                  left = x.count - at;
    if (left <= 0) continue;
    const bool whole = vectors && left >= V;
    float w[V], g[V];
    uint8_t codes[states][V];
    load_some(weight + at, whole, left, w);
    load_some(gradient + at, whole, left, g);
#pragma unroll
    for (int k = 0; k < states; ++k) load_codes(x.codes[k] + at, whole, left, codes[k]);
    unsigned bits[1][V]{};
    if constexpr (stochastic) random_bits(key, x.first_index + static_cast<uint64_t>(at), bits);
#pragma unroll
    for (int i = 0; i < V; ++i) {
      float of_element[states];
#pragma unroll
      for (int k = 0; k < states; ++k) of_element[k] = maps.values[k][codes[k][i]] * absmax[k];
      Formula::update(f.values, w[i], g[i] * gradient_scale, of_element);
#pragma unroll
      for (int k = 0; k < states; ++k) s[k][pack][i] = i < left ? of_element[k] : 0;
    }
    store_some<stochastic>(weight + at, whole, left, w, bits[0]);
    if (x.rounded != nullptr && copied)
      store_some<stochastic>(static_cast<W*>(x.rounded) + at, whole, left, w, bits[0]);
    else if (x.rounded != nullptr)
      store_some<false>(static_cast<bfloat16*>(x.rounded) + at, whole, left, w, bits[0]);
  }
  __syncwarp();  // every lane has read the maxima
#pragma unroll
  for (int k = 0; k < states; ++k) {
    Pack<uint8_t, V> codes[packs];
    encode(maps.midpoints[k], s[k], codes, x.absmax[k] + block);
#pragma unroll
    for (int pack = 0; pack < packs; ++pack) {
      const int64_t at = block * block_elements + (pack * int64_t{warp_size} + threadIdx.x % warp_size) * V,
                    left = x.count - at;
      if (left > 0) store_codes(x.codes[k] + at, vectors && left >= V, left, codes[pack]);
    }
  }
}

template <bool stochastic, class W, class G>
__global__ void __launch_bounds__(warps* warp_size)
    update_quantised_kernel(const __grid_constant__ QuantisedList tensors,
                            const __grid_constant__ CodeValues values, const FloatFactors f,
                            const Rounding rounding, const double* gradient_factor) {
  __shared__ Maps maps;
  make_maps(values, maps);
  const double factor = gradient_factor == nullptr ? 1 : *gradient_factor;
  if (std::isnan(factor)) return;
  int which = 0;
  for (int step = QuantisedList::length / 2; step > 0; step /= 2)
    if (which + step < tensors.count && tensors.first_block[which + step] <= blockIdx.x) which += step;
  const auto& x = tensors.each[which];
  const bool vectors = aligned(x.weight, V * sizeof(W)) && aligned(x.gradient, V * sizeof(G)) &&
                       aligned(x.rounded, V * (tensors.copied ? sizeof(W) : sizeof(bfloat16))) &&
                       aligned(x.codes[0], V) && aligned(x.codes[1], V);
  const int64_t first =
      int64_t{blockIdx.x - tensors.first_block[which]} * blocks_at_a_time + threadIdx.x / warp_size;
  for (unsigned i = 0; i < blocks_per_warp; ++i) {
    const int64_t block = first + i * int64_t{warps};
    if (block * block_elements >= x.count) return;
    update_block<stochastic, W, G>(x, block, tensors.copied, vectors, maps, f, rounding.key,
                                   static_cast<float>(factor));
  }
}

bool is_copied(const QuantisedArrays& x) {
  return x.rounded != nullptr && x.rounded_element == x.weight_element;
}

// Takes one launch's tensors from the front of the list. `blocks` gets the number of blocks of threads they
// take.
QuantisedList take(std::span<const QuantisedArrays>& list, unsigned& blocks) {
  QuantisedList tensors{};
  blocks = 0;
  const QuantisedArrays& first = list.front();
  tensors.copied = is_copied(first);
  const auto is_alike = [&](const QuantisedArrays& x) {
    return x.weight_element == first.weight_element && x.gradient_element == first.gradient_element &&
           is_copied(x) == tensors.copied;
  };
  for (; !list.empty() && tensors.count < QuantisedList::length && is_alike(list.front());
       list = list.subspan(1)) {
    const QuantisedArrays& x = list.front();
    if (x.count == 0) continue;
    tensors.first_block[tensors.count] = blocks;
    tensors.each[tensors.count++] = {
        x.weight, x.gradient,   x.rounded, {x.codes[0], x.codes[1]}, {x.absmax[0], x.absmax[1]},
        x.count,  x.first_index};
    blocks += static_cast<unsigned>(divide_up(x.count, block_elements * blocks_at_a_time));
  }
  return tensors;
}

}  // namespace

void update_quantised(cudaStream_t stream, std::span<const QuantisedArrays> list, const CodeValues& values,
                      const FloatFactors& factors, const Rounding& rounding, const double* gradient_factor) {
  while (!list.empty()) {
    const QuantisedArrays like = list.front();
    unsigned blocks = 0;
    const QuantisedList tensors = take(list, blocks);
    const LaunchShape shape{{blocks}, {warps * warp_size}};
    with_type(like.weight_element, [&](auto w) {
      with_type(like.gradient_element, [&](auto g) {
        using W = decltype(w);
        using G = decltype(g);
        constexpr bool rounds = sizeof(W) == 2;
        if (rounds && rounding.stochastic)
          launch(stream, shape, "update_quantised", update_quantised_kernel<rounds, W, G>, tensors, values,
                 factors, rounding, gradient_factor);
        else
          launch(stream, shape, "update_quantised", update_quantised_kernel<false, W, G>, tensors, values,
                 factors, rounding, gradient_factor);
      });
    });
  }
}

}  // namespace collie::cuda
