#include "io/mixture.hpp"

#include <algorithm>
#include <utility>

#include "base/error.hpp"
#include "base/random.hpp"

namespace collie {

MixturePhase first_phase(std::vector<int64_t> weights) {
  MixturePhase phase;
  phase.places.resize(weights.size());
  phase.weights = std::move(weights);
  return phase;
}

Mixture::Mixture(std::vector<int64_t> sizes, std::vector<MixturePhase> phases, bool shuffle, uint64_t seed)
    : sizes_(std::move(sizes)), phases_(std::move(phases)), shuffle_(shuffle), seed_(seed) {
  COLLIE_ASSERT(!phases_.empty(), "a mixture has {} phases", phases_.size());
  int64_t first = 0;
  for (const int64_t size : sizes_) first_documents_.push_back(std::exchange(first, first + size));
  for (const MixturePhase& phase : phases_) {
    COLLIE_ASSERT(phase.weights.size() == sizes_.size() && phase.places.size() == sizes_.size(),
                  "{} weights and {} places for {} sources", phase.weights.size(), phase.places.size(),
                  sizes_.size());
    bool even = true;
    for (size_t source = 0; source < sizes_.size(); ++source)
      even = even && phase.weights[source] % whole_weight == 0 && phase.places[source].documents == 0;
    even_.push_back(even);
  }
}

size_t Mixture::phase_of(int64_t epoch) const {
  size_t phase = 0;
  while (phase + 1 < phases_.size() && phases_[phase + 1].first_epoch <= epoch) ++phase;
  return phase;
}

int64_t Mixture::place(size_t source, int64_t epoch, const MixturePhase& phase) const {
  __extension__ using int128 = __int128;
  const SourcePlace& start = phase.places[source];
  // The file may have become shorter, where the resume allows it.
  const int64_t begin = start.passes * sizes_[source] + std::min(start.documents, sizes_[source]);
  const auto moved = static_cast<int128>(epoch - phase.first_epoch) * phase.weights[source] * sizes_[source];
  return begin + static_cast<int64_t>(moved / whole_weight);
}

std::vector<SourcePlace> Mixture::places(int64_t epoch) const {
  const MixturePhase& phase = phases_[phase_of(epoch)];
  std::vector<SourcePlace> places;
  for (size_t source = 0; source < sizes_.size(); ++source) {
    const int64_t before = place(source, epoch, phase), size = std::max<int64_t>(sizes_[source], 1);
    places.push_back({before / size, before % size});
  }
  return places;
}

int64_t Mixture::document_count(int64_t epoch) const {
  const MixturePhase& phase = phases_[phase_of(epoch)];
  int64_t count = 0;
  for (size_t source = 0; source < sizes_.size(); ++source)
    count += place(source, epoch + 1, phase) - place(source, epoch, phase);
  return count;
}

std::vector<uint32_t> Mixture::documents(int64_t epoch) const {
  const MixturePhase& phase = phases_[phase_of(epoch)];
  std::vector<uint32_t> documents;
  documents.reserve(static_cast<size_t>(document_count(epoch)));
  for (size_t source = 0; source < sizes_.size(); ++source) {
    const int64_t end = place(source, epoch + 1, phase), size = sizes_[source];
    for (int64_t begin = place(source, epoch, phase); begin < end;) {
      const int64_t pass = begin / size, last = std::min(end, (pass + 1) * size);
      append_pass(source, pass, begin - pass * size, last - pass * size, documents);
      begin = last;
    }
  }
  return documents;
}

void Mixture::append_pass(size_t source, int64_t pass, int64_t first, int64_t last,
                          std::vector<uint32_t>& documents) const {
  const auto size = static_cast<uint32_t>(sizes_[source]);
  const auto start = static_cast<uint32_t>(first_documents_[source]);
  const bool whole = first == 0 && last == sizes_[source];
  if (whole || !shuffle_) {
    for (int64_t i = first; i < last; ++i) documents.push_back(start + static_cast<uint32_t>(i));
    return;
  }
  const auto order = permutation(size, random_key(seed_, fmt::format("pass/{}/{}", source, pass)));
  for (int64_t i = first; i < last; ++i) documents.push_back(start + order[static_cast<size_t>(i)]);
}

}  // namespace collie
