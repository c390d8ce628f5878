// Cuts attention into blocks: tiles of one document's queries with the keys they see, or of its keys with the
// queries that see them. The host lists the tiles and the kernels read them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace collie {
struct AttentionSpans;
}

namespace collie::cuda {

// Documents of a packed row, on the host. Document d has queries [query_starts[d], query_starts[d + 1]), and
// keys by key_starts in the same way.
struct Documents {
  std::span<const int32_t> query_starts, key_starts;
  bool causal;
  int64_t window;  // causal only: the most keys a query sees, its own key included and last; 0: all before it
  std::vector<int64_t> of_one_key;  // [documents] the first queries, which see one key and no other
  int64_t past_keys = 0;            // how many tokens past a document's last key its last query stands
};
Documents documents_of(const AttentionSpans& spans);  // the spans must outlive the result

// `own_count` rows from `own_first` against the `other_count` rows from `other_first` that matter to any of
// them. Key c and query r, each counted from the tile's first, see each other if visible + r - window <= c <
// visible + r.
struct AttentionTile {
  int32_t own_first, own_count;
  int32_t other_first, other_count;
  int32_t visible;
  int32_t of_one_key;  // the first of its queries, which see one key and no other
};

// All tiles of at most `size` queries (or keys). Tiles with the most work come first. Every query (or key) is
// in one tile; keys that no query sees are in tiles without work.
std::vector<AttentionTile> tiles_of_queries(const Documents& documents, int64_t size);
std::vector<AttentionTile> tiles_of_keys(const Documents& documents, int64_t size);

// The numbers of all keys, [keys]: first_keys [documents] has those of the documents' first.
std::vector<int32_t> key_numbers(const AttentionSpans& spans, std::span<const uint64_t> first_keys);

// The tiles in the form that IndexCache takes.
std::span<const int32_t> words_of(const std::vector<AttentionTile>& tiles);

}  // namespace collie::cuda
