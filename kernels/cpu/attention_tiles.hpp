// Cuts attention into tasks and tiles, and does its small matrix products.
#pragma once

#include <algorithm>
#include <vector>

#include "base/divide.hpp"
#include "kernels/cpu/blas.hpp"
#include "kernels/operations.hpp"

namespace collie::cpu {

inline constexpr int64_t query_tile = 64, key_tile = 256;

// Queries [query, query + queries) of one document, and the keys they see.
struct QueryTile {
  int64_t query, queries;    // rows of q
  int64_t first_key, keys;   // rows of k that any of these queries sees
  int64_t visible_to_first;  // how many of them the first query sees, up to its own key
  int64_t window;            // the most keys a query sees, its own key included
  int64_t of_one_key;        // the tile's first queries that see one key and no other
};

// One document's share of the packed rows.
struct Document {
  int64_t query, queries, key, keys;
  bool causal;
  int64_t window;      // larger than any document if there is no window
  int64_t of_one_key;  // its first queries that see one key and no other

  int64_t query_tiles() const { return divide_up(queries, query_tile); }
  int64_t key_tiles() const { return divide_up(keys, key_tile); }
  QueryTile tile(int64_t index) const {
    const int64_t first = index * query_tile, last = std::min(first + query_tile, queries);
    const int64_t single = std::clamp<int64_t>(of_one_key - first, 0, last - first);
    if (!causal) return {query + first, last - first, key, keys, keys, window, single};
    const int64_t before = keys - queries;  // keys before the first query (KV cache)
    return {query + first, last - first, key, before + last, before + first + 1, window, single};
  }
};

// The workspace that a task holds besides its operands. The forward holds the scores of one tile of queries
// and keys. The backward holds two such tiles: the weights, and the gradients of the scores.
inline Shape scores_of(const QueryTile& tile) {
  return {tile.queries, std::min(key_tile, tile.keys)};
}
inline Shape backward_tiles_of(const Document& document) {
  return {2, std::min(query_tile, document.queries) * std::min(key_tile, document.keys)};
}

// For documents of at most this many keys and queries, the backward is one task per key head, which
// recomputes each tile once. For longer ones it is one task per tile of keys (dk, dv) and one per tile of
// queries (dq). That gives more tasks, but recomputes each tile twice.
inline constexpr int64_t longest_whole_document = 1024;
inline bool is_one_task(const Document& document) {
  return std::max(document.keys, document.queries) <= longest_whole_document;
}

std::vector<Document> documents_of(const AttentionSpans& spans);

// One head's column range of a [tokens, heads, head_dim] tensor.
struct HeadMatrix {
  HeadMatrix(const Tensor& x, int64_t head)
      : data(x.data<float>() + head * x.dim(2)), stride(x.row_stride()) {}
  float* row(int64_t i) const { return data + i * stride; }
  float* data;
  int64_t stride;
};

// C[m, n] = A · B (+ C) on one thread.
void multiply_tile(GemmForm form, int64_t m, int64_t n, int64_t k, const float* a, int64_t a_stride,
                   const float* b, int64_t b_stride, float* c, int64_t c_stride, bool accumulate);

}  // namespace collie::cpu
