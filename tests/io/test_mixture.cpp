// Sources with weights, against a model in Python: tests/golden/make_mixture_golden.py made the golden.
#include "io/mixture.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <set>

#include "base/error.hpp"
#include "io/files.hpp"
#include "io/json_text.hpp"
#include "io/step_batches.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"
#include "tests/paths.hpp"

using namespace collie;

namespace {

// A token says which document it is of, and which of its tokens: 1000 * document + number.
std::shared_ptr<const Dataset> telling_dataset(const std::vector<std::vector<int>>& sources) {
  std::vector<DocumentBlock> blocks;
  std::vector<DatasetSource> all;
  int32_t number = 0;
  for (const auto& lengths : sources) {
    std::vector<Document> documents;
    for (const int length : lengths) {
      Document document;
      for (int i = 0; i < length; ++i) document.tokens.push_back(number * 1000 + i);
      documents.push_back(document_from(document.tokens, 0));
      ++number;
    }
    blocks.push_back(make_block(documents));
    all.push_back({.path = "source", .settings = "", .contents = "", .blocks = 1});
  }
  return std::make_shared<const Dataset>(std::move(blocks), std::move(all), "data.train");
}

std::vector<int32_t> tokens_of(const SequenceOrder& order, int64_t epoch, int64_t index) {
  MicroBatch batch;
  order.append_sequence(epoch, index, batch);
  return batch.tokens;
}

std::map<int64_t, int64_t> documents_seen(const SequenceOrder& order, int64_t epoch) {
  std::map<int64_t, int64_t> seen;  // by their first pair
  for (int64_t i = 0; i < order.sequences_in(epoch); ++i)
    for (const int32_t token : tokens_of(order, epoch, i)) seen[token / 1000] += token % 1000 == 0;
  return seen;
}

Packing packing_named(const std::string& name) {
  return name == "true" ? Packing::stream : name == "samples" ? Packing::samples : Packing::none;
}

std::vector<int64_t> millionths(const nlohmann::json& texts) {
  std::vector<int64_t> weights;
  for (const auto& text : texts)
    weights.push_back(std::llround(std::stod(text.get<std::string>()) * static_cast<double>(whole_weight)));
  return weights;
}

// A run with those weights that begins, and for each later phase the order with one phase more.
std::shared_ptr<const SequenceOrder> order_of(const std::shared_ptr<const Dataset>& data,
                                              const SequenceSettings& settings,
                                              const nlohmann::json& phases) {
  std::vector<MixturePhase> all = {first_phase(millionths(phases[0]["weights"]))};
  auto order = std::make_shared<const SequenceOrder>(data, settings, all);
  for (size_t i = 1; i < phases.size(); ++i) {
    const auto first = phases[i]["from"].get<int64_t>();
    all.push_back({first, order->first_sequence(first), millionths(phases[i]["weights"]),
                   order->mixture().places(first)});
    order = std::make_shared<const SequenceOrder>(data, settings, all);
  }
  return order;
}

}  // namespace

TEST_CASE("the windows of weighted sources are those of a model in Python", "[mixture]") {
  const auto golden = nlohmann::json::parse(read_text_file(test::golden_file("mixture.json")));
  REQUIRE(golden.size() == 24);
  for (const auto& one : golden) {
    CAPTURE(one["phases"].dump(), one["packing"].dump(), one["shuffle"].dump());
    const auto data = telling_dataset(one["sources"].get<std::vector<std::vector<int>>>());
    const SequenceSettings settings{one["length"].get<int64_t>(), packing_named(one["packing"]),
                                    one["shuffle"].get<bool>(), one["seed"].get<uint64_t>()};
    const auto order = order_of(data, settings, one["phases"]);
    int64_t position = 0;
    for (int64_t epoch = 0; epoch < one["epochs"].get<int64_t>(); ++epoch) {
      const auto& windows = one["expected"][static_cast<size_t>(epoch)];
      REQUIRE(order->first_sequence(epoch) == position);
      REQUIRE(order->sequences_in(epoch) == static_cast<int64_t>(windows.size()));
      for (size_t i = 0; i < windows.size(); ++i) {
        std::vector<int32_t> expected;
        for (size_t k = 0; k < windows[i].size(); k += 2)
          expected.push_back(windows[i][k].get<int32_t>() * 1000 + windows[i][k + 1].get<int32_t>());
        CHECK(tokens_of(*order, epoch, static_cast<int64_t>(i)) == expected);
        CHECK(order->epoch_of(position + static_cast<int64_t>(i)) == epoch);
      }
      position += static_cast<int64_t>(windows.size());
    }
  }
}

TEST_CASE("each document is seen as often as its source's weight says, give or take one", "[mixture]") {
  std::mt19937 random(3);
  for (int round = 0; round < 60; ++round) {
    std::vector<std::vector<int>> sizes(1 + random() % 3);
    std::vector<int64_t> weights;
    for (auto& source : sizes) {
      source.resize(1 + random() % 9);
      for (int& length : source) length = 2 + static_cast<int>(random() % 9);
      weights.push_back(static_cast<int64_t>(random() % 30) * 100'000);
    }
    sizes[0].resize(10, 3);
    weights[0] = std::max<int64_t>(weights[0], 100'000);
    const auto data = telling_dataset(sizes);
    const SequenceSettings settings{1 + static_cast<int64_t>(random() % 9),
                                    packing_named(round % 3 == 0   ? "true"
                                                  : round % 3 == 1 ? "samples"
                                                                   : "false"),
                                    random() % 3 != 0, random()};
    CAPTURE(round, settings.sequence_length, static_cast<int>(settings.packing), settings.shuffle);
    // Other weights from the third epoch on.
    std::vector<MixturePhase> phases = {first_phase(weights)};
    const SequenceOrder before(data, settings, phases);
    std::vector<int64_t> later = weights;
    std::shuffle(later.begin(), later.end(), random);
    later[0] = std::max<int64_t>(later[0], 250'000);
    phases.push_back({2, before.first_sequence(2), later, before.mixture().places(2)});
    const SequenceOrder order(data, settings, phases);
    std::map<int64_t, int64_t> seen;
    std::vector<int64_t> moved(sizes.size());  // millionths of passes
    for (int64_t epoch = 0; epoch < 7; ++epoch) {
      for (const auto& [document, times] : documents_seen(order, epoch)) seen[document] += times;
      int64_t document = 0;
      for (size_t source = 0; source < sizes.size(); ++source) {
        moved[source] += (epoch < 2 ? weights : later)[source];
        const auto size = static_cast<int64_t>(sizes[source].size());
        int64_t all = 0, least = INT64_MAX, most = 0;
        for (int64_t i = 0; i < size; ++i, ++document) {
          all += seen[document];
          least = std::min(least, seen[document]);
          most = std::max(most, seen[document]);
        }
        CHECK(most - least <= 1);
        // A change of weights rounds a part of a document away.
        const int64_t exact = moved[source] * size / whole_weight;
        CHECK((all == exact || (epoch >= 2 && all == exact - 1)));
      }
    }
  }
}

TEST_CASE("steps over weighted epochs do not depend on the layout, and go on from anywhere", "[mixture]") {
  std::mt19937 random(8);
  for (const Packing packing : {Packing::stream, Packing::samples, Packing::none}) {
    std::vector<std::vector<int>> sizes = {std::vector<int>(11), std::vector<int>(5)};
    for (auto& source : sizes)
      for (int& length : source) length = 2 + static_cast<int>(random() % 12);
    const SequenceOrder order(telling_dataset(sizes), {6, packing, true, 4},
                              {first_phase({700'000, 1'500'000})});
    const StepSizes one{1, 4, 1, 0};
    const int64_t steps = last_step_of_epoch(order, one, {}, 5);
    int64_t position = 0;
    for (int64_t step = 1; step <= steps; ++step) {
      const StepBatch whole = make_step_batch(order, one, {}, step);
      REQUIRE(whole.position == position);
      CHECK(whole.epoch == order.epoch_of(position));
      CHECK(whole.next_position <= order.first_sequence(whole.epoch + 1));
      // The same from an origin in the middle of the run, and dealt to two replicas.
      const StepBatch again = make_step_batch(order, one, {step - 1, position}, step);
      CHECK(again.next_position == whole.next_position);
      std::vector<int32_t> tokens, dealt;
      for (const MicroBatch& batch : whole.micro_batches)
        tokens.insert(tokens.end(), batch.tokens.begin(), batch.tokens.end());
      std::vector<StepBatch> replicas;
      for (int64_t rank = 0; rank < 2; ++rank)
        replicas.push_back(make_step_batch(order, {1, 2, 2, rank}, {}, step));
      for (size_t k = 0; k < replicas[0].micro_batches.size(); ++k)
        for (const StepBatch& replica : replicas)
          dealt.insert(dealt.end(), replica.micro_batches[k].tokens.begin(),
                       replica.micro_batches[k].tokens.end());
      CHECK(dealt == tokens);
      position = whole.next_position;
    }
    CHECK(position == order.first_sequence(5));
    CHECK(epochs_done(order, position).epochs == 5);
    CHECK(epochs_done(order, position).just_ended);
    CHECK_FALSE(epochs_done(order, position - 1).just_ended);
    CHECK(last_step_of_epoch(order, one, {2, make_step_batch(order, one, {}, 2).next_position}, 5) == steps);
  }
}

TEST_CASE("weights that leave nothing to read are refused", "[mixture]") {
  const auto data = telling_dataset({{3, 4}, {5, 6, 7}});
  const SequenceSettings settings{4, Packing::samples, true, 1};
  const auto refusal = [&](const std::vector<int64_t>& weights, TooLong too_long = TooLong::cut) {
    SequenceSettings with = settings;
    with.too_long = too_long;
    try {
      const SequenceOrder order(data, with, {first_phase(weights)});
    } catch (const UserError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  CHECK_THAT(refusal({0, 0}), test::contains("data.train: the weights leave an epoch without a document"));
  CHECK_THAT(refusal({400'000, 300'000}), test::contains("without a document"));
  CHECK(refusal({400'000, 400'000}) == "accepted");
  CHECK_THAT(refusal({0, whole_weight}, TooLong::drop), test::contains("accepted"));
  CHECK_THAT(refusal({whole_weight, whole_weight * int64_t{1'000'000} * 10'000}),
             test::contains("documents an epoch"));
  // Documents of a source that is left out are not too long for anything.
  const auto long_ones = telling_dataset({{3, 4}, {50}});
  const SequenceOrder order(long_ones, {4, Packing::samples, true, 1, TooLong::refuse},
                            {first_phase({1'000'000, 0})});
  CHECK(order.long_documents() == 0);
  CHECK_FALSE(order.uses(1));
}
