// Cuts attention into tasks and tiles.
#pragma once

#include <algorithm>
#include <vector>

#include "base/divide.hpp"
#include "kernels/cpu/elements.hpp"
#include "kernels/operations.hpp"

namespace collie::cpu {

inline constexpr int64_t query_tile = 64, key_tile = 256;

// Queries [query, query + queries) of one document, and the keys they see.
struct QueryTile {
  int64_t query, queries;    // rows of q
  int64_t first_key, keys;   // the document's rows of k up to the last that any of these queries sees
  int64_t visible_to_first;  // how many there are up to the first query's own key
  int64_t window;            // the most keys a query sees, its own key included
  int64_t of_one_key;        // the tile's first queries that see one key and no other

  // Where the first tile of keys begins that any of these queries sees: those before are outside all windows.
  int64_t first_seen_tile() const {
    return std::max<int64_t>(0, visible_to_first - window) / key_tile * key_tile;
  }
};

// One document's share of the packed rows.
struct Document {
  int64_t query, queries, key, keys;
  bool causal;
  int64_t window;      // larger than any document if there is no window
  int64_t past_keys;   // how many tokens past the last key the last query stands
  int64_t of_one_key;  // its first queries that see one key and no other

  int64_t query_tiles() const { return divide_up(queries, query_tile); }
  int64_t key_tiles() const { return divide_up(keys, key_tile); }
  QueryTile tile(int64_t index) const {
    const int64_t first = index * query_tile, last = std::min(first + query_tile, queries);
    const int64_t single = std::clamp<int64_t>(of_one_key - first, 0, last - first);
    if (!causal) return {query + first, last - first, key, keys, keys, window, single};
    const int64_t before = keys - queries + past_keys;  // keys before the first query's own (KV cache)
    return {query + first,      last - first, key,   std::min(keys, before + last),
            before + first + 1, window,       single};
  }
};

// For documents of at most this many keys and queries, the backward is one task per key head, which
// recomputes each tile once. For longer ones it is one task per tile of keys (dk, dv) and one per tile of
// queries (dq). That gives more tasks, but recomputes each tile twice.
inline constexpr int64_t longest_whole_document = 1024;
inline bool is_one_task(const Document& document) {
  return std::max(document.keys, document.queries) <= longest_whole_document;
}

std::vector<Document> documents_of(const AttentionSpans& spans);

// The floats of workspace that a task of the forward holds: the scores of one tile of queries and keys, and
// with dropout a tile of factors. If tensors are bfloat16, also its tiles of q, out, k and v as floats.
inline int64_t forward_workspace(const QueryTile& tile, const AttentionScores& scores, int64_t head_dim,
                                 DType dtype) {
  const int64_t keys = std::min(key_tile, tile.keys), tiles = scores.dropout > 0 ? 2 : 1;
  return tiles * tile.queries * keys + (dtype == DType::bf16 ? 2 * (tile.queries + keys) * head_dim : 0);
}

// The floats of workspace that a task of the backward holds: two tiles, the weights and the gradients of the
// scores; a soft cap adds one of slopes, and dropout one of factors. If tensors are bfloat16, also tiles of
// q, d_out, k, v, dk and dv, and dq of all queries of the task and of the `group` heads that share a key
// head. Gradients are summed there, so they are rounded once.
inline int64_t backward_workspace(const Document& document, const AttentionScores& scores, int64_t group,
                                  int64_t head_dim, DType dtype) {
  const int64_t queries = std::min(query_tile, document.queries), keys = std::min(key_tile, document.keys);
  const int64_t tiles = (2 + (scores.soft_cap > 0) + (scores.dropout > 0)) * queries * keys;
  if (dtype != DType::bf16) return tiles;
  const int64_t of_task = is_one_task(document) ? document.queries : queries;
  return tiles + (2 * queries + 4 * keys + group * of_task) * head_dim;
}

// One head's column range of a [tokens, heads, head_dim] tensor.
struct HeadMatrix {
  HeadMatrix(const Tensor& x, int64_t head)
      : data(elements_of(x) + head * x.dim(2)), stride(x.row_stride()) {}
  Elements row(int64_t i) const { return data + i * stride; }
  Elements data;
  int64_t stride;
};

// Workspace that is handed out from the front.
class Scratch {
 public:
  Scratch(float* first, int64_t count) : next_(first), left_(count) {}
  float* take(int64_t count) {
    COLLIE_ASSERT(count <= left_, "{} floats of workspace wanted, {} are left", count, left_);
    float* const taken = next_;
    next_ += count;
    left_ -= count;
    return taken;
  }

 private:
  float* next_;
  int64_t left_;
};

// Rows of a HeadMatrix as floats. Of a float tensor they are its own. Of bfloat16 they are a copy in a buffer
// [rows, width], which load() fills and store() writes back.
class FloatRows {
 public:
  // `buffer` is used only for bfloat16.
  FloatRows(const HeadMatrix& x, int64_t first, int64_t rows, int64_t width, float* buffer);
  void load() const;
  void clear() const;
  void store() const;

  float* data;
  int64_t stride;

 private:
  HeadMatrix x_;
  int64_t first_, rows_, width_;
};

// The buffer of FloatRows, which float tensors do not need.
inline float* buffer_of(const HeadMatrix& x, int64_t rows, int64_t width, Scratch& scratch) {
  return x.data.narrow ? scratch.take(rows * width) : nullptr;
}

}  // namespace collie::cpu
