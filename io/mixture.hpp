// Which documents an epoch has, where the sources of a data set have weights.
//
// A weight says how many times an epoch goes through a source: 1 is each document once, 2 each twice, 0.5
// half of the documents, and the other half in the next epoch. A source is read as an endless stream of
// passes, each of which has every document once, in an order that (seed, source, pass) decides when
// shuffling. The epochs take consecutive parts of that stream, so at any time two documents of a source have
// been seen equally often, give or take one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace collie {

// Weights are counted in millionths, so that places in a stream are exact.
constexpr int64_t whole_weight = 1'000'000;

// A place in a source's stream: so many passes, and so many documents of the next one, lie before it.
struct SourcePlace {
  int64_t passes = 0, documents = 0;
  bool operator==(const SourcePlace&) const = default;
};

// From `first_epoch` on the sources have these weights, until the next phase begins. A run has one phase,
// and one more for each time that it was resumed with other weights.
struct MixturePhase {
  int64_t first_epoch = 0;
  int64_t first_sequence = 0;       // sequences of the epochs before it
  std::vector<int64_t> weights;     // [sources] in millionths
  std::vector<SourcePlace> places;  // [sources] at the beginning of the first epoch
  bool operator==(const MixturePhase&) const = default;
};

// The phase of a run that begins: every source at its first document.
MixturePhase first_phase(std::vector<int64_t> weights);

class Mixture {
 public:
  // `sizes`: documents of each source. `phases`: at least one, epochs ascending, each with as many weights
  // and places as there are sources.
  Mixture(std::vector<int64_t> sizes, std::vector<MixturePhase> phases, bool shuffle, uint64_t seed);

  const std::vector<MixturePhase>& phases() const { return phases_; }
  size_t phase_of(int64_t epoch) const;  // an index into phases(); the first one for epochs before it

  // Whether every epoch of the phase has the same documents, each source a whole number of times.
  bool is_even(size_t phase) const { return even_[phase]; }

  int64_t document_count(int64_t epoch) const;  // documents that are there twice count twice
  // The documents of an epoch by their number in the data set: source by source, and in each the passes one
  // after another. A pass of which the epoch has all is in natural order. O(documents of the passes).
  std::vector<uint32_t> documents(int64_t epoch) const;

  // Where the sources are when the epoch begins. [sources]
  std::vector<SourcePlace> places(int64_t epoch) const;

 private:
  // The documents of a source's stream before an epoch of `phase`, or before the epoch that follows it.
  int64_t place(size_t source, int64_t epoch, const MixturePhase& phase) const;
  void append_pass(size_t source, int64_t pass, int64_t first, int64_t last,
                   std::vector<uint32_t>& documents) const;

  std::vector<int64_t> sizes_, first_documents_;  // [sources]
  std::vector<MixturePhase> phases_;
  std::vector<bool> even_;  // [phases]
  bool shuffle_;
  uint64_t seed_;
};

}  // namespace collie
