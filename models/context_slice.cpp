#include "models/context_slice.hpp"

#include <algorithm>
#include <array>

namespace collie {
namespace {

struct Chunk {
  TokenRange tokens;   // in the whole micro-batch
  int64_t offset = 0;  // its first row among its rank's own tokens

  // Tokens of it as rows among its rank's own.
  TokenRange rows(const TokenRange& part) const {
    return {part.begin - tokens.begin + offset, part.end - tokens.begin + offset};
  }
};

// The two chunks of a rank, the early one first.
std::array<Chunk, 2> chunks_of(const ContextSlice& slice, int rank) {
  const auto range = [&](int chunk) {
    const auto at = static_cast<size_t>(chunk);
    return TokenRange{slice.chunk_starts[at], slice.chunk_starts[at + 1]};
  };
  const TokenRange early = range(rank), late = range(2 * slice.size - 1 - rank);
  return {Chunk{early, 0}, Chunk{late, early.size()}};
}

template <class T>
void append(std::vector<T>& to, const std::vector<T>& from, const TokenRange& range) {
  to.insert(to.end(), from.begin() + range.begin, from.begin() + range.end);
}

// Where pieces of documents start in a chunk, as rows of the rank's own tokens; the first at the chunk's
// start, which may be in the middle of a document. A document without tokens is no piece.
void append_pieces(ContextSlice& slice, const Chunk& chunk, const std::vector<int64_t>& first_tokens) {
  if (chunk.tokens.size() == 0) return;
  const auto& documents = slice.document_starts;
  for (size_t i = 0; i + 1 < documents.size(); ++i) {
    if (documents[i + 1] <= chunk.tokens.begin || documents[i] >= chunk.tokens.end) continue;
    if (documents[i] == documents[i + 1]) continue;
    const int64_t start = std::max<int64_t>(documents[i], chunk.tokens.begin);
    slice.own.document_starts.push_back(static_cast<int32_t>(start - chunk.tokens.begin + chunk.offset));
    slice.goes_on.push_back(documents[i] < start);
    if (!first_tokens.empty()) slice.own.first_tokens.push_back(first_tokens[i]);
  }
}

// The document that has the token `token`.
TokenRange document_of(const ContextSlice& slice, int64_t token) {
  const auto& starts = slice.document_starts;
  const auto after = std::upper_bound(starts.begin(), starts.end(), token);
  return {*(after - 1), *after};
}

// Cuts queries, and the keys before them, to those of which one sees another: the query at t sees the keys
// from t + 1 - window on. No key is left where none is seen.
void cut_to_window(int64_t window, TokenRange& queries, TokenRange& keys) {
  keys.begin = std::max(keys.begin, queries.begin + 1 - window);
  queries.end = std::min(queries.end, keys.end - 1 + window);
}

// The rows of a chunk's end that queries from `others` on see, the first behind it that may be other ranks'.
TokenRange shared_keys_of(const ContextSlice& slice, const Chunk& chunk, int64_t others, int64_t window) {
  const int64_t end = chunk.tokens.end;
  const TokenRange none = chunk.rows({end, end});
  if (chunk.tokens.size() == 0) return none;
  const TokenRange document = document_of(slice, end - 1);
  if (document.end <= others) return none;
  int64_t begin = std::max(document.begin, chunk.tokens.begin);
  if (window > 0) begin = std::max(begin, others + 1 - window);
  return begin < end ? chunk.rows({begin, end}) : none;
}

}  // namespace

int64_t ContextSlice::tokens_of(int other) const {
  const auto [early, late] = chunks_of(*this, other);
  return early.tokens.size() + late.tokens.size();
}

ContextSlice slice_for_context(const MicroBatch& batch, int rank, int size) {
  COLLIE_ASSERT(size >= 1 && rank >= 0 && rank < size, "context rank {} of {}", rank, size);
  ContextSlice slice;
  slice.rank = rank;
  slice.size = size;
  slice.document_starts = batch.document_starts;
  if (!batch.positions.empty()) slice.first_position = batch.positions.front();
  slice.own.virtual_tokens = batch.virtual_tokens;
  const auto tokens = static_cast<int64_t>(batch.tokens.size());
  for (int chunk = 0; chunk <= 2 * size; ++chunk) slice.chunk_starts.push_back(chunk * tokens / (2 * size));
  for (const Chunk& chunk : chunks_of(slice, rank)) {
    append(slice.own.tokens, batch.tokens, chunk.tokens);
    append(slice.own.labels, batch.labels, chunk.tokens);
    append(slice.own.positions, batch.positions, chunk.tokens);
    append_pieces(slice, chunk, batch.first_tokens);
  }
  slice.own.document_starts.push_back(static_cast<int32_t>(slice.own.tokens.size()));
  for (const int32_t label : slice.own.labels) slice.own.target_tokens += label != ignored_label;
  return slice;
}

std::vector<CrossAttention> cross_attention_with(const ContextSlice& slice, int holder, int64_t window) {
  std::vector<CrossAttention> pairs;
  for (const Chunk& queries : chunks_of(slice, slice.rank)) {
    if (queries.tokens.size() == 0) continue;
    const TokenRange document = document_of(slice, queries.tokens.begin);
    for (const Chunk& keys : chunks_of(slice, holder)) {
      if (keys.tokens.end > queries.tokens.begin) continue;
      TokenRange seeing{queries.tokens.begin, std::min(document.end, queries.tokens.end)};
      TokenRange seen{std::max(document.begin, keys.tokens.begin), keys.tokens.end};
      if (window > 0) cut_to_window(window, seeing, seen);
      if (seen.size() <= 0) continue;
      CrossAttention pair{queries.rows(seeing), keys.rows(seen),
                          slice.first_position + seen.begin - document.begin};
      if (window > 0 && seen.begin < seeing.end - window) {  // the first key is out of the last query's reach
        pair.window = window;
        pair.past_keys = seeing.end - seen.end;
      }
      pairs.push_back(pair);
    }
  }
  return pairs;
}

TokenRange SharedKeys::among(const TokenRange& rows) const {
  const bool is_early = rows.end <= early.end;
  const int64_t shift = is_early ? -early.begin : early.size() - late.begin;
  COLLIE_ASSERT(rows.begin >= (is_early ? early.begin : late.begin) && (is_early || rows.end <= late.end),
                "rows {} to {} are not among {} to {} and {} to {}", rows.begin, rows.end, early.begin,
                early.end, late.begin, late.end);
  return {rows.begin + shift, rows.end + shift};
}

SharedKeys shared_keys(const ContextSlice& slice, int holder, int64_t window) {
  const auto [early, late] = chunks_of(slice, holder);
  // The last rank's chunks are neighbours: the queries behind its early one are its own.
  const bool are_neighbours = holder == slice.size - 1;
  return {shared_keys_of(slice, early, are_neighbours ? late.tokens.end : early.tokens.end, window),
          shared_keys_of(slice, late, late.tokens.end, window)};
}

}  // namespace collie
