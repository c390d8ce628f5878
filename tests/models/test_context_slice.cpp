#include "models/context_slice.hpp"

#include <set>

#include "tests/catch.hpp"
#include "tests/models/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

// How many times each query of a slice sees each token of the whole micro-batch: [own, T].
using Sight = std::vector<std::vector<int>>;

// The tokens of a rank, in its own order, as places in the whole.
std::vector<int64_t> places_of(const ContextSlice& slice, int rank) {
  std::vector<int64_t> all;
  for (const int chunk : {rank, 2 * slice.size - 1 - rank})
    for (int64_t at = slice.chunk_starts[static_cast<size_t>(chunk)];
         at < slice.chunk_starts[static_cast<size_t>(chunk) + 1]; ++at)
      all.push_back(at);
  return all;
}

Sight sight_of(const ContextSlice& slice, size_t tokens, int64_t window = 0) {
  const std::vector<int64_t> own = places_of(slice, slice.rank);
  Sight sight(own.size(), std::vector<int>(tokens, 0));
  const auto& starts = slice.own.document_starts;
  for (size_t piece = 0; piece + 1 < starts.size(); ++piece)
    for (int32_t query = starts[piece]; query < starts[piece + 1]; ++query)
      for (int32_t key = starts[piece]; key <= query; ++key)
        if (window == 0 || key > query - window)
          ++sight[static_cast<size_t>(query)][static_cast<size_t>(own[static_cast<size_t>(key)])];
  for (int holder = 0; holder < slice.size; ++holder) {
    const std::vector<int64_t> held = places_of(slice, holder);
    for (const CrossAttention& pair : cross_attention_with(slice, holder, window))
      for (int64_t query = pair.queries.begin; query < pair.queries.end; ++query)
        for (int64_t key = pair.keys.begin; key < pair.keys.end; ++key) {
          // Counted from the pair's end, as attention does with past_keys.
          const int64_t stands_at = pair.keys.end - 1 + pair.past_keys - (pair.queries.end - 1 - query);
          if (pair.window > 0 && key <= stands_at - pair.window) continue;
          ++sight[static_cast<size_t>(query)][static_cast<size_t>(held[static_cast<size_t>(key)])];
        }
  }
  return sight;
}

const std::vector<std::vector<int>> all_lengths = {{16}, {5, 3, 7}, {1, 13, 1, 9, 2}, {},         {1},
                                                   {3},  {1, 1},    {0, 4, 0},        {100, 1, 3}};

}  // namespace

TEST_CASE("every token is one rank's, with its label and its position", "[context]") {
  const int size = GENERATE(1, 2, 3, 4, 8);
  for (const std::vector<int>& lengths : all_lengths) {
    MicroBatch batch = make_batch(lengths, 50, "batch");
    if (!batch.labels.empty()) batch.labels[0] = ignored_label;
    std::vector<int> seen(batch.tokens.size(), 0);
    int64_t targets = 0;
    for (int rank = 0; rank < size; ++rank) {
      const ContextSlice slice = slice_for_context(batch, rank, size);
      const std::vector<int64_t> places = places_of(slice, rank);
      CHECK(slice.tokens_of(rank) == static_cast<int64_t>(places.size()));
      REQUIRE(slice.own.tokens.size() == places.size());
      REQUIRE(slice.own.document_starts.front() == 0);
      REQUIRE(slice.own.document_starts.back() == static_cast<int32_t>(places.size()));
      for (size_t i = 0; i < places.size(); ++i) {
        const auto at = static_cast<size_t>(places[i]);
        ++seen[at];
        CHECK(slice.own.tokens[i] == batch.tokens[at]);
        CHECK(slice.own.labels[i] == batch.labels[at]);
        CHECK(slice.own.positions[i] == batch.positions[at]);
      }
      targets += slice.own.target_tokens;
    }
    CHECK(seen == std::vector<int>(seen.size(), 1));
    CHECK(targets == std::max<int64_t>(0, static_cast<int64_t>(batch.tokens.size()) - 1));
  }
}

TEST_CASE("around the ring a query sees every earlier token of its document and its window once, no other",
          "[context]") {
  const int size = GENERATE(1, 2, 3, 4, 8);
  const int64_t window = GENERATE(0, 1, 2, 3, 7, 30, 1000);
  for (const std::vector<int>& lengths : all_lengths) {
    const MicroBatch batch = make_batch(lengths, 50, "batch");
    const auto& starts = batch.document_starts;
    for (int rank = 0; rank < size; ++rank) {
      CAPTURE(size, rank, lengths, window);
      const ContextSlice slice = slice_for_context(batch, rank, size);
      const std::vector<int64_t> places = places_of(slice, rank);
      Sight expected(places.size(), std::vector<int>(batch.tokens.size(), 0));
      for (size_t i = 0; i < places.size(); ++i)
        for (size_t s = 0; s + 1 < starts.size(); ++s)
          if (places[i] >= starts[s] && places[i] < starts[s + 1])
            for (int64_t key = starts[s]; key <= places[i]; ++key)
              expected[i][static_cast<size_t>(key)] = window == 0 || key > places[i] - window;
      CHECK(sight_of(slice, batch.tokens.size(), window) == expected);
    }
  }
}

TEST_CASE("what travels around the ring is what queries of other ranks see", "[context]") {
  const int size = GENERATE(1, 2, 3, 4, 8);
  const int64_t window = GENERATE(0, 1, 2, 5, 30);
  for (const std::vector<int>& lengths : all_lengths) {
    const MicroBatch batch = make_batch(lengths, 50, "batch");
    for (int holder = 0; holder < size; ++holder) {
      CAPTURE(size, holder, lengths, window);
      const ContextSlice own = slice_for_context(batch, holder, size);
      const SharedKeys shared = shared_keys(own, holder, window);
      std::set<int64_t> travelling, seen;
      for (const TokenRange& rows : {shared.early, shared.late})
        for (int64_t row = rows.begin; row < rows.end; ++row) travelling.insert(row);
      CHECK(shared.count() == static_cast<int64_t>(travelling.size()));
      for (int rank = 0; rank < size; ++rank) {
        if (rank == holder) continue;
        const ContextSlice other = slice_for_context(batch, rank, size);
        for (const CrossAttention& pair : cross_attention_with(other, holder, window)) {
          for (int64_t key = pair.keys.begin; key < pair.keys.end; ++key) seen.insert(key);
          const TokenRange rows = shared.among(pair.keys);
          CHECK(rows.size() == pair.keys.size());
          CHECK(rows.begin == std::distance(travelling.begin(), travelling.find(pair.keys.begin)));
        }
      }
      CHECK(std::includes(travelling.begin(), travelling.end(), seen.begin(), seen.end()));
      // Where no chunk is empty, nothing else does.
      if (batch.tokens.size() >= static_cast<size_t>(2 * size)) CHECK(travelling == seen);
    }
  }
}

TEST_CASE("a query sees one key in all where its piece's keys are one and the document does not go on",
          "[context]") {
  const int size = GENERATE(1, 2, 3, 4, 8);
  for (const std::vector<int>& lengths : all_lengths) {
    const MicroBatch batch = make_batch(lengths, 50, "batch");
    for (int rank = 0; rank < size; ++rank) {
      CAPTURE(size, rank, lengths);
      const ContextSlice slice = slice_for_context(batch, rank, size);
      AttentionSpans own{slice.own.document_starts, slice.own.document_starts};
      own.more_keys = slice.goes_on;
      REQUIRE(own.more_keys.size() + 1 == own.query_starts.size());
      const Sight sight = sight_of(slice, batch.tokens.size());
      for (size_t piece = 0; piece < own.more_keys.size(); ++piece)
        for (int32_t query = own.query_starts[piece]; query < own.query_starts[piece + 1]; ++query) {
          int keys = 0;
          for (const int seen : sight[static_cast<size_t>(query)]) keys += seen;
          CHECK((keys == 1) == (query - own.query_starts[piece] < own.queries_of_one_key(piece)));
        }
    }
  }
}

TEST_CASE("one long document costs all ranks about the same", "[context]") {
  const MicroBatch batch = make_batch({1000}, 50, "batch");
  std::vector<int64_t> work;
  for (int rank = 0; rank < 4; ++rank) {
    int64_t sum = 0;
    for (const auto& row : sight_of(slice_for_context(batch, rank, 4), 1000))
      for (const int seen : row) sum += seen;
    work.push_back(sum);
  }
  for (const int64_t each : work) CHECK(each == work[0]);
}
