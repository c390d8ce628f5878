#include "kernels/cuda/attention/tiles.hpp"

#include <algorithm>

#include "kernels/operations.hpp"

namespace collie::cuda {

namespace {

struct Document {
  int64_t query, queries, key, keys;
  int64_t of_one_key;
  // The number of queries that see one key and no other, among `count` queries from `first`.
  int64_t of_one_key_in(int64_t first, int64_t count) const {
    return std::clamp<int64_t>(of_one_key - first, 0, count);
  }
};

// Calls f(document, first, count) for every `size` of document.*length.
template <class F>
std::vector<AttentionTile> cut(const Documents& documents, int64_t size, int64_t Document::*length, F f) {
  std::vector<AttentionTile> tiles;
  for (size_t d = 0; d + 1 < documents.query_starts.size(); ++d) {
    const Document document{documents.query_starts[d],
                            documents.query_starts[d + 1] - documents.query_starts[d],
                            documents.key_starts[d], documents.key_starts[d + 1] - documents.key_starts[d],
                            documents.of_one_key[d]};
    for (int64_t first = 0; first < document.*length; first += size)
      tiles.push_back(f(document, first, std::min(size, document.*length - first)));
  }
  std::stable_sort(tiles.begin(), tiles.end(), [](const AttentionTile& a, const AttentionTile& b) {
    return a.other_count > b.other_count;
  });
  return tiles;
}

AttentionTile tile(int64_t own_first, int64_t own_count, int64_t other_first, int64_t other_count,
                   int64_t visible, int64_t of_one_key) {
  return {static_cast<int32_t>(own_first),   static_cast<int32_t>(own_count),
          static_cast<int32_t>(other_first), static_cast<int32_t>(other_count),
          static_cast<int32_t>(visible),     static_cast<int32_t>(of_one_key)};
}

}  // namespace

Documents documents_of(const AttentionSpans& spans) {
  std::vector<int64_t> of_one_key;
  for (size_t d = 0; d + 1 < spans.query_starts.size(); ++d)
    of_one_key.push_back(spans.queries_of_one_key(d));
  return {spans.query_starts, spans.key_starts,      spans.causal,
          spans.window,       std::move(of_one_key), spans.past_keys};
}

std::vector<AttentionTile> tiles_of_queries(const Documents& documents, int64_t size) {
  return cut(documents, size, &Document::queries, [&](const Document& d, int64_t first, int64_t count) {
    const int64_t of_one_key = d.of_one_key_in(first, count);
    if (!documents.causal) return tile(d.query + first, count, d.key, d.keys, d.keys, of_one_key);
    // The key at which the first query stands, if there is one.
    const int64_t own_key = d.keys - d.queries + documents.past_keys + first;
    const int64_t first_key = documents.window > 0 ? std::max<int64_t>(0, own_key + 1 - documents.window) : 0;
    return tile(d.query + first, count, d.key + first_key, std::min(d.keys, own_key + count) - first_key,
                own_key + 1 - first_key, of_one_key);
  });
}

std::vector<AttentionTile> tiles_of_keys(const Documents& documents, int64_t size) {
  return cut(documents, size, &Document::keys, [&](const Document& d, int64_t first, int64_t count) {
    if (!documents.causal) return tile(d.key + first, count, d.query, d.queries, count, d.of_one_key);
    // Keys before the first query's own (KV cache).
    const int64_t before = d.keys - d.queries + documents.past_keys;
    const int64_t first_query = std::max<int64_t>(0, first - before);
    const int64_t end =
        documents.window > 0 ? std::min(d.queries, first + count - 1 + documents.window - before) : d.queries;
    const int64_t queries = std::max<int64_t>(0, end - first_query);
    return tile(d.key + first, count, d.query + first_query, queries, before + first_query + 1 - first,
                d.of_one_key_in(first_query, queries));
  });
}

std::vector<int32_t> key_numbers(const AttentionSpans& spans, std::span<const uint64_t> first_keys) {
  std::vector<int32_t> numbers;
  for (size_t d = 0; d < first_keys.size(); ++d)
    for (int32_t key = 0; key < spans.key_starts[d + 1] - spans.key_starts[d]; ++key)
      numbers.push_back(static_cast<int32_t>(first_keys[d] + static_cast<uint64_t>(key)));
  return numbers;
}

std::span<const int32_t> words_of(const std::vector<AttentionTile>& tiles) {
  constexpr size_t words = 6;
  static_assert(sizeof(AttentionTile) == words * sizeof(int32_t));
  return {reinterpret_cast<const int32_t*>(tiles.data()), tiles.size() * words};
}

}  // namespace collie::cuda
