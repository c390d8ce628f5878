// What AttentionScores (kernels/operations.hpp) does to tiles of attention besides scaling: the soft cap of
// scores and the dropout of weights. A tile is [queries, keys], row-major and dense.
#pragma once

#include <cstdint>

#include "kernels/dropout_mask.hpp"
#include "kernels/operations.hpp"

namespace collie::cpu {

// scores become cap · tanh(scale · s / cap). slopes, if not null, gets the derivative by s.
void cap_scores(float* scores, int64_t count, float scale, float cap, float* slopes);

// The rows and columns of a tile of one head, as they are numbered in the mask.
struct WeightRows {
  const uint64_t* queries;  // one number a row
  int64_t count;
  uint64_t first_key;  // the number of column 0; the others follow
  int64_t keys;
  uint32_t head;  // one more than its number: the last word of the counter
};
// factors [queries, keys]: 0 where a weight is dropped, else the mask's factor.
void weight_factors(const WeightRows& rows, const DropoutMask& mask, float* factors);

// x *= factors.
void multiply_by(float* x, const float* factors, int64_t count);

// AttentionScores for the tiles of one head and one document.
struct TileScores {
  float scale, cap;  // a cap of 0 means none
  bool drops;
  DropoutMask mask;
  const uint64_t* query_rows;  // of all documents
  uint64_t first_key;          // the number of the document's first key
  uint32_t head;

  // What softmax multiplies scores by: a cap has applied the scale before.
  float scale_of_softmax() const { return cap > 0 ? 1 : scale; }
  // Of queries [query, query + count) of all, and keys [key, key + keys) of the document.
  WeightRows rows(int64_t query, int64_t count, int64_t key, int64_t keys) const {
    return {query_rows + query, count, first_key + static_cast<uint64_t>(key), keys, head};
  }
};
inline TileScores tile_scores(const AttentionScores& scores, size_t document, int64_t head) {
  const bool drops = scores.dropout > 0;
  return {static_cast<float>(scores.scale),
          static_cast<float>(scores.soft_cap),
          drops,
          dropout_mask(scores.dropout_key, scores.dropout),
          scores.query_rows.data(),
          drops ? scores.first_keys[document] : 0,
          static_cast<uint32_t>(1 + scores.first_head + head)};
}

}  // namespace collie::cpu
