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
  for (int i = 0; i < count; ++i) documents.push_back({{1, 2, 3, 4, 5}, 0});
  auto dataset =
      std::make_shared<const Dataset>(std::vector<DocumentBlock>{make_block(documents)}, "data.eval");
  return evaluation_order(std::move(dataset), 4, true);
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

TEST_CASE("generator core: the prompt, then a token at a time at the next position", "[actors][generator]") {
  GeneratorCore core({5, 6, 7}, 3, 99, 100);
  CHECK(core.cache_capacity() == 5);  // the last token drawn is never fed
  auto batch = core.next();
  REQUIRE(batch->micro_batches.size() == 1);
  CHECK(batch->micro_batches[0].tokens == std::vector<int32_t>{5, 6, 7});
  CHECK(batch->micro_batches[0].positions == std::vector<int32_t>{0, 1, 2});
  CHECK(batch->micro_batches[0].document_starts == std::vector<int32_t>{0, 3});
  CHECK(batch->micro_batches[0].labels == std::vector<int32_t>(3, -100));
  CHECK(core.add(8));
  CHECK(core.generated() == 1);
  batch = core.next();
  CHECK(batch->micro_batches[0].tokens == std::vector<int32_t>{8});
  CHECK(batch->micro_batches[0].positions == std::vector<int32_t>{3});
  CHECK(batch->micro_batches[0].document_starts == std::vector<int32_t>{0, 1});
  CHECK(core.add(9));
  CHECK_FALSE(core.finished());
  CHECK(core.next()->micro_batches[0].positions == std::vector<int32_t>{4});
  CHECK(core.add(10));
  CHECK(core.finished());
  CHECK(core.generated() == 3);
}

TEST_CASE("generator core: EOS ends the text and is not part of it", "[actors][generator]") {
  GeneratorCore core({5}, 10, 99, 100);
  core.next();
  CHECK(core.add(7));
  core.next();
  CHECK_FALSE(core.add(99));
  CHECK(core.finished());
  CHECK(core.generated() == 1);

  GeneratorCore endless({5}, 2, std::nullopt, 100);
  endless.next();
  CHECK(endless.add(99));
}

TEST_CASE("generator core: the model's last position ends the text", "[actors][generator]") {
  GeneratorCore core({5, 6, 7}, 100, std::nullopt, 5);
  CHECK(core.cache_capacity() == 5);
  int32_t drawn = 0;
  while (!core.finished()) {
    CHECK(core.next()->micro_batches[0].positions.back() < 5);
    core.add(drawn++);
  }
  CHECK(drawn == 3);  // at positions 2, 3 and 4
}

TEST_CASE("generator core: no new tokens, or an impossible prompt", "[actors][generator]") {
  const GeneratorCore core({5}, 0, std::nullopt, 100);
  CHECK(core.finished());
  CHECK(core.cache_capacity() == 1);
  CHECK_THAT(assertion_of([] { GeneratorCore({}, 1, std::nullopt, 4); }), contains("a prompt of 0 tokens"));
  CHECK_THAT(assertion_of([] { GeneratorCore({1, 2, 3, 4}, 1, std::nullopt, 4); }), contains("4 positions"));
}

}  // namespace
}  // namespace collie::test
