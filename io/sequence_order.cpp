#include "io/sequence_order.hpp"

#include <algorithm>

#include "base/divide.hpp"
#include "base/error.hpp"
#include "base/random.hpp"

namespace collie {

namespace {

// The run that holds `place`, of the runs that start at `starts` (ascending; the last entry is the end).
// Empty runs hold nothing.
int64_t find_run(const std::vector<int64_t>& starts, int64_t place) {
  return std::upper_bound(starts.begin(), starts.end(), place) - starts.begin() - 1;
}

}  // namespace

struct SequenceOrder::Epoch {
  int64_t epoch = 0;
  std::vector<uint32_t> documents;  // [D] packing: the stream's order
  std::vector<int64_t> starts;      // [D + 1] packing: first pair of each document in the stream
  std::vector<uint32_t> sequences;  // [N] the window (or piece) of sequence i
};

SequenceOrder::SequenceOrder(std::shared_ptr<const Dataset> dataset, SequenceSettings settings)
    : dataset_(std::move(dataset)), settings_(settings) {
  const int64_t length = settings_.sequence_length;
  if (length < 1) throw UserError("data.sequence_length: it must be at least 1, not {}", length);
  natural_starts_.reserve(static_cast<size_t>(dataset_->document_count()) + 1);
  natural_starts_.push_back(0);
  for (int64_t i = 0; i < dataset_->document_count(); ++i) {
    const int64_t pairs = dataset_->document(i).pairs();
    natural_starts_.push_back(natural_starts_.back() +
                              (settings_.packing ? pairs : divide_up(pairs, length)));
  }
  sequences_ = settings_.packing ? divide_up(natural_starts_.back(), length) : natural_starts_.back();
  constexpr int64_t most = UINT32_MAX;
  if (dataset_->document_count() > most || sequences_ > most)
    throw UserError("{}: {} documents in {} sequences; at most {} of each are supported", dataset_->name(),
                    dataset_->document_count(), sequences_, most);
}

std::shared_ptr<const SequenceOrder::Epoch> SequenceOrder::find_epoch(int64_t epoch) const {
  const std::lock_guard lock(mutex_);
  for (const auto& known : recent_)
    if (known->epoch == epoch) return known;
  const auto made = std::make_shared<Epoch>();
  made->epoch = epoch;
  if (settings_.packing) {
    made->documents = permutation(static_cast<uint32_t>(dataset_->document_count()),
                                  random_key(settings_.seed, fmt::format("documents/{}", epoch)));
    made->starts.reserve(made->documents.size() + 1);
    made->starts.push_back(0);
    for (const uint32_t document : made->documents)
      made->starts.push_back(made->starts.back() + natural_starts_[document + 1] - natural_starts_[document]);
  }
  made->sequences = permutation(static_cast<uint32_t>(sequences_),
                                random_key(settings_.seed, fmt::format("windows/{}", epoch)));
  // Two are kept because around the end of an epoch, loaders and the count of targets look at both sides.
  if (recent_.size() >= 2) recent_.erase(recent_.begin());
  recent_.push_back(made);
  return made;
}

template <class Visit>
void SequenceOrder::for_each_piece(int64_t epoch, int64_t index, Visit visit) const {
  COLLIE_ASSERT(epoch >= 0 && index >= 0 && index < sequences_, "sequence {} of {} in epoch {}", index,
                sequences_, epoch);
  const auto order = settings_.shuffle ? find_epoch(epoch) : nullptr;
  const int64_t length = settings_.sequence_length;
  const int64_t place = order ? order->sequences[static_cast<size_t>(index)] : index;
  if (!settings_.packing) {
    const int64_t document = find_run(natural_starts_, place);
    const int64_t first = (place - natural_starts_[static_cast<size_t>(document)]) * length;
    visit(Piece{document, first, std::min(length, dataset_->document(document).pairs() - first)});
    return;
  }
  const std::vector<int64_t>& starts = order ? order->starts : natural_starts_;
  int64_t pair = place * length;
  const int64_t end = std::min(pair + length, starts.back());
  for (auto run = static_cast<size_t>(find_run(starts, pair)); pair < end; ++run) {
    const int64_t count = std::min(end, starts[run + 1]) - pair;
    if (count == 0) continue;
    visit(Piece{order ? order->documents[run] : static_cast<int64_t>(run), pair - starts[run], count});
    pair += count;
  }
}

int64_t SequenceOrder::sequence_targets(int64_t epoch, int64_t index) const {
  int64_t targets = 0;
  for_each_piece(epoch, index, [&](const Piece& piece) {
    const int64_t unmasked = std::max(piece.first, dataset_->document(piece.document).masked - 1);
    targets += std::max<int64_t>(0, piece.first + piece.count - unmasked);
  });
  return targets;
}

int64_t SequenceOrder::sequences_without_targets(int64_t epoch) const {
  if (dataset_->target_count() == dataset_->pair_count()) return 0;
  int64_t without = 0;
  for (int64_t index = 0; index < sequences_; ++index) without += sequence_targets(epoch, index) == 0;
  return without;
}

void SequenceOrder::append_sequence(int64_t epoch, int64_t index, MicroBatch& batch) const {
  if (batch.document_starts.empty()) batch.document_starts.push_back(0);
  int64_t token = (epoch * sequences_ + index) * settings_.sequence_length;
  for_each_piece(epoch, index, [&](const Piece& piece) {
    batch.first_tokens.push_back(std::exchange(token, token + piece.count));
    const DocumentView document = dataset_->document(piece.document);
    for (int64_t i = 0; i < piece.count; ++i) {
      const int64_t pair = piece.first + i;
      const bool target = pair + 1 >= document.masked;
      batch.tokens.push_back(document.tokens[static_cast<size_t>(pair)]);
      batch.labels.push_back(target ? document.tokens[static_cast<size_t>(pair) + 1] : -100);
      batch.positions.push_back(static_cast<int32_t>(i));
      batch.target_tokens += target;
    }
    COLLIE_ASSERT(batch.tokens.size() <= size_t{INT32_MAX}, "{} tokens in one micro-batch",
                  batch.tokens.size());
    batch.document_starts.push_back(static_cast<int32_t>(batch.tokens.size()));
  });
}

}  // namespace collie
