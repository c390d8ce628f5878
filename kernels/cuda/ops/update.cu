// A launch goes over a list of tensors, 4096 elements per block. Bytes per element: the weight and all states
// are read and written, and the gradient is read. With two states that makes 28 if all are float32, 26 with a
// bfloat16 gradient, 22 with bfloat16 weight and gradient, and 14 if all are bfloat16. It is 2 more if the
// new weight is also stored rounded.
#include "kernels/cuda/ops/update.hpp"

#include <cmath>

#include "kernels/cuda/ops/update_elements.hpp"

namespace collie::cuda {

using namespace formulas;

namespace {

constexpr int V = update_width, packs = 4;  // per thread
constexpr unsigned threads = 256;
constexpr int64_t block_elements = int64_t{threads} * packs * V;

// A launch's tensors. The list is as long as fits the 4 KB of a kernel's parameters; a power of two.
template <int states_of_each>
struct Tensors {
  static constexpr int length = states_of_each <= 2 ? 64 : 32;
  struct Each {
    void *weight, *gradient, *states[states_of_each == 0 ? 1 : states_of_each], *rounded;
    int64_t count;
    uint64_t first_index;
  };
  Each each[length];
  unsigned first_block[length];
  int count;
  bool copied;  // `rounded` gets the weights unrounded
};
template <int states>
constexpr size_t parameter_bytes = sizeof(Tensors<states>) + sizeof(FloatFactors) + sizeof(Rounding) +
                                   sizeof(double*);

// Of Formula::wide_states, which are float32 whatever the others are.
__device__ __forceinline__ constexpr bool is_in(unsigned wide, int state) {
  return (wide >> static_cast<unsigned>(state) & 1U) != 0;
}

template <bool stochastic, class Formula, class W, class G, class S>
__global__ void __launch_bounds__(threads)
    update_kernel(const __grid_constant__ Tensors<Formula::states> tensors, const FloatFactors f,
                  const Rounding rounding, const double* gradient_factor) {
  constexpr int states = Formula::states;
  constexpr unsigned wide = wide_states<Formula>;
  const double factor = gradient_factor == nullptr ? 1 : *gradient_factor;
  int which = 0;
  for (int step = tensors.length / 2; step > 0; step /= 2)
    if (which + step < tensors.count && tensors.first_block[which + step] <= blockIdx.x) which += step;
  const auto& x = tensors.each[which];
  W* const weight = static_cast<W*>(x.weight);
  const G* const gradient = static_cast<const G*>(x.gradient);
  bool vectors = aligned(weight, V * sizeof(W)) && aligned(gradient, V * sizeof(G)) &&
                 aligned(x.rounded, V * (tensors.copied ? sizeof(W) : sizeof(bfloat16)));
#pragma unroll
  for (int k = 0; k < states; ++k)
    vectors = vectors && aligned(x.states[k], V * (is_in(wide, k) ? sizeof(float) : sizeof(S)));
  const int64_t start = (blockIdx.x - tensors.first_block[which]) * block_elements + threadIdx.x * V;
#pragma unroll 2
  for (int pack = 0; pack < packs; ++pack) {
    const int64_t at = start + pack * int64_t{threads} * V, left = x.count - at;
    if (left <= 0) return;
    const bool whole = vectors && left >= V;
    float w[V], g[V], s[states + 1][V];  // the last is not used
    load_some(weight + at, whole, left, w);
    load_some(gradient + at, whole, left, g);
#pragma unroll
    for (int k = 0; k < states; ++k) {
      if (is_in(wide, k))
        load_some(static_cast<const float*>(x.states[k]) + at, whole, left, s[k]);
      else
        load_some(static_cast<const S*>(x.states[k]) + at, whole, left, s[k]);
    }
    if (std::isnan(factor)) return;  // tested here, so that the loads do not wait for the factor
    const auto gradient_scale = static_cast<float>(factor);
    unsigned bits[1 + states][V]{};
    if constexpr (stochastic) random_bits(rounding.key, x.first_index + static_cast<uint64_t>(at), bits);
#pragma unroll
    for (int i = 0; i < V; ++i) {
      float of_element[states + 1];
#pragma unroll
      for (int k = 0; k < states; ++k) of_element[k] = s[k][i];
      Formula::update(f.values, w[i], g[i] * gradient_scale, of_element);
#pragma unroll
      for (int k = 0; k < states; ++k) s[k][i] = of_element[k];
    }
    store_some<stochastic>(weight + at, whole, left, w, bits[0]);
    if (x.rounded != nullptr && tensors.copied)
      store_some<stochastic>(static_cast<W*>(x.rounded) + at, whole, left, w, bits[0]);
    else if (x.rounded != nullptr)
      store_some<false>(static_cast<bfloat16*>(x.rounded) + at, whole, left, w, bits[0]);
#pragma unroll
    for (int k = 0; k < states; ++k) {
      if (is_in(wide, k))
        store_some<stochastic>(static_cast<float*>(x.states[k]) + at, whole, left, s[k], bits[1 + k]);
      else
        store_some<stochastic>(static_cast<S*>(x.states[k]) + at, whole, left, s[k], bits[1 + k]);
    }
  }
}

bool is_copied(const UpdateArrays& x) {
  return x.rounded != nullptr && x.rounded_element == x.weight_element;
}

bool same_elements(const UpdateArrays& a, const UpdateArrays& b) {
  return a.weight_element == b.weight_element && a.gradient_element == b.gradient_element &&
         a.state_element == b.state_element && is_copied(a) == is_copied(b);
}

// Takes one launch's tensors from the front of the list. `blocks` gets the number of blocks they take.
template <int states>
Tensors<states> take(std::span<const UpdateArrays>& list, unsigned& blocks) {
  Tensors<states> tensors{};
  blocks = 0;
  const UpdateArrays& first = list.front();
  tensors.copied = is_copied(first);
  while (!list.empty() && tensors.count < tensors.length && same_elements(list.front(), first)) {
    const UpdateArrays& x = list.front();
    if (x.count > 0) {
      tensors.first_block[tensors.count] = blocks;
      auto& each = tensors.each[tensors.count++];
      each = {x.weight, x.gradient, {}, x.rounded, x.count, x.first_index};
      for (int k = 0; k < states; ++k) each.states[k] = x.states[k];
      blocks += static_cast<unsigned>(divide_up(x.count, block_elements));
    }
    list = list.subspan(1);
  }
  return tensors;
}

template <class Formula>
void update_by(cudaStream_t stream, std::span<const UpdateArrays> list, const FloatFactors& factors,
               const Rounding& rounding, const double* gradient_factor) {
  static_assert(parameter_bytes<Formula::states> <= 4096);
  while (!list.empty()) {
    const UpdateArrays like = list.front();
    unsigned blocks = 0;
    const auto tensors = take<Formula::states>(list, blocks);
    const LaunchShape shape{{blocks}, {threads}};
    const auto start = [&](auto w, auto g, auto s) {
      using W = decltype(w);
      using G = decltype(g);
      using S = decltype(s);
      constexpr bool rounds = sizeof(W) == 2 || sizeof(S) == 2;
      if (rounds && rounding.stochastic)
        launch(stream, shape, Formula::name, update_kernel<rounds, Formula, W, G, S>, tensors, factors,
               rounding, gradient_factor);
      else
        launch(stream, shape, Formula::name, update_kernel<false, Formula, W, G, S>, tensors, factors,
               rounding, gradient_factor);
    };
    with_type(like.weight_element, [&](auto w) {
      with_type(like.gradient_element, [&](auto g) {
        if constexpr (Formula::states == 0)
          start(w, g, float{});
        else
          with_type(like.state_element, [&](auto s) { start(w, g, s); });
      });
    });
  }
}

}  // namespace

void update(cudaStream_t stream, std::span<const UpdateArrays> list, int formula, const FloatFactors& factors,
            const Rounding& rounding, const double* gradient_factor) {
  with_formula(formula, Formulas(), [&](auto each) {
    update_by<decltype(each)>(stream, list, factors, rounding, gradient_factor);
  });
}

}  // namespace collie::cuda
