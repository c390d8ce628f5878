// What one rank of a context group computes of a micro-batch (ring attention, Liu et al., arXiv 2310.01889).
//
// The T tokens are cut into 2 · size chunks, chunk i being [i T / (2 size), (i + 1) T / (2 size)). Rank r has
// chunks r and 2 size - 1 - r: an early and a late one, so that causal attention costs all ranks about the
// same.
#pragma once

#include <cstdint>
#include <vector>

#include "io/batch.hpp"
#include "kernels/operations.hpp"
#include "models/tensor_parallel.hpp"

namespace collie {

struct ContextSlice {
  int rank = 0, size = 1;
  // The rank's tokens, labels and positions, its early chunk before its late one. Its document_starts and
  // first_tokens are those of the pieces of documents in the two chunks; a document that goes on from one
  // into the other is two pieces.
  MicroBatch own;
  std::vector<bool> goes_on;             // [pieces] of them: tokens of the document are in an earlier chunk
  std::vector<int64_t> chunk_starts;     // [2 size + 1], in the whole micro-batch
  std::vector<int32_t> document_starts;  // of the whole micro-batch
  int64_t first_position = 0;            // of every document's first token; a prefix is before it

  // How many tokens rank `other` has.
  int64_t tokens_of(int other) const;
};

ContextSlice slice_for_context(const MicroBatch& batch, int rank, int size);

// Own queries that see keys of an earlier chunk: those of the document which goes on from that chunk into
// theirs. Each of them sees all of that document's keys there, or, with a window, at least one of them; and
// each key is seen by one of the queries.
struct CrossAttention {
  TokenRange queries;     // rows of the slice's own tokens
  TokenRange keys;        // rows of the tokens of the rank that has the keys
  int64_t first_key = 0;  // the position of the first of them
  int64_t window = 0;     // the most keys a query sees, its own included; 0: it sees all of these
  int64_t past_keys = 0;  // with a window: how many tokens past the last of these keys the last query stands
};

// All such pairs of the slice's chunks with those of rank `holder`, which may be the slice's own. `window` is
// the most keys a query sees, its own included; 0: no limit.
std::vector<CrossAttention> cross_attention_with(const ContextSlice& slice, int holder, int64_t window);

// The tokens of a rank whose keys queries of other ranks see: the ends of its two chunks, the early one's
// before the late one's.
struct SharedKeys {
  TokenRange early, late;  // rows of the rank's tokens

  int64_t count() const { return early.size() + late.size(); }
  // Where rows of the rank's tokens stand among these. They must be there, all in one of the two.
  TokenRange among(const TokenRange& rows) const;
};
SharedKeys shared_keys(const ContextSlice& slice, int holder, int64_t window);

}  // namespace collie
