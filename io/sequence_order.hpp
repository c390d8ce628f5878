// The order in which an epoch's tokens are seen: packing and shuffling over the whole data set. Any loader
// can compute sequence i of an epoch on its own, from nothing but (data set, settings, epoch, i).
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "io/batch.hpp"
#include "io/dataset.hpp"
#include "io/mixture.hpp"

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

// The documents of an epoch are those that io/mixture.hpp says: with weights of 1, each document once.
//
// stream: the epoch's documents (permuted by (seed, epoch) when shuffling) form one stream of (input, target)
// pairs, which is cut into windows of L pairs. The last window may be shorter. The windows are permuted as
// well. samples: documents, permuted by the seed when shuffling, are put into windows, each into the first
// open one that has room for all of it (at most 64 windows are open; the oldest is closed for a new one). A
// document of more than L pairs is cut into pieces first, or dropped. The windows are permuted by (seed,
// epoch). Where epochs have different documents, because a weight is no whole number, the documents of each
// are permuted by (seed, epoch) and put together anew. none: each document is cut into pieces of at most L
// pairs, and the pieces are permuted. Every pair of the epoch's documents (that is not dropped) is seen
// exactly once per epoch.
//
// Threads may share one object. The first use of an epoch costs O(documents), a sequence after that O(log
// documents + L). Memory: at most two epochs are kept, with 4 bytes a sequence and, for each document, 12
// bytes (stream; 8 without shuffling), 8 (samples), or 8 (none), once more 4 where weights are no whole
// numbers. Whole samples are kept once for all epochs that have the same documents.
class SequenceOrder {
 public:
  // `phases` as of Mixture; none: every source has the weight 1. Throws UserError if sequence_length < 1, if
  // an epoch has more than 2^32 - 1 documents or sequences, if too_long is refuse and a document is, or if
  // the weights leave nothing of an epoch.
  SequenceOrder(std::shared_ptr<const Dataset> dataset, SequenceSettings settings,
                std::vector<MixturePhase> phases = {});

  const Dataset& dataset() const { return *dataset_; }
  std::shared_ptr<const Dataset> shared_dataset() const { return dataset_; }
  const SequenceSettings& settings() const { return settings_; }
  const Mixture& mixture() const { return mixture_; }

  // N of an epoch. Epochs differ where a weight is no whole number, and may even be empty.
  int64_t sequences_in(int64_t epoch) const { return first_sequence(epoch + 1) - first_sequence(epoch); }
  // N of the first epoch of the weights in force, first_epoch().
  int64_t sequences_per_epoch() const { return sequences_in(first_epoch()); }
  int64_t first_epoch() const { return mixture_.phases().back().first_epoch; }
  // The sequences of all epochs before `epoch`, which is none of those before the first phase.
  int64_t first_sequence(int64_t epoch) const;
  // The epoch that has sequence `position`, counted from the beginning of the run.
  int64_t epoch_of(int64_t position) const;
  // Whether all epochs from this one on have the same number of sequences.
  bool is_even_from(int64_t epoch) const;

  // The number of targets among the labels of sequence `index` (0 <= index < N) of `epoch` (from 0), computed
  // without reading any token.
  int64_t sequence_targets(int64_t epoch, int64_t index) const;
  // Whether its weight gives the source any place in the run.
  bool uses(size_t source) const { return mixture_.phases().back().weights[source] > 0; }
  // Whether `too_long` leaves out documents of so many pairs.
  bool drops(int64_t pairs) const {
    return settings_.packing != Packing::stream && settings_.too_long == TooLong::drop &&
           pairs > settings_.sequence_length;
  }
  // The documents of more than L pairs in sources that are used, and the number of an epoch's documents that
  // are cut somewhere (with stream packing, in first_epoch()).
  int64_t long_documents() const { return long_documents_; }
  int64_t cut_documents() const;

  // The number of an epoch's sequences that have no target, because prompts fill them.
  int64_t sequences_without_targets(int64_t epoch) const;

  // The documents that a sequence is made of, in its order.
  std::vector<int64_t> documents_of(int64_t epoch, int64_t index) const;

  // Appends that sequence to `batch`, one document (piece) after another. Positions start at 0 in each.
  void append_sequence(int64_t epoch, int64_t index, MicroBatch& batch) const;

 private:
  struct Layout;                       // what the windows of an epoch consist of, before they are permuted
  struct Epoch;                        // a layout and its permutation
  struct EpochCounts {                 // of a phase
    int64_t sequences = 0;             // of each epoch, if they are even
    std::vector<int64_t> starts = {};  // otherwise: [epochs looked at + 1] sequences before each
  };
  struct Piece {  // pairs [first, first + count) of a document
    int64_t document, first, count;
  };

  struct Part {  // pairs [number * L, ...) of a document
    uint32_t document, number;
  };

  void check_documents();
  void check_weights() const;
  std::shared_ptr<const Layout> layout_of(int64_t epoch) const;
  std::shared_ptr<const Layout> make_layout(int64_t epoch) const;
  void lay_out_stream(const std::vector<uint32_t>& documents, Layout& layout) const;
  void lay_out_samples(const std::vector<uint32_t>& documents, Layout& layout) const;
  void lay_out_single(const std::vector<uint32_t>& documents, Layout& layout) const;
  int64_t pairs_of(uint32_t document) const { return dataset_->document(document).pairs(); }
  Piece piece_of(const Part& part) const;
  EpochCounts& counts_of(size_t phase) const;
  int64_t sequences_before(size_t phase, int64_t epochs) const;
  std::shared_ptr<const Epoch> find_epoch(int64_t epoch) const;
  template <class Visit>
  void for_each_piece(int64_t epoch, int64_t index, Visit visit) const;

  std::shared_ptr<const Dataset> dataset_;
  SequenceSettings settings_;
  Mixture mixture_;
  int64_t long_documents_ = 0;
  mutable std::recursive_mutex mutex_;
  mutable std::vector<std::shared_ptr<const Layout>> even_layouts_;  // [phases] where epochs share one
  mutable std::vector<EpochCounts> counts_;                          // [phases]
  mutable std::vector<std::shared_ptr<const Epoch>> recent_;         // at most two
};

}  // namespace collie
