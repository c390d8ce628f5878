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

// Every token of the data set is different, so that a pair says where it comes from.
std::shared_ptr<const Dataset> numbered(const std::vector<std::pair<int, int>>& lengths_and_masks,
                                        size_t block_size = 3) {
  std::vector<DocumentBlock> blocks;
  std::vector<Document> documents;
  int32_t next = 0;
  for (const auto& [length, masked] : lengths_and_masks) {
    Document document;
    for (int i = 0; i < length; ++i) document.tokens.push_back(next++);
    document.masked = masked;
    documents.push_back(document);
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

// The same, done slowly: the whole epoch is laid out, then cut.
std::vector<Sequence> lay_out(const Dataset& data, const SequenceSettings& settings, int64_t epoch) {
  const auto pairs_of = [&](int64_t document) {
    const DocumentView view = data.document(document);
    Sequence pairs;
    for (int64_t j = 0; j + 1 < static_cast<int64_t>(view.tokens.size()); ++j) {
      const auto at = static_cast<size_t>(j);
      pairs.push_back({view.tokens[at], j + 1 < view.masked ? -100 : view.tokens[at + 1], 0, j == 0});
    }
    return pairs;
  };
  const auto permute = [&](auto list, const std::string& purpose) {
    if (!settings.shuffle) return list;
    auto result = list;
    const auto order = permutation(static_cast<uint32_t>(list.size()),
                                   random_key(settings.seed, purpose + "/" + std::to_string(epoch)));
    for (size_t i = 0; i < list.size(); ++i) result[i] = list[order[i]];
    return result;
  };
  std::vector<int64_t> documents;
  for (int64_t i = 0; i < data.document_count(); ++i) documents.push_back(i);
  if (settings.packing) documents = permute(documents, "documents");
  std::vector<Sequence> streams;  // what is cut into windows
  if (settings.packing) streams.emplace_back();
  for (const int64_t document : documents) {
    if (!settings.packing) streams.emplace_back();
    for (const auto& pair : pairs_of(document)) streams.back().push_back(pair);
  }
  std::vector<Sequence> sequences;
  for (const auto& stream : streams)
    for (size_t i = 0; i < stream.size(); ++i) {
      if (i % static_cast<size_t>(settings.sequence_length) == 0) sequences.emplace_back();
      sequences.back().push_back(stream[i]);
    }
  for (auto& sequence : sequences)
    for (size_t i = 0; i < sequence.size(); ++i) {
      if (i == 0) sequence[i].starts_piece = true;
      sequence[i].position = sequence[i].starts_piece ? 0 : sequence[i - 1].position + 1;
    }
  return permute(sequences, "windows");
}

}  // namespace

TEST_CASE("windows of a long document overlap by one token and positions restart") {
  const auto data = numbered({{8, 0}});
  const SequenceOrder order(data, {3, true, false, 1});
  REQUIRE(order.sequences_per_epoch() == 3);
  CHECK(read(order, 0, 0) == Sequence{{0, 1, 0, true}, {1, 2, 1, false}, {2, 3, 2, false}});
  CHECK(read(order, 0, 1) == Sequence{{3, 4, 0, true}, {4, 5, 1, false}, {5, 6, 2, false}});
  CHECK(read(order, 0, 2) == Sequence{{6, 7, 0, true}});  // the last, partial window counts
}

TEST_CASE("packed documents follow one another and keep their own positions") {
  const auto data = numbered({{3, 0}, {1, 0}, {4, 2}, {0, 0}, {2, 0}});
  const SequenceOrder order(data, {4, true, false, 1});
  REQUIRE(order.sequences_per_epoch() == 2);
  // Documents: 0 1 2 | 3 | 4 5 6 7 (4 and 5 a prompt) | | 8 9
  CHECK(read(order, 0, 0) ==
        Sequence{{0, 1, 0, true}, {1, 2, 1, false}, {4, -100, 0, true}, {5, 6, 1, false}});
  CHECK(read(order, 0, 1) == Sequence{{6, 7, 0, true}, {8, 9, 0, true}});
}

TEST_CASE("without packing a sequence is one document, and longer ones are split") {
  const auto data = numbered({{3, 0}, {6, 0}, {1, 0}, {4, 4}});
  const SequenceOrder order(data, {4, false, false, 1});
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
    const SequenceSettings settings{1 + static_cast<int64_t>(random() % 9), random() % 2 == 0,
                                    random() % 3 != 0, random()};
    CAPTURE(round, settings.sequence_length, settings.packing, settings.shuffle);
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
                              {1 + static_cast<int64_t>(random() % 9), random() % 2 == 0, true, random()});
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
    for (const bool packing : {true, false}) {
      CAPTURE(packing, data->document_count());
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
      CHECK(std::is_sorted(inputs.begin(), inputs.end()));
    }
}

TEST_CASE("a sequence length below one is refused") {
  CHECK_THROWS_WITH(SequenceOrder(numbered({{4, 0}}), {0, true, true, 1}),
                    test::contains("data.sequence_length"));
}
