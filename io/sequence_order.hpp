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

enum class Packing { stream, samples, none };
// What becomes of a document of more than L pairs where documents stay whole (samples, none).
enum class TooLong { cut, drop, refuse };

struct SequenceSettings {
  int64_t sequence_length = 256;  // L: inputs (and targets) in a full sequence
  Packing packing = Packing::stream;
  bool shuffle = true;
  uint64_t seed = 42;
  TooLong too_long = TooLong::cut;
};

// stream: the epoch's documents (permuted by (seed, epoch) when shuffling) form one stream of (input, target)
// pairs, which is cut into windows of L pairs. The last window may be shorter. The windows are permuted as
// well. samples: documents, permuted by the seed when shuffling, are put into windows, each into the first
// open one that has room for all of it (at most 64 windows are open; the oldest is closed for a new one). A
// document of more than L pairs is cut into pieces first, or dropped. The windows are permuted by (seed,
// epoch). none: each document is cut into pieces of at most L pairs, and the pieces are permuted. Every pair
// (that is not dropped) is seen exactly once per epoch. Threads may share one object. The first use of an
// epoch costs O(documents), a sequence after that O(log documents + L).
class SequenceOrder {
 public:
  // Throws UserError if sequence_length < 1, if there are more than 2^32 - 1 documents or sequences, or if
  // too_long is refuse and a document is.
  SequenceOrder(std::shared_ptr<const Dataset> dataset, SequenceSettings settings);

  const Dataset& dataset() const { return *dataset_; }
  const SequenceSettings& settings() const { return settings_; }
  int64_t sequences_per_epoch() const { return sequences_; }  // N, at least 1, the same in every epoch

  // The number of targets among the labels of sequence `index` (0 <= index < N) of `epoch` (from 0), computed
  // without reading any token.
  int64_t sequence_targets(int64_t epoch, int64_t index) const;
  // The documents of more than L pairs, and the number of an epoch's documents that are cut somewhere (with
  // stream packing, in epoch 0).
  int64_t long_documents() const { return long_documents_; }
  int64_t cut_documents() const;

  // The number of an epoch's sequences that have no target, because prompts fill them.
  int64_t sequences_without_targets(int64_t epoch) const;

  // Appends that sequence to `batch`, one document (piece) after another. Positions start at 0 in each.
  void append_sequence(int64_t epoch, int64_t index, MicroBatch& batch) const;

 private:
  struct Epoch;   // the permutations of one epoch
  struct Piece {  // pairs [first, first + count) of a document
    int64_t document, first, count;
  };

  struct Part {  // pairs [number * L, ...) of a document
    uint32_t document, number;
  };

  void pack_stream();
  void pack_samples();
  void pack_none();
  bool drops(int64_t pairs) const {
    return settings_.too_long == TooLong::drop && pairs > settings_.sequence_length;
  }
  Piece piece_of(const Part& part) const;
  std::shared_ptr<const Epoch> find_epoch(int64_t epoch) const;
  template <class Visit>
  void for_each_piece(int64_t epoch, int64_t index, Visit visit) const;

  std::shared_ptr<const Dataset> dataset_;
  SequenceSettings settings_;
  int64_t sequences_ = 0;
  int64_t long_documents_ = 0;
  std::vector<int64_t>
      natural_starts_;       // [D + 1] prefix sums, in natural order, of pairs (stream) or pieces (none)
  std::vector<Part> parts_;  // samples: window after window
  std::vector<int64_t> window_starts_;  // samples: [N + 1] into parts_
  mutable std::mutex mutex_;
  mutable std::vector<std::shared_ptr<const Epoch>> recent_;  // at most two
};

}  // namespace collie
