// Where virtual tokens stand in a batch.
#include "models/soft_prompt.hpp"

#include "tests/catch.hpp"

namespace collie::test {
namespace {

MicroBatch two_documents() {
  MicroBatch batch;
  batch.tokens = {7, 8, 9, 4};
  batch.labels = {8, -100, 3, 5};
  batch.positions = {0, 1, 2, 0};
  batch.document_starts = {0, 3, 3, 4};
  batch.first_tokens = {10, 13, 13};
  batch.target_tokens = 3;
  return batch;
}

}  // namespace

TEST_CASE("virtual tokens stand before each document that has tokens, and are no targets", "[prompt]") {
  const SoftPrompt prompt{PromptKind::embeddings, 2};
  const MicroBatch all = with_prompt(two_documents(), prompt, 100);
  CHECK(all.tokens == std::vector<int32_t>{100, 101, 7, 8, 9, 100, 101, 4});
  CHECK(all.labels == std::vector<int32_t>{-100, -100, 8, -100, 3, -100, -100, 5});
  CHECK(all.positions == std::vector<int32_t>{0, 1, 2, 3, 4, 0, 1, 2});
  CHECK(all.document_starts == std::vector<int32_t>{0, 5, 5, 8});
  CHECK(all.first_tokens == std::vector<int64_t>{10, 13, 13});
  CHECK(all.target_tokens == 3);
  CHECK(all.virtual_tokens == 2);
  CHECK(tokens_with_prompt(two_documents(), prompt) == all.tokens.size());
}

TEST_CASE("a prefix moves positions alone", "[prompt]") {
  const SoftPrompt prompt{PromptKind::prefix, 5};
  const MicroBatch all = with_prompt(two_documents(), prompt, 100);
  CHECK(all.tokens == two_documents().tokens);
  CHECK(all.document_starts == two_documents().document_starts);
  CHECK(all.positions == std::vector<int32_t>{5, 6, 7, 5});
  CHECK(all.virtual_tokens == 0);
  CHECK(tokens_with_prompt(two_documents(), prompt) == all.tokens.size());
}

TEST_CASE("what goes on from an earlier batch has its virtual tokens there", "[prompt]") {
  MicroBatch batch = two_documents();
  batch.positions = {4, 5, 6, 0};
  const MicroBatch all = with_prompt(batch, {PromptKind::embeddings, 2}, 100, {false, false, true});
  CHECK(all.tokens == std::vector<int32_t>{7, 8, 9, 100, 101, 4});
  CHECK(all.positions == std::vector<int32_t>{6, 7, 8, 0, 1, 2});
  CHECK(all.document_starts == std::vector<int32_t>{0, 3, 3, 6});
}

TEST_CASE("a batch without documents stays one", "[prompt]") {
  const MicroBatch all = with_prompt(empty_micro_batch(), {PromptKind::embeddings, 2}, 100);
  CHECK(all.tokens.empty());
  CHECK(all.document_starts == std::vector<int32_t>{0});
}

}  // namespace collie::test
