// How parameters are laid out for the ranks that share them.
#include "optim/bucket_plan.hpp"

#include "kernels/operations.hpp"
#include "models/model_config.hpp"
#include "models/stage_model.hpp"
#include "tests/catch.hpp"

namespace collie::test {
namespace {

ModelConfig thin_model() {
  ModelConfig config;
  config.hidden_size = 96;
  config.intermediate_size = 200;
  config.num_hidden_layers = 3;
  config.num_attention_heads = 4;
  config.num_key_value_heads = 2;
  config.head_dim = 24;
  config.vocab_size = 300;
  config.max_position_embeddings = 32;
  config.qkv_bias = config.output_bias = config.mlp_bias = true;
  return config;
}

BucketPlan plan_for(const std::vector<Parameter>& parameters, int ranks, int zero) {
  return BucketPlan(parameters, {0, 3, true, true}, {0, ranks, zero, 100'000});
}

}  // namespace

TEST_CASE("no block of a norm is cut between ranks, and no parameter overlaps another") {
  const std::vector<Parameter> parameters = model_parameters(thin_model());
  for (const int ranks : {2, 3, 4})
    for (const int zero : {1, 3}) {
      const BucketPlan plan = plan_for(parameters, ranks, zero);
      std::vector<int64_t> covered(parameters.size(), 0);
      for (size_t bucket = 0; bucket < plan.buckets().size(); ++bucket) {
        const Bucket& whole = plan.buckets()[bucket];
        CAPTURE(ranks, zero, bucket);
        CHECK(whole.part * ranks == whole.numel);
        CHECK(whole.part % reduction_block == 0);
        int64_t end = 0;
        for (const BucketSlot& slot : whole.slots) {
          CHECK(slot.offset >= end);
          end = slot.offset + slot.numel;
        }
        CHECK(end <= whole.numel);
        for (int rank = 0; rank < ranks; ++rank)
          for (const OwnedRange& range : plan.owned(static_cast<int>(bucket), rank)) {
            CHECK(range.begin % reduction_block == 0);
            covered[static_cast<size_t>(range.id)] += range.numel;
          }
      }
      for (size_t id = 0; id < parameters.size(); ++id) CHECK(covered[id] == parameters[id].shape.numel());
    }
}

TEST_CASE("small parameters share a block, so that padding is little beside a thin layer") {
  const std::vector<Parameter> parameters = model_parameters(thin_model());
  const BucketPlan plan = plan_for(parameters, 2, 3);
  int64_t padded = 0, whole = 0;
  for (const Bucket& bucket : plan.buckets()) padded += bucket.numel;
  for (const Parameter& parameter : parameters) whole += parameter.shape.numel();
  CHECK(padded < whole + 20 * 2 * reduction_block);
  // Of a block's two norms, the second is right behind the first.
  for (size_t id = 0; id + 1 < parameters.size(); ++id) {
    if (parameters[id].name.find("input_layernorm") == std::string::npos) continue;
    const auto first = static_cast<ParameterId>(id);
    CHECK(plan.slot_of(first + 1).offset == plan.slot_of(first).offset + plan.slot_of(first).numel);
  }
}

TEST_CASE("where nothing is shared there is no padding") {
  const std::vector<Parameter> parameters = model_parameters(thin_model());
  const BucketPlan plan = plan_for(parameters, 1, 3);
  int64_t sum = 0;
  for (const Bucket& bucket : plan.buckets()) {
    CHECK(bucket.part == bucket.numel);
    sum += bucket.numel;
  }
  int64_t whole = 0;
  for (const Parameter& parameter : parameters) whole += parameter.shape.numel();
  CHECK(sum == whole);
}

}  // namespace collie::test
