#include "io/sequence_order.hpp"

#include <algorithm>
#include <string>
#include <utility>

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

struct SequenceOrder::Layout {
  std::vector<uint32_t> documents;     // [M] stream, none: in order; empty: every document of the data set
  std::vector<int64_t> starts;         // [M + 1] prefix sums of their pairs (stream) or pieces (none)
  std::vector<Part> parts;             // samples: window after window
  std::vector<int64_t> window_starts;  // samples: [N + 1] into parts
  int64_t sequences = 0;               // N

  int64_t document(size_t run) const {
    return documents.empty() ? static_cast<int64_t>(run) : int64_t{documents[run]};
  }
};

struct SequenceOrder::Epoch {
  int64_t epoch = 0;
  std::shared_ptr<const Layout> layout;
  std::vector<uint32_t> sequences;  // [N] the window (or piece) of sequence i; empty: its own number
};

namespace {

std::vector<int64_t> sizes_of(const Dataset& data) {
  std::vector<int64_t> sizes;
  for (const DatasetSource& source : data.sources()) sizes.push_back(source.documents);
  return sizes;
}

std::vector<MixturePhase> phases_or_default(std::vector<MixturePhase> phases, size_t sources) {
  if (phases.empty()) phases.push_back(first_phase(std::vector<int64_t>(sources, whole_weight)));
  return phases;
}

constexpr int64_t most_in_epoch = UINT32_MAX;

}  // namespace

SequenceOrder::SequenceOrder(std::shared_ptr<const Dataset> dataset, SequenceSettings settings,
                             std::vector<MixturePhase> phases)
    : dataset_(std::move(dataset)),
      settings_(settings),
      mixture_(sizes_of(*dataset_), phases_or_default(std::move(phases), dataset_->sources().size()),
               settings.shuffle, settings.seed),
      even_layouts_(mixture_.phases().size()),
      counts_(mixture_.phases().size()) {
  if (settings_.sequence_length < 1)
    throw UserError("data.sequence_length: it must be at least 1, not {}", settings_.sequence_length);
  check_weights();
  check_documents();
}

// An epoch without documents is no epoch, and if all were so, a run would never get anywhere.
void SequenceOrder::check_weights() const {
  __extension__ using int128 = __int128;
  const MixturePhase& phase = mixture_.phases().back();
  int64_t least = 0;  // documents of an epoch
  for (size_t source = 0; source < phase.weights.size(); ++source) {
    const int64_t documents = dataset_->sources()[source].documents;
    const auto part = static_cast<int128>(documents) * phase.weights[source] / whole_weight;
    if (part + least > most_in_epoch)
      throw UserError(
          "{}: more than {} documents an epoch, with their weights; at most so many are supported",
          dataset_->name(), most_in_epoch);
    least += static_cast<int64_t>(part);
  }
  if (least == 0)
    throw UserError(
        "{}: the weights leave an epoch without a document ({} documents in {} sources); a weight of 1 means "
        "each document once",
        dataset_->name(), dataset_->document_count(), phase.weights.size());
}

void SequenceOrder::check_documents() {
  const int64_t length = settings_.sequence_length;
  int64_t first = 0, used = 0, kept = 0;
  for (size_t source = 0; source < dataset_->sources().size(); ++source) {
    const int64_t last = first + dataset_->sources()[source].documents;
    for (int64_t i = std::exchange(first, last); i < last && uses(source); ++i) {
      const int64_t pairs = pairs_of(static_cast<uint32_t>(i));
      ++used;
      kept += pairs > 0 && !drops(pairs);
      if (pairs <= length) continue;
      if (settings_.packing != Packing::stream && settings_.too_long == TooLong::refuse)
        throw UserError(
            "{}: document {} has {} tokens; a window holds {} (data.sequence_length), and data.too_long is "
            "refuse",
            dataset_->name(), i + 1, pairs + 1, length + 1);
      ++long_documents_;
    }
  }
  if (kept == 0 && long_documents_ > 0)
    throw UserError(
        "{}: all {} documents are longer than data.sequence_length, {}, and data.too_long drops them",
        dataset_->name(), used, length);
  if (kept == 0)
    throw UserError(
        "{}: there is nothing to learn from: {} documents of sources with a weight, without a "
        "single target token",
        dataset_->name(), used);
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

void SequenceOrder::lay_out_samples(const std::vector<uint32_t>& documents, Layout& layout) const {
  const int64_t length = settings_.sequence_length;
  FirstFit<Part> windows(length);
  for (const uint32_t document : documents) {
    const int64_t pairs = pairs_of(document);
    if (drops(pairs)) continue;
    for (int64_t number = 0; number * length < pairs; ++number)
      windows.put({document, static_cast<uint32_t>(number)}, std::min(length, pairs - number * length));
  }
  layout.window_starts = {0};
  for (const auto& window : windows.finish()) {
    layout.parts.insert(layout.parts.end(), window.begin(), window.end());
    layout.window_starts.push_back(static_cast<int64_t>(layout.parts.size()));
  }
  layout.sequences = static_cast<int64_t>(layout.window_starts.size()) - 1;
}

std::shared_ptr<const SequenceOrder::Layout> SequenceOrder::layout_of(int64_t epoch) const {
  const std::lock_guard lock(mutex_);
  const size_t phase = mixture_.phase_of(epoch);
  const bool own_order = settings_.packing == Packing::stream && settings_.shuffle;
  if (own_order || !mixture_.is_even(phase)) return make_layout(epoch);
  if (!even_layouts_[phase]) even_layouts_[phase] = make_layout(epoch);
  return even_layouts_[phase];
}

std::shared_ptr<const SequenceOrder::Layout> SequenceOrder::make_layout(int64_t epoch) const {
  const auto layout = std::make_shared<Layout>();
  std::vector<uint32_t> documents = mixture_.documents(epoch);
  const auto permute = [&](const std::string& purpose) {
    const auto order =
        permutation(static_cast<uint32_t>(documents.size()), random_key(settings_.seed, purpose));
    std::vector<uint32_t> permuted;
    permuted.reserve(order.size());
    for (const uint32_t place : order) permuted.push_back(documents[place]);
    documents = std::move(permuted);
  };
  if (settings_.packing == Packing::stream) {
    if (settings_.shuffle) permute(fmt::format("documents/{}", epoch));
    lay_out_stream(documents, *layout);
  } else if (settings_.packing == Packing::samples) {
    const bool even = mixture_.is_even(mixture_.phase_of(epoch));
    if (settings_.shuffle) permute(even ? "samples" : fmt::format("samples/{}", epoch));
    lay_out_samples(documents, *layout);
  } else {
    lay_out_single(documents, *layout);
  }
  if (layout->sequences > most_in_epoch)
    throw UserError("{}: {} documents in {} sequences; at most {} of each are supported", dataset_->name(),
                    documents.size(), layout->sequences, most_in_epoch);
  const bool natural = std::is_sorted(documents.begin(), documents.end()) &&
                       static_cast<int64_t>(documents.size()) == dataset_->document_count() &&
                       std::adjacent_find(documents.begin(), documents.end()) == documents.end();
  if (settings_.packing != Packing::samples && !natural) layout->documents = std::move(documents);
  return layout;
}

void SequenceOrder::lay_out_stream(const std::vector<uint32_t>& documents, Layout& layout) const {
  layout.starts.reserve(documents.size() + 1);
  layout.starts.push_back(0);
  for (const uint32_t document : documents)
    layout.starts.push_back(layout.starts.back() + pairs_of(document));
  layout.sequences = divide_up(layout.starts.back(), settings_.sequence_length);
}

void SequenceOrder::lay_out_single(const std::vector<uint32_t>& documents, Layout& layout) const {
  layout.starts.reserve(documents.size() + 1);
  layout.starts.push_back(0);
  for (const uint32_t document : documents) {
    const int64_t pairs = pairs_of(document);
    layout.starts.push_back(layout.starts.back() +
                            (drops(pairs) ? 0 : divide_up(pairs, settings_.sequence_length)));
  }
  layout.sequences = layout.starts.back();
}

int64_t SequenceOrder::cut_documents() const {
  if (settings_.packing != Packing::stream) return settings_.too_long == TooLong::cut ? long_documents_ : 0;
  const auto epoch = find_epoch(first_epoch());
  const std::vector<int64_t>& starts = epoch->layout->starts;
  int64_t cut = 0;
  for (size_t i = 0; i + 1 < starts.size(); ++i)
    cut += starts[i] < starts[i + 1] &&
           starts[i] / settings_.sequence_length != (starts[i + 1] - 1) / settings_.sequence_length;
  return cut;
}

SequenceOrder::EpochCounts& SequenceOrder::counts_of(size_t phase) const {
  EpochCounts& counts = counts_[phase];
  if (!counts.starts.empty()) return counts;
  counts.starts = {0};
  if (!mixture_.is_even(phase)) return counts;
  const MixturePhase& mixed = mixture_.phases()[phase];
  if (settings_.packing != Packing::stream) {
    counts.sequences = layout_of(mixed.first_epoch)->sequences;
    return counts;
  }
  int64_t pairs = 0;  // however the stream is permuted
  for (size_t source = 0; source < mixed.weights.size(); ++source)
    pairs += mixed.weights[source] / whole_weight * dataset_->sources()[source].pairs;
  counts.sequences = divide_up(pairs, settings_.sequence_length);
  return counts;
}

// In the first `epochs` epochs of the phase.
int64_t SequenceOrder::sequences_before(size_t phase, int64_t epochs) const {
  EpochCounts& counts = counts_of(phase);
  if (mixture_.is_even(phase)) return epochs * counts.sequences;
  for (auto known = static_cast<int64_t>(counts.starts.size()) - 1; known < epochs; ++known)
    counts.starts.push_back(counts.starts.back() +
                            layout_of(mixture_.phases()[phase].first_epoch + known)->sequences);
  return counts.starts[static_cast<size_t>(epochs)];
}

int64_t SequenceOrder::first_sequence(int64_t epoch) const {
  const std::lock_guard lock(mutex_);
  const size_t number = mixture_.phase_of(epoch);
  const MixturePhase& phase = mixture_.phases()[number];
  COLLIE_ASSERT(epoch >= phase.first_epoch, "epoch {} comes before the first, {}", epoch, phase.first_epoch);
  return phase.first_sequence + sequences_before(number, epoch - phase.first_epoch);
}

bool SequenceOrder::is_even_from(int64_t epoch) const {
  const size_t phase = mixture_.phase_of(epoch);
  return phase + 1 == mixture_.phases().size() && mixture_.is_even(phase);
}

int64_t SequenceOrder::epoch_of(int64_t position) const {
  const std::lock_guard lock(mutex_);
  size_t number = mixture_.phases().size() - 1;
  while (number > 0 && mixture_.phases()[number].first_sequence > position) --number;
  const MixturePhase& phase = mixture_.phases()[number];
  const int64_t inside = position - phase.first_sequence;
  COLLIE_ASSERT(inside >= 0, "sequence {} comes before the first phase", position);
  const EpochCounts& counts = counts_of(number);
  if (mixture_.is_even(number)) return phase.first_epoch + inside / counts.sequences;
  while (counts.starts.back() <= inside) sequences_before(number, static_cast<int64_t>(counts.starts.size()));
  return phase.first_epoch + find_run(counts.starts, inside);
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
  made->layout = layout_of(epoch);
  if (settings_.shuffle)
    made->sequences = permutation(static_cast<uint32_t>(made->layout->sequences),
                                  random_key(settings_.seed, fmt::format("windows/{}", epoch)));
  // Two are kept because around the end of an epoch, loaders and the count of targets look at both sides.
  if (recent_.size() >= 2) recent_.erase(recent_.begin());
  recent_.push_back(made);
  return made;
}

template <class Visit>
void SequenceOrder::for_each_piece(int64_t epoch, int64_t index, Visit visit) const {
  const auto order = find_epoch(epoch);
  const Layout& layout = *order->layout;
  COLLIE_ASSERT(epoch >= 0 && index >= 0 && index < layout.sequences, "sequence {} of {} in epoch {}", index,
                layout.sequences, epoch);
  const int64_t length = settings_.sequence_length;
  const int64_t place =
      order->sequences.empty() ? index : int64_t{order->sequences[static_cast<size_t>(index)]};
  if (settings_.packing == Packing::samples) {
    for (int64_t i = layout.window_starts[static_cast<size_t>(place)];
         i < layout.window_starts[static_cast<size_t>(place) + 1]; ++i)
      visit(piece_of(layout.parts[static_cast<size_t>(i)]));
    return;
  }
  const std::vector<int64_t>& starts = layout.starts;
  if (settings_.packing == Packing::none) {
    const auto run = static_cast<size_t>(find_run(starts, place));
    visit(
        piece_of({static_cast<uint32_t>(layout.document(run)), static_cast<uint32_t>(place - starts[run])}));
    return;
  }
  int64_t pair = place * length;
  const int64_t end = std::min(pair + length, starts.back());
  for (auto run = static_cast<size_t>(find_run(starts, pair)); pair < end; ++run) {
    const int64_t count = std::min(end, starts[run + 1]) - pair;
    if (count == 0) continue;
    visit(Piece{layout.document(run), pair - starts[run], count});
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

std::vector<int64_t> SequenceOrder::documents_of(int64_t epoch, int64_t index) const {
  std::vector<int64_t> documents;
  for_each_piece(epoch, index, [&](const Piece& piece) { documents.push_back(piece.document); });
  return documents;
}

int64_t SequenceOrder::sequences_without_targets(int64_t epoch) const {
  if (dataset_->target_count() == dataset_->pair_count()) return 0;
  int64_t without = 0;
  const int64_t sequences = sequences_in(epoch);
  for (int64_t index = 0; index < sequences; ++index) without += sequence_targets(epoch, index) == 0;
  return without;
}

void SequenceOrder::append_sequence(int64_t epoch, int64_t index, MicroBatch& batch) const {
  if (batch.document_starts.empty()) batch.document_starts.push_back(0);
  int64_t token = (first_sequence(epoch) + index) * settings_.sequence_length;
  for_each_piece(epoch, index, [&](const Piece& piece) {
    batch.first_tokens.push_back(std::exchange(token, token + piece.count));
    const DocumentView document = dataset_->document(piece.document);
    std::vector<int32_t> tokens(static_cast<size_t>(piece.count) + 1);  // inputs, and the last one's target
    dataset_->read_tokens(piece.document, piece.first, tokens);
    auto span = document.targets.begin();
    for (int64_t i = 0; i < piece.count; ++i) {
      const int64_t pair = piece.first + i;
      while (span != document.targets.end() && span->end <= pair + 1) ++span;
      const bool target = span != document.targets.end() && span->begin <= pair + 1;
      batch.tokens.push_back(tokens[static_cast<size_t>(i)]);
      batch.labels.push_back(target ? tokens[static_cast<size_t>(i) + 1] : -100);
      batch.positions.push_back(static_cast<int32_t>(i));
      batch.target_tokens += target;
    }
    COLLIE_ASSERT(batch.tokens.size() <= size_t{INT32_MAX}, "{} tokens in one micro-batch",
                  batch.tokens.size());
    batch.document_starts.push_back(static_cast<int32_t>(batch.tokens.size()));
  });
}

}  // namespace collie
