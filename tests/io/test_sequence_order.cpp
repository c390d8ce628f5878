#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "base/error.hpp"
#include "base/random.hpp"
#include "io/sequence_order.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"

using namespace collie;

namespace {

constexpr Packing packings[] = {Packing::stream, Packing::samples, Packing::none};

Packing any_packing(std::mt19937& random) {
  return packings[random() % 3];
}

// Every token of the data set is different, so that a pair says where it comes from.
std::shared_ptr<const Dataset> numbered(const std::vector<std::pair<int, int>>& lengths_and_masks,
                                        size_t block_size = 3) {
  std::vector<DocumentBlock> blocks;
  std::vector<Document> documents;
  int32_t next = 0;
  for (const auto& [length, masked] : lengths_and_masks) {
    Document document;
    for (int i = 0; i < length; ++i) document.tokens.push_back(next++);
    documents.push_back(document_from(document.tokens, masked));
    if (documents.size() == block_size) {
      blocks.push_back(make_block(documents));
      documents.clear();
    }
  }
  blocks.push_back(make_block(documents));
  return std::make_shared<const Dataset>(std::move(blocks), "data.train");
}

std::shared_ptr<const Dataset> random_dataset(std::mt19937& random) {
  std::vector<std::pair<int, int>> lengths;
  const int count = 1 + static_cast<int>(random() % 12);
  for (int i = 0; i < count; ++i) {
    const int length = static_cast<int>(random() % (random() % 4 == 0 ? 40 : 8));
    lengths.emplace_back(length,
                         random() % 2 ? static_cast<int>(random() % static_cast<unsigned>(length + 1)) : 0);
  }
  lengths.emplace_back(3, 0);  // at least one target
  return numbered(lengths);
}

struct Pair {
  int32_t input, label, position;
  bool starts_piece;
  bool operator==(const Pair&) const = default;
};
using Sequence = std::vector<Pair>;

Sequence read(const SequenceOrder& order, int64_t epoch, int64_t index) {
  MicroBatch batch;
  order.append_sequence(epoch, index, batch);
  REQUIRE(batch.document_starts.front() == 0);
  REQUIRE(batch.document_starts.back() == static_cast<int32_t>(batch.tokens.size()));
  REQUIRE(batch.labels.size() == batch.tokens.size());
  REQUIRE(batch.positions.size() == batch.tokens.size());
  const std::set<int32_t> starts(batch.document_starts.begin(), batch.document_starts.end());
  REQUIRE(starts.size() == batch.document_starts.size());  // no empty piece
  Sequence sequence;
  int64_t targets = 0;
  for (size_t i = 0; i < batch.tokens.size(); ++i) {
    sequence.push_back(
        {batch.tokens[i], batch.labels[i], batch.positions[i], starts.count(static_cast<int32_t>(i)) > 0});
    targets += batch.labels[i] != -100;
  }
  CHECK(batch.target_tokens == targets);
  CHECK(order.sequence_targets(epoch, index) == targets);
  return sequence;
}

bool is_target(const DocumentView& document, int64_t token) {
  return std::any_of(document.targets.begin(), document.targets.end(),
                     [&](const TokenSpan& span) { return token >= span.begin && token < span.end; });
}

Sequence pairs_of(const DocumentView& view) {
  Sequence pairs;
  for (int64_t j = 0; j + 1 < static_cast<int64_t>(view.tokens.size()); ++j) {
    const auto at = static_cast<size_t>(j);
    pairs.push_back({view.tokens[at], is_target(view, j + 1) ? view.tokens[at + 1] : -100, 0, j == 0});
  }
  return pairs;
}

template <class T>
std::vector<T> permuted(const std::vector<T>& list, uint64_t seed, const std::string& purpose) {
  std::vector<T> result = list;
  const auto order = permutation(static_cast<uint32_t>(list.size()), random_key(seed, purpose));
  for (size_t i = 0; i < list.size(); ++i) result[i] = list[order[i]];
  return result;
}

std::vector<Sequence> cut(const Sequence& stream, int64_t length) {
  std::vector<Sequence> pieces;
  for (size_t i = 0; i < stream.size(); ++i) {
    if (i % static_cast<size_t>(length) == 0) pieces.emplace_back();
    pieces.back().push_back(stream[i]);
    if (pieces.back().size() == 1) pieces.back().back().starts_piece = true;
  }
  return pieces;
}

// First-fit over all windows that are still open, written down plainly.
std::vector<Sequence> first_fit(const std::vector<Sequence>& pieces, size_t length) {
  std::vector<Sequence> windows;
  std::vector<size_t> open, closed;  // numbers of windows
  for (const auto& piece : pieces) {
    size_t chosen = 0;
    while (chosen < open.size() && windows[open[chosen]].size() + piece.size() > length) ++chosen;
    if (chosen == open.size()) {
      if (open.size() == 64) {
        closed.push_back(open.front());
        open.erase(open.begin());
        --chosen;
      }
      open.push_back(windows.size());
      windows.emplace_back();
    }
    Sequence& window = windows[open[chosen]];
    window.insert(window.end(), piece.begin(), piece.end());
    if (window.size() < length) continue;
    closed.push_back(open[chosen]);
    open.erase(open.begin() + static_cast<std::ptrdiff_t>(chosen));
  }
  closed.insert(closed.end(), open.begin(), open.end());
  std::vector<Sequence> result;
  for (const size_t window : closed) result.push_back(windows[window]);
  return result;
}

// The same, done slowly: the whole epoch is laid out, then cut.
std::vector<Sequence> lay_out(const Dataset& data, const SequenceSettings& settings, int64_t epoch) {
  const std::string number = "/" + std::to_string(epoch);
  std::vector<int64_t> documents;
  for (int64_t i = 0; i < data.document_count(); ++i) documents.push_back(i);
  if (settings.shuffle && settings.packing == Packing::stream)
    documents = permuted(documents, settings.seed, "documents" + number);
  if (settings.shuffle && settings.packing == Packing::samples)
    documents = permuted(documents, settings.seed, "samples");
  std::vector<Sequence> sequences;
  Sequence stream;
  for (const int64_t document : documents) {
    const Sequence pairs = pairs_of(data.document(document));
    if (settings.packing == Packing::stream) {
      stream.insert(stream.end(), pairs.begin(), pairs.end());
      continue;
    }
    if (settings.too_long == TooLong::drop && static_cast<int64_t>(pairs.size()) > settings.sequence_length)
      continue;
    for (const auto& piece : cut(pairs, settings.sequence_length)) sequences.push_back(piece);
  }
  if (settings.packing == Packing::stream) sequences = cut(stream, settings.sequence_length);
  if (settings.packing == Packing::samples)
    sequences = first_fit(sequences, static_cast<size_t>(settings.sequence_length));
  for (auto& sequence : sequences)
    for (size_t i = 0; i < sequence.size(); ++i)
      sequence[i].position = sequence[i].starts_piece ? 0 : sequence[i - 1].position + 1;
  return settings.shuffle ? permuted(sequences, settings.seed, "windows" + number) : sequences;
}

}  // namespace

TEST_CASE("windows of a long document overlap by one token and positions restart") {
  const auto data = numbered({{8, 0}});
  const SequenceOrder order(data, {3, Packing::stream, false, 1});
  REQUIRE(order.sequences_per_epoch() == 3);
  CHECK(read(order, 0, 0) == Sequence{{0, 1, 0, true}, {1, 2, 1, false}, {2, 3, 2, false}});
  CHECK(read(order, 0, 1) == Sequence{{3, 4, 0, true}, {4, 5, 1, false}, {5, 6, 2, false}});
  CHECK(read(order, 0, 2) == Sequence{{6, 7, 0, true}});  // the last, partial window counts
}

TEST_CASE("packed documents follow one another and keep their own positions") {
  const auto data = numbered({{3, 0}, {1, 0}, {4, 2}, {0, 0}, {2, 0}});
  const SequenceOrder order(data, {4, Packing::stream, false, 1});
  REQUIRE(order.sequences_per_epoch() == 2);
  // Documents: 0 1 2 | 3 | 4 5 6 7 (4 and 5 a prompt) | | 8 9
  CHECK(read(order, 0, 0) ==
        Sequence{{0, 1, 0, true}, {1, 2, 1, false}, {4, -100, 0, true}, {5, 6, 1, false}});
  CHECK(read(order, 0, 1) == Sequence{{6, 7, 0, true}, {8, 9, 0, true}});
}

TEST_CASE("without packing a sequence is one document, and longer ones are split") {
  const auto data = numbered({{3, 0}, {6, 0}, {1, 0}, {4, 4}});
  const SequenceOrder order(data, {4, Packing::none, false, 1});
  REQUIRE(order.sequences_per_epoch() == 4);
  CHECK(read(order, 0, 0) == Sequence{{0, 1, 0, true}, {1, 2, 1, false}});
  CHECK(read(order, 0, 1) == Sequence{{3, 4, 0, true}, {4, 5, 1, false}, {5, 6, 2, false}, {6, 7, 3, false}});
  CHECK(read(order, 0, 2) == Sequence{{7, 8, 0, true}});
  CHECK(read(order, 0, 3) == Sequence{{10, -100, 0, true}, {11, -100, 1, false}, {12, -100, 2, false}});
}

TEST_CASE("any sequence of any epoch is what laying out the whole epoch gives") {
  std::mt19937 random(7);
  for (int round = 0; round < 150; ++round) {
    const auto data = random_dataset(random);
    const SequenceSettings settings{1 + static_cast<int64_t>(random() % 9), any_packing(random),
                                    random() % 3 != 0, random(),
                                    random() % 4 == 0 ? TooLong::drop : TooLong::cut};
    CAPTURE(round, settings.sequence_length, static_cast<int>(settings.packing), settings.shuffle);
    if (lay_out(*data, settings, 0).empty()) continue;
    const SequenceOrder order(data, settings);
    std::vector<std::pair<int64_t, int64_t>> places;
    std::map<int64_t, std::vector<Sequence>> expected;
    for (const int64_t epoch : {0, 1, 2, 77}) {
      expected[epoch] = lay_out(*data, settings, epoch);
      REQUIRE(order.sequences_per_epoch() == static_cast<int64_t>(expected[epoch].size()));
      for (int64_t i = 0; i < order.sequences_per_epoch(); ++i) places.emplace_back(epoch, i);
    }
    std::shuffle(places.begin(), places.end(), random);  // at once, in any order
    for (const auto& [epoch, index] : places)
      CHECK(read(order, epoch, index) == expected[epoch][static_cast<size_t>(index)]);
  }
}

TEST_CASE("every pair of the data set is seen exactly once an epoch") {
  std::mt19937 random(11);
  for (int round = 0; round < 50; ++round) {
    const auto data = random_dataset(random);
    const SequenceOrder order(data,
                              {1 + static_cast<int64_t>(random() % 9), any_packing(random), true, random()});
    for (int64_t epoch = 0; epoch < 2; ++epoch) {
      std::multiset<int32_t> inputs;
      std::multiset<int32_t> targets;
      for (int64_t i = 0; i < order.sequences_per_epoch(); ++i)
        for (const auto& pair : read(order, epoch, i)) {
          inputs.insert(pair.input);
          if (pair.label != -100) targets.insert(pair.label);
        }
      CHECK(static_cast<int64_t>(inputs.size()) == data->pair_count());
      CHECK(static_cast<int64_t>(targets.size()) == data->target_count());
      CHECK(std::set<int32_t>(inputs.begin(), inputs.end()).size() == inputs.size());
      CHECK(std::set<int32_t>(targets.begin(), targets.end()).size() == targets.size());
    }
  }
}

TEST_CASE("epochs and seeds have orders of their own, and the same ones again") {
  const auto one_document = numbered({{400, 0}});
  const auto many = numbered(std::vector<std::pair<int, int>>(100, {5, 0}));
  for (const auto& data : {one_document, many})
    for (const Packing packing : packings) {
      CAPTURE(static_cast<int>(packing), data->document_count());
      const auto epoch_of = [&](const SequenceOrder& order, int64_t epoch) {
        std::vector<int32_t> inputs;
        for (int64_t i = 0; i < order.sequences_per_epoch(); ++i)
          for (const auto& pair : read(order, epoch, i)) inputs.push_back(pair.input);
        return inputs;
      };
      const SequenceOrder order(data, {4, packing, true, 5}), same(data, {4, packing, true, 5}),
          other(data, {4, packing, true, 6}), natural(data, {4, packing, false, 5});
      CHECK(epoch_of(order, 0) != epoch_of(order, 1));
      CHECK(epoch_of(order, 3) == epoch_of(same, 3));
      CHECK(epoch_of(order, 3) != epoch_of(other, 3));
      CHECK(epoch_of(natural, 0) == epoch_of(natural, 1));
      CHECK(epoch_of(natural, 0) != epoch_of(order, 0));
      const auto inputs = epoch_of(natural, 0);
      if (packing != Packing::samples) CHECK(std::is_sorted(inputs.begin(), inputs.end()));
    }
}

TEST_CASE("a sequence length below one is refused") {
  CHECK_THROWS_WITH(SequenceOrder(numbered({{4, 0}}), {0, Packing::stream, true, 1}),
                    test::contains("data.sequence_length"));
}

TEST_CASE("whole samples are packed by first-fit, and only what no window holds is cut") {
  // Pairs: 3, 2, 1, 6 (too long for 4: 4 and 2), 2.
  const auto data = numbered({{4, 0}, {3, 0}, {2, 0}, {7, 2}, {3, 0}});
  const SequenceOrder order(data, {4, Packing::samples, false, 1});
  REQUIRE(order.sequences_per_epoch() == 4);
  CHECK(order.long_documents() == 1);
  CHECK(order.cut_documents() == 1);
  const auto inputs = [&](int64_t index) {
    std::vector<int32_t> seen;
    for (const auto& pair : read(order, 0, index)) seen.push_back(pair.input);
    return seen;
  };
  CHECK(inputs(0) == std::vector<int32_t>{0, 1, 2, 7});     // full, so it is closed first
  CHECK(inputs(1) == std::vector<int32_t>{9, 10, 11, 12});  // the long one's first window
  CHECK(inputs(2) == std::vector<int32_t>{4, 5, 13, 14});   // its rest beside the second document
  CHECK(inputs(3) == std::vector<int32_t>{16, 17});
  CHECK(read(order, 0, 1).front().label == -100);  // its prompt

  const SequenceOrder dropping(data, {4, Packing::samples, false, 1, TooLong::drop});
  CHECK(dropping.sequences_per_epoch() == 2);
  CHECK(dropping.cut_documents() == 0);
  CHECK_THROWS_WITH(SequenceOrder(data, {4, Packing::samples, false, 1, TooLong::refuse}),
                    test::contains("data.train: document 4 has 7 tokens; a window holds 5"));
  CHECK_THROWS_WITH(SequenceOrder(data, {4, Packing::none, false, 1, TooLong::refuse}),
                    test::contains("data.too_long is refuse"));
  CHECK_THROWS_WITH(SequenceOrder(numbered({{9, 0}}), {4, Packing::samples, false, 1, TooLong::drop}),
                    test::contains("all 1 documents are longer than data.sequence_length, 4"));
  // A stream has no whole documents.
  const SequenceOrder stream(data, {4, Packing::stream, false, 1, TooLong::refuse});
  CHECK(stream.cut_documents() == 2);  // [3, 5) and [6, 12), at 4 and 8
}

TEST_CASE("at most 64 windows are open, so a late document does not fill an early one") {
  std::vector<std::pair<int, int>> lengths(65, {4, 0});  // 65 windows with room for one more pair
  lengths.push_back({2, 0});
  const auto data = numbered(lengths);
  const SequenceOrder order(data, {4, Packing::samples, false, 1});
  CHECK(order.sequences_per_epoch() == 65);
  CHECK(read(order, 0, 0).size() == 3);  // closed when the 65th was opened
  CHECK(read(order, 0, 1).size() == 4);
}

TEST_CASE("targets may be spans anywhere in a document") {
  Document document{{10, 11, 12, 13, 14, 15, 16, 17}, {{0, 1}, {2, 4}, {6, 7}}};
  const auto data =
      std::make_shared<const Dataset>(std::vector<DocumentBlock>{make_block({document})}, "data.train");
  CHECK(data->target_count() == 3);  // the first token is predicted by none
  const SequenceOrder order(data, {3, Packing::stream, false, 1});
  const auto labels = [&](int64_t index) {
    std::vector<int32_t> seen;
    for (const auto& pair : read(order, 0, index)) seen.push_back(pair.label);
    return seen;
  };
  CHECK(labels(0) == std::vector<int32_t>{-100, 12, 13});
  CHECK(labels(1) == std::vector<int32_t>{-100, -100, 16});
  CHECK(labels(2) == std::vector<int32_t>{-100});
  CHECK(order.sequences_without_targets(0) == 1);
}
