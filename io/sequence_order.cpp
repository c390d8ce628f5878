#include "io/sequence_order.hpp"

#include <algorithm>
#include <numeric>

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
  const int64_t length = settings_.sequence_length, documents = dataset_->document_count();
  if (length < 1) throw UserError("data.sequence_length: it must be at least 1, not {}", length);
  constexpr int64_t most = UINT32_MAX;
  if (documents > most)
    throw UserError("{}: {} documents; at most {} are supported", dataset_->name(), documents, most);
  for (int64_t i = 0; i < documents; ++i) {
    const int64_t pairs = dataset_->document(i).pairs();
    if (pairs <= length) continue;
    if (settings_.packing != Packing::stream && settings_.too_long == TooLong::refuse)
      throw UserError(
          "{}: document {} has {} tokens; a window holds {} (data.sequence_length), and data.too_long is "
          "refuse",
          dataset_->name(), i + 1, pairs + 1, length + 1);
    ++long_documents_;
  }
  if (settings_.packing == Packing::stream)
    pack_stream();
  else if (settings_.packing == Packing::samples)
    pack_samples();
  else
    pack_none();
  if (sequences_ > most)
    throw UserError("{}: {} documents in {} sequences; at most {} of each are supported", dataset_->name(),
                    documents, sequences_, most);
  if (sequences_ == 0)
    throw UserError(
        "{}: all {} documents are longer than data.sequence_length, {}, and data.too_long drops them",
        dataset_->name(), documents, length);
}

void SequenceOrder::pack_stream() {
  natural_starts_ = {0};
  for (int64_t i = 0; i < dataset_->document_count(); ++i)
    natural_starts_.push_back(natural_starts_.back() + dataset_->document(i).pairs());
  sequences_ = divide_up(natural_starts_.back(), settings_.sequence_length);
}

void SequenceOrder::pack_none() {
  natural_starts_ = {0};
  for (int64_t i = 0; i < dataset_->document_count(); ++i) {
    const int64_t pairs = dataset_->document(i).pairs();
    natural_starts_.push_back(natural_starts_.back() +
                              (drops(pairs) ? 0 : divide_up(pairs, settings_.sequence_length)));
  }
  sequences_ = natural_starts_.back();
}

namespace {

// First-fit into a bounded number of open windows: Johnson, "Near-optimal bin packing algorithms", 1973, with
// the bound of a next-k-fit, so that a window is complete after a while and the time stays O(documents).
template <class Part>
class FirstFit {
 public:
  explicit FirstFit(int64_t room) : room_(room) {}

  void put(const Part& part, int64_t size) {
    auto window =
        std::find_if(open_.begin(), open_.end(), [&](const Open& each) { return each.left >= size; });
    if (window == open_.end()) {
      if (open_.size() == most_open) close_oldest();
      open_.push_back({{}, room_});
      window = open_.end() - 1;
    }
    window->parts.push_back(part);
    window->left -= size;
    if (window->left == 0) {
      closed_.push_back(std::move(window->parts));
      open_.erase(window);
    }
  }

  std::vector<std::vector<Part>> finish() {
    while (!open_.empty()) close_oldest();
    return std::move(closed_);
  }

 private:
  static constexpr size_t most_open = 64;
  struct Open {
    std::vector<Part> parts;
    int64_t left = 0;
  };

  void close_oldest() {
    closed_.push_back(std::move(open_.front().parts));
    open_.erase(open_.begin());
  }

  int64_t room_;
  std::vector<Open> open_;  // the oldest first
  std::vector<std::vector<Part>> closed_;
};

}  // namespace

void SequenceOrder::pack_samples() {
  const int64_t length = settings_.sequence_length;
  const auto documents = static_cast<uint32_t>(dataset_->document_count());
  std::vector<uint32_t> order(documents);
  std::iota(order.begin(), order.end(), 0u);
  if (settings_.shuffle) order = permutation(documents, random_key(settings_.seed, "samples"));
  FirstFit<Part> windows(length);
  for (const uint32_t document : order) {
    const int64_t pairs = dataset_->document(document).pairs();
    if (drops(pairs)) continue;
    for (int64_t number = 0; number * length < pairs; ++number)
      windows.put({document, static_cast<uint32_t>(number)}, std::min(length, pairs - number * length));
  }
  window_starts_ = {0};
  for (const auto& window : windows.finish()) {
    parts_.insert(parts_.end(), window.begin(), window.end());
    window_starts_.push_back(static_cast<int64_t>(parts_.size()));
  }
  sequences_ = static_cast<int64_t>(window_starts_.size()) - 1;
}

int64_t SequenceOrder::cut_documents() const {
  if (settings_.packing != Packing::stream) return settings_.too_long == TooLong::cut ? long_documents_ : 0;
  const auto order = settings_.shuffle ? find_epoch(0) : nullptr;
  const std::vector<int64_t>& starts = order ? order->starts : natural_starts_;
  int64_t cut = 0;
  for (size_t i = 0; i + 1 < starts.size(); ++i)
    cut += starts[i] < starts[i + 1] &&
           starts[i] / settings_.sequence_length != (starts[i + 1] - 1) / settings_.sequence_length;
  return cut;
}

SequenceOrder::Piece SequenceOrder::piece_of(const Part& part) const {
  const int64_t first = part.number * settings_.sequence_length;
  return {part.document, first,
          std::min(settings_.sequence_length, dataset_->document(part.document).pairs() - first)};
}

std::shared_ptr<const SequenceOrder::Epoch> SequenceOrder::find_epoch(int64_t epoch) const {
  const std::lock_guard lock(mutex_);
  for (const auto& known : recent_)
    if (known->epoch == epoch) return known;
  const auto made = std::make_shared<Epoch>();
  made->epoch = epoch;
  if (settings_.packing == Packing::stream) {
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
  if (settings_.packing == Packing::samples) {
    for (int64_t i = window_starts_[static_cast<size_t>(place)];
         i < window_starts_[static_cast<size_t>(place) + 1]; ++i)
      visit(piece_of(parts_[static_cast<size_t>(i)]));
    return;
  }
  if (settings_.packing == Packing::none) {
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
    targets += dataset_->document(piece.document).target_count(piece.first, piece.count);
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
    auto span = document.targets.begin();
    for (int64_t i = 0; i < piece.count; ++i) {
      const int64_t pair = piece.first + i;
      while (span != document.targets.end() && span->end <= pair + 1) ++span;
      const bool target = span != document.targets.end() && span->begin <= pair + 1;
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
