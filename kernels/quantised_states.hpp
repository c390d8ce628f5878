// What an update takes whose states are 8-bit codes in blocks (kernels/dynamic_map.hpp).
#pragma once

#include <array>
#include <cstdint>

#include "kernels/dynamic_map.hpp"
#include "kernels/tensor.hpp"

namespace collie {

// One range of elements, which begins where a block begins. The last block may be shorter. A state is the
// number of its code times its block's absmax.
struct QuantisedTensors {
  Tensor weight, gradient;       // as in UpdateTensors
  std::array<Tensor, 2> codes;   // u8 [numel]: the first moment with signs, the second without
  std::array<Tensor, 2> absmax;  // [blocks] in accumulation_dtype()
  Tensor rounded;                // as in UpdateTensors
  uint64_t first_index = 0;      // as in UpdateTensors
};
inline constexpr bool quantised_with_signs[] = {true, false};

}  // namespace collie
