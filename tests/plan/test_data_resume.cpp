// What checkpoints say of data, and how a run goes on in them.
#include "plan/data_resume.hpp"

#include "base/error.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"

using namespace collie;
using nlohmann::json;

namespace {

std::shared_ptr<const Dataset> two_sources(int first, int second) {
  std::vector<DocumentBlock> blocks;
  for (const int count : {first, second})
    blocks.push_back(
        make_block(std::vector<Document>(static_cast<size_t>(count), document_from({1, 2, 3}, 0))));
  std::vector<DatasetSource> sources = {
      {.path = "a.jsonl", .settings = "[1]", .contents = std::to_string(first), .blocks = 1},
      {.path = "b\xFF.jsonl", .settings = "[1]", .contents = std::to_string(second), .blocks = 1}};
  return std::make_shared<const Dataset>(std::move(blocks), std::move(sources), "data.train");
}

constexpr SequenceSettings settings{4, Packing::samples, true, 1};

SequenceOrder planned(std::vector<int64_t> weights) {
  return {two_sources(10, 6), settings, {first_phase(std::move(weights))}};
}

json saved(const SequenceOrder& order, int64_t position) {
  json metadata = {{"position", position}};
  add_data_metadata(order, position, metadata);
  return json::parse(metadata.dump());
}

}  // namespace

TEST_CASE("a run whose weights have always been one keeps no mixture", "[plan]") {
  const SequenceOrder order = planned({whole_weight, whole_weight});
  const json metadata = saved(order, 5);
  CHECK_FALSE(metadata.contains("mixture"));
  CHECK(resumed_phases(order, metadata, "c") == order.mixture().phases());
}

TEST_CASE("a run goes on with its own weights where it was", "[plan]") {
  const SequenceOrder order = planned({500'000, 1'300'000});
  for (int64_t position = 0; position < 30; ++position)
    CHECK(resumed_phases(order, saved(order, position), "c") == order.mixture().phases());
}

TEST_CASE("with other weights the epoch under way is finished first, and each source goes on at its place",
          "[plan]") {
  const SequenceOrder before = planned({500'000, 1'000'000}), now = planned({1'000'000, 0});
  const int64_t second = before.first_sequence(1), third = before.first_sequence(2);
  REQUIRE(second < third - 1);
  for (const int64_t position : {second + 1, third}) {
    const auto phases = resumed_phases(now, saved(before, position), "c");
    REQUIRE(phases.size() == 2);
    CHECK(phases[0] == before.mixture().phases()[0]);
    CHECK(phases[1].first_epoch == 2);
    CHECK(phases[1].first_sequence == third);
    CHECK(phases[1].places == std::vector<SourcePlace>{{1, 0}, {2, 0}});
    const SequenceOrder order(two_sources(10, 6), settings, phases);
    for (int64_t index = 0; index < before.sequences_in(1); ++index)
      CHECK(order.sequence_targets(1, index) == before.sequence_targets(1, index));
    // Changed back before the new weights had a turn: the run is as if nothing had been changed.
    const auto back = resumed_phases(before, saved(order, second + 1), "c");
    CHECK(back.back().weights == before.mixture().phases()[0].weights);
    CHECK(back.back().places == phases[1].places);
    // Later checkpoints do not need the first phase.
    const json later = saved(order, order.first_sequence(4));
    CHECK(later["mixture"].size() == 1);
    const SequenceOrder rest(two_sources(10, 6), settings, resumed_phases(now, later, "c"));
    CHECK(rest.first_sequence(6) == order.first_sequence(6));
    CHECK(rest.mixture().documents(5) == order.mixture().documents(5));
  }
  const auto at_once = resumed_phases(now, saved(planned({whole_weight, whole_weight}), 0), "c");
  REQUIRE(at_once.size() == 1);
  CHECK(at_once[0].weights == std::vector<int64_t>{1'000'000, 0});
}

TEST_CASE("places that do not fit the sources are refused", "[plan]") {
  const SequenceOrder order = planned({500'000, 1'000'000});
  json metadata = saved(order, 3);
  const SequenceOrder one(
      std::make_shared<const Dataset>(std::vector<DocumentBlock>{make_block({document_from({1, 2}, 0)})},
                                      "data.train"),
      settings);
  CHECK_THROWS_WITH(resumed_phases(one, metadata, "c"),
                    test::contains("data.train: has 1 sources, but c has the places in 2"));
  metadata["mixture"][0]["places"][0] = "x";
  CHECK_THROWS_AS(resumed_phases(order, metadata, "c"), UserError);
  metadata["mixture"][0]["places"][0] = {-1, 0};
  CHECK_THROWS_WITH(resumed_phases(order, metadata, "c"), test::contains("c: mixture: "));
}

TEST_CASE("changed data are named by source and by what differs", "[plan]") {
  const json metadata = saved(planned({whole_weight, whole_weight}), 0);
  CHECK(changed_source(*two_sources(10, 6), metadata).empty());
  CHECK_THAT(
      changed_source(*two_sources(10, 7), metadata),
      test::contains("data.train[1] ('b") &&
          test::contains("has other contents: 7 documents with 21 tokens and 14 targets; there were 6 with "
                         "18 and 12"));
  const Dataset one({make_block({document_from({1, 2}, 0)})},
                    {{.path = "a.jsonl", .settings = "[2]", .contents = "10", .blocks = 1}}, "data.train");
  CHECK_THAT(changed_source(one, metadata), test::contains("is read in another way, with [2]; it was [1]"));
  CHECK(changed_source(one, json::object()).empty());
}
