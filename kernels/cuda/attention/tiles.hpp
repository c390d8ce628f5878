// How attention is cut into blocks: tiles of one document's queries with the keys they see, or of its keys
// with the queries that see them. Listed on the host, read by kernels.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace collie {
struct AttentionSpans;
}

namespace collie::cuda {

// Documents of a packed row, on the host. Queries and keys of document d: [query_starts[d], query_starts[d +
// 1]) and the same of key_starts.
struct Documents {
  std::span<const int32_t> query_starts, key_starts;
  bool causal;
  int64_t window;  // causal: a query sees at most so many keys, its own the last of them; 0: all before it
  std::vector<int64_t> of_one_key;  // [documents] their first queries that see one key and no other
};
Documents documents_of(const AttentionSpans& spans);  // which must outlive it

// `own_count` rows from `own_first` against the `other_count` rows from `other_first` that matter to any of
// them. Key c and query r, counted from the tile's first of each, meet where
// visible + r - window <= c < visible + r.
struct AttentionTile {
  int32_t own_first, own_count;
  int32_t other_first, other_count;
  int32_t visible;
  int32_t of_one_key;  // the first of its queries that see one key and no other
};

// All tiles of at most `size` queries (keys), those with the most to do first. Every query (key) is in one
// tile; keys that no query sees are in tiles with nothing to do.
std::vector<AttentionTile> tiles_of_queries(const Documents& documents, int64_t size);
std::vector<AttentionTile> tiles_of_keys(const Documents& documents, int64_t size);

// As IndexCache takes them.
std::span<const int32_t> words_of(const std::vector<AttentionTile>& tiles);

}  // namespace collie::cuda
