// What AttentionScores (kernels/operations.hpp) does besides scaling: the soft cap of scores and the dropout
// of weights. Kernels are compiled with and without it. For .cu files.
#pragma once

#include <type_traits>

#include "kernels/cuda/attention/kernels.hpp"
#include "kernels/cuda/ops/philox.hpp"

namespace collie::cuda {

// What a kernel gets as its last argument: nothing where scores are only scaled. As an unused field beside
// its operands, the rules made the plain forward of bfloat16 spill registers.
struct NoRules {};
template <bool plain>
using RulesFor = std::conditional_t<plain, NoRules, ScoreRules>;

// The capped score. slope becomes its derivative by the score.
__device__ __forceinline__ float capped(const ScoreRules& rules, float score, float& slope) {
  slope = 1;
  if (rules.cap == 0) return score;
  const float t = tanhf(score / rules.cap);
  slope = 1 - t * t;
  return rules.cap * t;
}

// What the weight of a pair of a tile's rows is multiplied by, for query head `head`: 0 if it is dropped.
// `own` and `other` are counted from the tile's first; of rows that are not there it is 1.
template <Side side>
__device__ __forceinline__ float factor_of_pair(const ScoreRules& rules, const AttentionTile& tile, int own,
                                                int other, int head) {
  if (rules.query_rows == nullptr || own >= tile.own_count || other >= tile.other_count) return 1;
  const int64_t own_row = tile.own_first + int64_t{own}, other_row = tile.other_first + int64_t{other};
  const int64_t query = side == Side::queries ? own_row : other_row;
  const auto key = static_cast<unsigned>(rules.key_numbers[side == Side::queries ? other_row : own_row]);
  const uint4 counter{static_cast<unsigned>(rules.query_rows[2 * query]),
                      static_cast<unsigned>(rules.query_rows[2 * query + 1]), key / 4,
                      rules.first_head + 1 + static_cast<unsigned>(head)};
  return word_of(philox(rules.mask_key, counter), key) < rules.dropped ? 0 : rules.factor;
}

}  // namespace collie::cuda
