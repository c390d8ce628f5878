#include <cmath>

#include "runtime/evaluator_core.hpp"
#include "runtime/generator_core.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"
#include "tests/runtime/recorders.hpp"

namespace collie::test {
namespace {

// `count` documents of five tokens: four targets each.
std::shared_ptr<const SequenceOrder> order_of(int count) {
  std::vector<Document> documents;
  for (int i = 0; i < count; ++i) documents.push_back(document_from({1, 2, 3, 4, 5}, 0));
  auto dataset =
      std::make_shared<const Dataset>(std::vector<DocumentBlock>{make_block(documents)}, "data.eval");
  return evaluation_order(std::move(dataset), 4, Packing::stream);
}

TEST_CASE("evaluator core: one program where everything fits into it", "[actors][evaluator]") {
  EvaluatorCore core(order_of(3), 2);
  core.start(7);
  const auto batch = core.next();
  REQUIRE(batch);
  CHECK(batch->step == 7);
  CHECK(batch->micro_batches.size() == 2);
  CHECK(batch->micro_batches[1].tokens.size() == 4);  // the last has fewer sequences
  CHECK(batch->global_target_tokens == 12);
  const auto result = core.add(18);
  REQUIRE(result);
  CHECK(result->step == 7);
  CHECK(result->tokens == 12);
  CHECK(result->loss == 1.5);
  CHECK(result->perplexity == std::exp(1.5));
  CHECK_FALSE(core.next());
}

TEST_CASE("evaluator core: a bounded number of micro-batches at a time", "[actors][evaluator]") {
  constexpr int sequences = 2 * EvaluatorCore::micro_batches_per_program + 3;
  EvaluatorCore core(order_of(sequences), 1);
  for (int64_t pass = 1; pass <= 2; ++pass) {  // every pass starts anew
    core.start(pass);
    std::vector<size_t> sizes;
    std::optional<EvaluationFinished> result;
    while (!result) {
      const auto batch = core.next();
      REQUIRE(batch);
      sizes.push_back(batch->micro_batches.size());
      result = core.add(static_cast<double>(batch->global_target_tokens) * 0.5);
    }
    CHECK(sizes == std::vector<size_t>{16, 16, 3});
    CHECK(result->step == pass);
    CHECK(result->tokens == 4 * sequences);
    CHECK(result->loss == 0.5);
  }
}

constexpr RunTag generator_tag{7, 1};

// A generator and the trainer that answers it.
struct Texts {
  Texts(std::vector<Prompt> prompts, std::vector<int32_t> stops, int64_t positions)
      : core(std::move(prompts), std::move(stops), positions) {}

  // The micro-batch of the next request.
  const MicroBatch& next() {
    request = core.next(asker);
    REQUIRE(request.batch->micro_batches.size() == 1);
    return request.batch->micro_batches[0];
  }
  std::vector<GeneratorCore::Drawn> add(const std::vector<int32_t>& tokens) {
    ProgramReply reply{generator_tag, 1, request.request, 0, 0, {{tokens_name, {}}}};
    for (const int32_t token : tokens) reply.values[0].values.emplace_back(static_cast<double>(token));
    REQUIRE(asker.accept(reply));
    return core.add(reply);
  }

  Asker asker{generator_tag, generator_name};
  GeneratorCore core;
  ProgramRequest request;
};

using Drawn = std::vector<GeneratorCore::Drawn>;

TEST_CASE("generator core: the prompt, then a token at a time at the next position", "[actors][generator]") {
  Sampling sampling;
  sampling.seed = 5;
  Texts texts({{{5, 6, 7}, 3, sampling}}, {98, 99}, 100);
  MicroBatch batch = texts.next();
  CHECK(batch.tokens == std::vector<int32_t>{5, 6, 7});
  CHECK(batch.positions == std::vector<int32_t>{0, 1, 2});
  CHECK(batch.document_starts == std::vector<int32_t>{0, 3});
  CHECK(batch.labels == std::vector<int32_t>(3, -100));
  REQUIRE(texts.request.decoding.next.size() == 1);
  CHECK(texts.request.kind == generation_program);
  CHECK(texts.request.decoding.next[0].capacity == 5);  // the last token drawn is never fed
  CHECK(texts.request.decoding.next[0].index == 0);
  CHECK(texts.request.decoding.next[0].sampling.seed == 5);
  CHECK(texts.add({8}) == Drawn{{0, 8}});
  batch = texts.next();
  CHECK(batch.tokens == std::vector<int32_t>{8});
  CHECK(batch.positions == std::vector<int32_t>{3});
  CHECK(batch.document_starts == std::vector<int32_t>{0, 1});
  CHECK(texts.request.decoding.next[0].capacity == 0);  // it has started
  CHECK(texts.request.decoding.next[0].index == 1);
  CHECK(texts.add({9}) == Drawn{{0, 9}});
  CHECK_FALSE(texts.core.finished());
  CHECK(texts.next().positions == std::vector<int32_t>{4});
  CHECK(texts.add({10}) == Drawn{{0, 10}});
  CHECK(texts.core.finished());
  CHECK_THAT(assertion_of([&] { texts.next(); }), contains("all texts are finished"));
}

TEST_CASE("generator core: a penalty of repetitions gets the text's tokens, each once",
          "[actors][generator]") {
  Sampling penalty;
  penalty.repetition_penalty = 1.5;
  Texts texts({{{5, 7, 5}, 3, penalty}, {{4}, 3, {}}}, {}, 100);
  texts.next();
  CHECK(texts.request.decoding.next[0].seen == std::vector<int32_t>{5, 7});
  CHECK(texts.request.decoding.next[1].seen.empty());  // nobody asks for them
  texts.add({6, 1});
  texts.next();
  CHECK(texts.request.decoding.next[0].seen == std::vector<int32_t>{5, 6, 7});
}

TEST_CASE("generator core: EOS ends the text and is not part of it", "[actors][generator]") {
  Texts texts({{{5}, 10, {}}}, {98, 99}, 100);
  texts.next();
  CHECK(texts.add({7}).size() == 1);
  texts.next();
  CHECK(texts.add({99}).empty());
  CHECK(texts.core.finished());

  Texts endless({{{5}, 2, {}}}, {}, 100);
  endless.next();
  CHECK(endless.add({99}).size() == 1);
}

TEST_CASE("generator core: several texts, each as long as it gets", "[actors][generator]") {
  Texts texts({{{5, 6}, 4, {}}, {{1}, 0, {}}, {{7}, 1, {}}, {{8, 9, 10}, 3, {}}}, {98, 99}, 100);
  MicroBatch batch = texts.next();
  CHECK(batch.tokens == std::vector<int32_t>{5, 6, 7, 8, 9, 10});
  CHECK(batch.positions == std::vector<int32_t>{0, 1, 0, 0, 1, 2});
  CHECK(batch.document_starts == std::vector<int32_t>{0, 2, 3, 6});
  std::vector<int64_t> numbers, capacities;
  for (const auto& sequence : texts.request.decoding.next) {
    numbers.push_back(sequence.number);
    capacities.push_back(sequence.capacity);
  }
  CHECK(numbers == std::vector<int64_t>{0, 2, 3});  // nothing is wanted of the second
  CHECK(capacities == std::vector<int64_t>{5, 1, 5});
  CHECK(texts.add({11, 12, 99}) == Drawn{{0, 11}, {2, 12}});
  batch = texts.next();
  CHECK(batch.tokens == std::vector<int32_t>{11});
  CHECK(batch.positions == std::vector<int32_t>{2});
  CHECK(texts.request.decoding.ended == std::vector<int64_t>{2, 3});
  CHECK_THAT(assertion_of([&] { texts.add({1, 2}); }), contains("2 tokens for 1 texts"));
}

TEST_CASE("generator core: the model's last position ends the text", "[actors][generator]") {
  Texts texts({{{5, 6, 7}, 100, {}}}, {}, 5);
  int32_t drawn = 0;
  while (!texts.core.finished()) {
    CHECK(texts.next().positions.back() < 5);
    if (drawn == 0) CHECK(texts.request.decoding.next[0].capacity == 5);
    texts.add({drawn++});
  }
  CHECK(drawn == 3);  // at positions 2, 3 and 4
}

TEST_CASE("generator core: so many texts at a time, and the next begins when one is finished or ended",
          "[actors][generator]") {
  Asker asker{generator_tag, generator_name};
  GeneratorCore core({{{5, 6}, 3, {}}, {{7}, 1, {}}, {{8}, 9, {}}, {{9}, 2, {}}}, {}, 100, 2);
  const auto numbers_asked = [&](const std::vector<int32_t>& tokens) {
    const ProgramRequest request = core.next(asker);
    std::vector<int64_t> numbers;
    for (const auto& sequence : request.decoding.next) numbers.push_back(sequence.number);
    ProgramReply reply{generator_tag, 1, request.request, 0, 0, {{tokens_name, {}}}};
    for (const int32_t token : tokens) reply.values[0].values.emplace_back(static_cast<double>(token));
    REQUIRE(asker.accept(reply));
    core.add(reply);
    return std::make_tuple(numbers, request.decoding.ended, request.decoding.afresh);
  };
  using Asked = std::tuple<std::vector<int64_t>, std::vector<int64_t>, bool>;
  CHECK(numbers_asked({1, 1}) == Asked{{0, 1}, {}, true});
  CHECK(numbers_asked({1, 1}) == Asked{{0, 2}, {1}, false});
  core.end(2);
  core.end(2);
  CHECK(core.finished(2));
  CHECK(numbers_asked({1, 1}) == Asked{{0, 3}, {2}, false});
  CHECK(numbers_asked({1}) == Asked{{3}, {0}, false});
  CHECK(core.finished());
}

TEST_CASE("generator core: no new tokens, or an impossible prompt", "[actors][generator]") {
  CHECK(Texts({{{5}, 0, {}}}, {}, 100).core.finished());
  const auto refusal = [](std::vector<Prompt> prompts) {
    return assertion_of([&] { GeneratorCore(prompts, {}, 4); });
  };
  CHECK_THAT(refusal({{{}, 1, {}}}), contains("a prompt of 0 tokens"));
  CHECK_THAT(refusal({{{1, 2, 3, 4}, 1, {}}}), contains("4 positions"));
  CHECK_THAT(refusal({}), contains("there is no prompt"));
}

}  // namespace
}  // namespace collie::test
