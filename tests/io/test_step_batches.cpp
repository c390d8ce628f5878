#include <algorithm>
#include <map>
#include <random>

#include "io/step_batches.hpp"
#include "tests/catch.hpp"

using namespace collie;

namespace {

std::shared_ptr<const Dataset> random_dataset(std::mt19937& random, int documents, bool with_prompts) {
  std::vector<Document> all;
  for (int i = 0; i < documents; ++i) {
    Document document;
    document.tokens.resize(2 + random() % 20);
    for (auto& token : document.tokens) token = static_cast<int32_t>(random() % 1000);
    const auto masked = with_prompts ? static_cast<int64_t>(random() % document.tokens.size()) : 0;
    all.push_back(document_from(document.tokens, masked));
  }
  return std::make_shared<const Dataset>(std::vector<DocumentBlock>{make_block(all)}, "data.train");
}

void append(MicroBatch& to, const MicroBatch& more) {
  if (to.document_starts.empty()) to.document_starts = {0};
  const auto offset = static_cast<int32_t>(to.tokens.size());
  to.tokens.insert(to.tokens.end(), more.tokens.begin(), more.tokens.end());
  to.labels.insert(to.labels.end(), more.labels.begin(), more.labels.end());
  to.positions.insert(to.positions.end(), more.positions.begin(), more.positions.end());
  for (size_t i = 1; i < more.document_starts.size(); ++i)
    to.document_starts.push_back(offset + more.document_starts[i]);
  to.target_tokens += more.target_tokens;
}

bool same(const MicroBatch& a, const MicroBatch& b) {
  return a.tokens == b.tokens && a.labels == b.labels && a.positions == b.positions &&
         a.document_starts == b.document_starts && a.target_tokens == b.target_tokens;
}

// The step that begins at `position`, where steps had other sizes before.
StepBatch at(const SequenceOrder& order, const StepSizes& sizes, int64_t position) {
  const int64_t before = 41;
  return make_step_batch(order, sizes, {before, position}, before + 1);
}

// The global batch of a step, put together from what every replica computes: micro-batch by micro-batch,
// replica by replica, as the sequences were dealt out.
struct Global {
  MicroBatch batch;
  std::vector<StepBatch> replicas;
};

Global gather(const SequenceOrder& order, StepSizes sizes, int64_t position) {
  Global global;
  for (sizes.dp_rank = 0; sizes.dp_rank < sizes.dp_size; ++sizes.dp_rank)
    global.replicas.push_back(at(order, sizes, position));
  const auto& first = global.replicas.front();
  for (const auto& replica : global.replicas) {
    CHECK(replica.micro_batches.size() == first.micro_batches.size());
    CHECK(replica.global_target_tokens == first.global_target_tokens);
    CHECK(replica.step == first.step);
    CHECK(replica.epoch == first.epoch);
    CHECK(replica.position == position);
    CHECK(replica.next_position == first.next_position);
  }
  for (size_t k = 0; k < first.micro_batches.size(); ++k)
    for (const auto& replica : global.replicas) append(global.batch, replica.micro_batches[k]);
  CHECK(global.batch.target_tokens == first.global_target_tokens);
  return global;
}

}  // namespace

TEST_CASE("the global batches and target counts are the same for dp 1, 2 and 4, from any starting position") {
  std::mt19937 random(3);
  for (const bool with_prompts : {false, true})
    for (const Packing packing : {Packing::stream, Packing::samples, Packing::none}) {
      CAPTURE(with_prompts, static_cast<int>(packing));
      const auto data = random_dataset(random, 40, with_prompts);
      const SequenceSettings settings{8, packing, true, 99};
      // One order walks from the start with dp 1; others are asked at once, each anew.
      const SequenceOrder walker(data, settings);
      const StepSizes one{2, 4, 1, 0};
      int64_t position = 0;
      const int64_t steps = 3 * steps_per_epoch(walker, one) + 1;
      for (int64_t step = 1; step <= steps; ++step) {
        CAPTURE(step, position);
        CHECK(position_before_step(walker, one, {}, step) == position);
        const Global expected = gather(walker, one, position);
        CHECK(same(make_step_batch(walker, one, {}, step).micro_batches[0],
                   expected.replicas[0].micro_batches[0]));
        for (const auto& sizes : {StepSizes{1, 4, 2, 0}, StepSizes{2, 2, 2, 0}, StepSizes{1, 2, 4, 0},
                                  StepSizes{2, 1, 4, 0}, StepSizes{8, 1, 1, 0}, StepSizes{1, 8, 1, 0}}) {
          CAPTURE(sizes.micro_batch_size, sizes.gradient_accumulation_steps, sizes.dp_size);
          const SequenceOrder fresh(data, settings);
          const Global got = gather(fresh, sizes, position);
          CHECK(same(got.batch, expected.batch));
          CHECK(got.replicas[0].global_target_tokens == expected.replicas[0].global_target_tokens);
          CHECK(got.replicas[0].next_position == expected.replicas[0].next_position);
        }
        position = expected.replicas[0].next_position;
      }
    }
}

TEST_CASE("a replica's sequences are those the contract deals to it") {
  std::mt19937 random(4);
  const SequenceOrder order(random_dataset(random, 60, true), {5, Packing::stream, true, 1});
  const StepSizes sizes{3, 2, 2, 1};
  const StepBatch step = make_step_batch(order, sizes, {}, 1);
  REQUIRE(step.micro_batches.size() == 2);
  for (int64_t k = 0; k < 2; ++k) {
    MicroBatch expected;
    for (int64_t s = 0; s < 3; ++s) order.append_sequence(0, (k * 2 + 1) * 3 + s, expected);
    CHECK(same(step.micro_batches[static_cast<size_t>(k)], expected));
  }
}

TEST_CASE("an epoch's last step is short and no step crosses an epoch") {
  // 11 sequences of one pair; a full step takes 8.
  const auto data = std::make_shared<const Dataset>(
      std::vector<DocumentBlock>{make_block(std::vector<Document>(11, document_from({1, 2}, 0)))},
      "data.train");
  const SequenceOrder order(data, {1, Packing::stream, true, 1});
  REQUIRE(order.sequences_per_epoch() == 11);
  StepSizes sizes{2, 2, 2, 0};
  CHECK(steps_per_epoch(order, sizes) == 2);
  const StepBatch full = make_step_batch(order, sizes, {}, 1);
  CHECK(full.step == 1);
  CHECK(full.next_position == 8);
  CHECK(full.micro_batches.size() == 2);
  CHECK(full.global_target_tokens == 8);

  std::vector<StepBatch> replicas;
  for (sizes.dp_rank = 0; sizes.dp_rank < 2; ++sizes.dp_rank)
    replicas.push_back(make_step_batch(order, sizes, {}, 2));
  for (const auto& step : replicas) {  // three sequences are left: replica 0 has two, replica 1 one
    CHECK(step.step == 2);
    CHECK(step.epoch == 0);
    CHECK(step.next_position == 11);
    CHECK(step.global_target_tokens == 3);
    REQUIRE(step.micro_batches.size() == 1);
  }
  CHECK(replicas[0].micro_batches[0].tokens.size() == 2);
  CHECK(replicas[1].micro_batches[0].tokens.size() == 1);

  sizes = {1, 4, 4, 3};  // 16 wanted, 11 there: the last micro-batch of replica 3 is empty
  const StepBatch empty = make_step_batch(order, sizes, {}, 1);
  REQUIRE(empty.micro_batches.size() == 3);
  CHECK(empty.micro_batches[2].tokens.empty());
  CHECK(empty.micro_batches[2].document_starts == std::vector<int32_t>{0});
  CHECK(empty.micro_batches[2].target_tokens == 0);
  CHECK(empty.next_position == 11);

  const StepBatch next = make_step_batch(order, sizes, {}, 2);
  CHECK(next.epoch == 1);
  CHECK(next.step == 2);
  CHECK(next.next_position == 22);
}

TEST_CASE("steps whose sizes change see every target once an epoch") {
  std::mt19937 random(6);
  const std::vector<StepSizes> all{{2, 2, 1, 0}, {2, 4, 1, 0}, {1, 3, 2, 0}, {7, 1, 1, 0}, {1, 1, 1, 0}};
  for (const Packing packing : {Packing::stream, Packing::none}) {
    const auto data = random_dataset(random, 40, true);
    const SequenceOrder order(data, {8, packing, true, 99});
    constexpr int64_t epochs = 3;
    int64_t total = 0;
    StepOrigin origin;
    std::map<int64_t, int64_t> targets;  // by epoch
    for (size_t change = 0; change == 0 || origin.steps < total; ++change) {
      StepSizes sizes = all[change % all.size()];
      total = last_step_of_epoch(order, sizes, origin, epochs);
      CAPTURE(static_cast<int>(packing), change, origin.steps, origin.position, total);
      // Some steps with these sizes; those of the last change to the end.
      const int64_t until = change < 12 ? std::min(origin.steps + 3, total) : total;
      for (int64_t step = origin.steps + 1; step <= until; ++step) {
        int64_t next = 0;
        for (sizes.dp_rank = 0; sizes.dp_rank < sizes.dp_size; ++sizes.dp_rank) {
          const StepBatch batch = make_step_batch(order, sizes, origin, step);
          CHECK(batch.step == step);
          CHECK(batch.next_position / order.sequences_per_epoch() - batch.epoch <=
                (batch.next_position % order.sequences_per_epoch() == 0));
          for (const MicroBatch& micro_batch : batch.micro_batches)
            targets[batch.epoch] += micro_batch.target_tokens;
          next = batch.next_position;
        }
        sizes.dp_rank = 0;
        if (step == until) origin.position = next;
      }
      origin.steps = until;
    }
    CHECK(origin.position == epochs * order.sequences_per_epoch());
    REQUIRE(targets.size() == epochs);
    for (const auto& [epoch, seen] : targets) {
      CAPTURE(epoch);
      CHECK(seen == data->target_count());
    }
  }
}

TEST_CASE("where a resumed run's epochs are over, no step is left") {
  std::mt19937 random(7);
  const SequenceOrder order(random_dataset(random, 20, false), {8, Packing::stream, true, 1});
  const int64_t sequences = order.sequences_per_epoch();
  CHECK(last_step_of_epoch(order, {2, 2, 1, 0}, {5, 2 * sequences}, 2) == 5);
  CHECK(last_step_of_epoch(order, {2, 2, 1, 0}, {5, 2 * sequences}, 1) == 5);
  CHECK(last_step_of_epoch(order, {2, 2, 1, 0}, {5, 2 * sequences - 1}, 2) == 6);
  CHECK(last_step_of_epoch(order, {2, 2, 1, 0}, {}, 2) == 2 * steps_per_epoch(order, {2, 2, 1, 0}));
}

TEST_CASE("a step whose targets are all masked says so") {
  const auto data = std::make_shared<const Dataset>(
      std::vector<DocumentBlock>{make_block({document_from({1, 2, 3, 4, 5}, 4)})}, "data.train");
  const SequenceOrder order(data, {2, Packing::stream, false, 1});
  const StepBatch masked = make_step_batch(order, {1, 1, 1, 0}, {}, 1);
  CHECK(masked.global_target_tokens == 0);
  CHECK(masked.micro_batches.at(0).labels == std::vector<int32_t>{-100, -100});
  CHECK(make_step_batch(order, {1, 1, 1, 0}, {}, 2).global_target_tokens == 1);
}

TEST_CASE("evaluation sees every target once, in natural order") {
  std::mt19937 random(5);
  for (const Packing packing : {Packing::stream, Packing::none}) {
    const auto data = random_dataset(random, 30, true);
    std::vector<int32_t> expected;
    for (int64_t i = 0; i < data->document_count(); ++i) {
      const auto document = data->document(i);
      const int64_t first = document.targets.empty() ? document.pairs() + 1 : document.targets.front().begin;
      for (int64_t j = std::max<int64_t>(1, first); j < static_cast<int64_t>(document.tokens.size()); ++j)
        expected.push_back(document.tokens[static_cast<size_t>(j)]);
    }
    const auto batches = evaluation_batches(data, 7, packing, 4);
    const auto order = evaluation_order(data, 7, packing);
    REQUIRE(static_cast<int64_t>(batches.size()) == evaluation_batch_count(*order, 4));
    std::vector<int32_t> seen;
    int64_t targets = 0;
    for (size_t i = 0; i < batches.size(); ++i) {
      CHECK(same(batches[i], evaluation_batch(*order, 4, static_cast<int64_t>(i))));
      CHECK(batches[i].tokens.size() <= 4 * 7);
      targets += batches[i].target_tokens;
      for (const int32_t label : batches[i].labels)
        if (label != -100) seen.push_back(label);
    }
    CHECK(seen == expected);
    CHECK(targets == data->target_count());
  }
}
