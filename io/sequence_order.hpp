// The order in which an epoch's tokens are seen: packing and shuffling over the whole data set. Any loader
// can compute sequence i of an epoch on its own, from nothing but (data set, settings, epoch, i).
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "io/batch.hpp"
#include "io/dataset.hpp"

namespace collie {

struct SequenceSettings {
  int64_t sequence_length = 256;  // L: inputs (and targets) in a full sequence
  bool packing = true;
  bool shuffle = true;
  uint64_t seed = 42;
};

// With packing, the epoch's documents (permuted by (seed, epoch) when shuffling) form one stream of (input,
// target) pairs, which is cut into windows of L pairs. The last window may be shorter. The windows are
// permuted as well. Without packing, each document is cut into pieces of at most L pairs, and the pieces are
// permuted. Every pair is seen exactly once per epoch. Threads may share one object. The first use of an
// epoch costs O(documents), a sequence after that O(log documents + L).
class SequenceOrder {
 public:
  // Throws UserError if sequence_length < 1 or there are more than 2^32 - 1 documents or sequences.
  SequenceOrder(std::shared_ptr<const Dataset> dataset, SequenceSettings settings);

  const Dataset& dataset() const { return *dataset_; }
  const SequenceSettings& settings() const { return settings_; }
  int64_t sequences_per_epoch() const { return sequences_; }  // N, at least 1, the same in every epoch

  // The number of targets among the labels of sequence `index` (0 <= index < N) of `epoch` (from 0), computed
  // without reading any token.
  int64_t sequence_targets(int64_t epoch, int64_t index) const;
  // The number of an epoch's sequences that have no target, because prompts fill them.
  int64_t sequences_without_targets(int64_t epoch) const;

  // Appends that sequence to `batch`, one document (piece) after another. Positions start at 0 in each.
  void append_sequence(int64_t epoch, int64_t index, MicroBatch& batch) const;

 private:
  struct Epoch;   // the permutations of one epoch
  struct Piece {  // pairs [first, first + count) of a document
    int64_t document, first, count;
  };

  std::shared_ptr<const Epoch> find_epoch(int64_t epoch) const;
  template <class Visit>
  void for_each_piece(int64_t epoch, int64_t index, Visit visit) const;

  std::shared_ptr<const Dataset> dataset_;
  SequenceSettings settings_;
  int64_t sequences_ = 0;
  std::vector<int64_t>
      natural_starts_;  // [D + 1] prefix sums, in natural order, of pairs (packing) or pieces (no packing)
  mutable std::mutex mutex_;
  mutable std::vector<std::shared_ptr<const Epoch>> recent_;  // at most two
};

}  // namespace collie
