// The operations of a step's batches.
#include "plan/model_work.hpp"

#include "tests/catch.hpp"

namespace collie::test {
namespace {

ModelSpec small_model() {
  ModelSpec model;
  ModelConfig& config = model.architecture;
  config.num_hidden_layers = 3;
  config.hidden_size = 8;
  config.intermediate_size = 20;
  config.num_attention_heads = 4;
  config.num_key_value_heads = 2;
  config.head_dim = 2;
  config.vocab_size = 50;
  return model;
}

std::shared_ptr<const StepBatch> batch_of(const std::vector<std::vector<int32_t>>& starts) {
  auto batch = std::make_shared<StepBatch>();
  for (const auto& of_micro_batch : starts)
    batch->micro_batches.emplace_back().document_starts = of_micro_batch;
  return batch;
}

}  // namespace

TEST_CASE("model work: a step's operations are those of its documents, of all replicas") {
  const ModelSpec model = small_model();
  const StepWorkCounter counter(model);
  const auto first = batch_of({{0, 3, 4}, {0, 5}}), second = batch_of({{0, 2}, {0}});
  const double keys = (3 + 2 + 1) + 1 + (5 + 4 + 3 + 2 + 1) + (2 + 1);
  CHECK(counter.of({first, second}) == 6.0 * 2416 * 11 + 12.0 * 3 * 8 * keys);
  CHECK(counter.of({second}) == 6.0 * 2416 * 2 + 12.0 * 3 * 8 * 3);
  CHECK(counter.of({batch_of({{0}})}) == 0);
}

TEST_CASE("model work: virtual tokens are tokens of each document, and those of a prefix are keys alone") {
  const auto batch = batch_of({{0, 3, 4}});
  for (const PromptKind kind : {PromptKind::embeddings, PromptKind::prefix}) {
    ModelSpec model = small_model();
    model.prompt.kind = kind;
    model.prompt.tokens = 2;
    const double per_token = work_of_step(model, 1, 0).total(), per_key = work_of_step(model, 0, 1).total();
    const double tokens = kind == PromptKind::embeddings ? 8 : 4;
    const double keys = kind == PromptKind::embeddings ? 15 + 6 : (6 + 3 * 2) + (1 + 2);
    CHECK(StepWorkCounter(model).of({batch}) == per_token * tokens + per_key * keys);
  }
}

}  // namespace collie::test
