// The parameter-source and gradient-sink seams: models must give the same whatever stands behind them.
#include <set>

#include "models/once_per_micro_batch.hpp"
#include "tests/catch.hpp"
#include "tests/models/stage_harness.hpp"

using namespace collie;
using namespace collie::test;

namespace {

// Hands out a copy that is good until release, and NaN after: whoever holds a weight too long computes NaN.
class PoisoningSource final : public ParameterSource {
 public:
  PoisoningSource(Operations& operations, std::vector<Tensor> weights)
      : operations_(operations), weights_(std::move(weights)), copies_(weights_.size()) {}
  ~PoisoningSource() override { CHECK(held_.empty()); }

  Tensor acquire(ParameterId id) override {
    const auto i = static_cast<size_t>(id);
    CHECK(held_.insert(id).second);  // one use at a time
    copies_[i] = operations_.empty(weights_[i].shape(), Category::weights);
    operations_.copy(weights_[i], copies_[i]);
    return copies_[i];
  }
  void release(ParameterId id) override {
    CHECK(held_.erase(id) == 1);
    operations_.fill(copies_[static_cast<size_t>(id)], NAN);
    poisoned_.push_back(std::exchange(copies_[static_cast<size_t>(id)], {}));  // not reused by the allocator
  }

 private:
  Operations& operations_;
  std::vector<Tensor> weights_, copies_, poisoned_;
  std::set<ParameterId> held_;
};

// Every contribution has a buffer of its own, poisoned before; they are added, in order, after the step.
class SeparateBuffersSink final : public GradientSink {
 public:
  SeparateBuffersSink(Operations& operations, std::vector<Tensor> totals)
      : operations_(operations), totals_(std::move(totals)), buffers_(totals_.size()) {}

  GradientTarget open(ParameterId id) override {
    const auto i = static_cast<size_t>(id);
    CHECK(open_.insert(id).second);
    buffers_[i].push_back(operations_.empty(totals_[i].shape(), Category::gradients));
    operations_.fill(buffers_[i].back(), NAN);
    return {buffers_[i].back(), false};
  }
  void close(ParameterId id) override { CHECK(open_.erase(id) == 1); }

  void add_up() {
    CHECK(open_.empty());
    for (size_t i = 0; i < totals_.size(); ++i)
      for (size_t k = 0; k < buffers_[i].size(); ++k)
        k == 0 ? operations_.copy(buffers_[i][0], totals_[i])
               : operations_.add(totals_[i], buffers_[i][k], totals_[i]);
  }

 private:
  Operations& operations_;
  std::vector<Tensor> totals_;
  std::vector<std::vector<Tensor>> buffers_;
  std::set<ParameterId> open_;
};

// As a fused update would: one buffer shared by all parameters, taken away (added to a total, then poisoned)
// at close. Only one parameter may be open at a time.
class FusedSink final : public GradientSink {
 public:
  FusedSink(Operations& operations, std::vector<Tensor> totals)
      : operations_(operations), totals_(std::move(totals)), seen_(totals_.size(), false) {
    int64_t largest = 0;
    for (const Tensor& total : totals_) largest = std::max(largest, total.numel());
    buffer_ = operations_.empty({largest}, Category::gradients);
  }

  GradientTarget open(ParameterId id) override {
    CHECK(open_ == -1);
    open_ = id;
    operations_.fill(buffer_, NAN);
    const Tensor& total = totals_[static_cast<size_t>(id)];
    target_ = buffer_.rows(0, total.numel()).reshape(total.shape());
    return {target_, false};
  }
  void close(ParameterId id) override {
    CHECK(open_ == id);
    const auto i = static_cast<size_t>(id);
    seen_[i] ? operations_.add(totals_[i], target_, totals_[i]) : operations_.copy(target_, totals_[i]);
    seen_[i] = true;
    operations_.fill(buffer_, NAN);
    open_ = -1;
  }

 private:
  Operations& operations_;
  std::vector<Tensor> totals_;
  std::vector<bool> seen_;
  Tensor buffer_, target_;
  ParameterId open_ = -1;
};

std::vector<MicroBatch> batches_for(const ModelConfig& config) {
  // The second is longer than a chunk of the head.
  return {make_batch({5, 3}, config.vocab_size, "first"),
          make_batch({60, 60, 60, 60, 60}, config.vocab_size, "second"),
          make_batch({}, config.vocab_size, "none")};
}

}  // namespace

TEST_CASE("models compute the same from every parameter source", "[source]") {
  const std::string device = GENERATE(from_range(all_devices));
  CAPTURE(device);
  const auto owner = make_operations(device);
  Operations& operations = *owner.operations;
  const ModelConfig config = tiny_config(true);
  Pipeline plain(operations, config, two_stages), poisoned(operations, config, two_stages);
  for (Stage& stage : poisoned.stages)
    stage.source = std::make_unique<PoisoningSource>(operations, stage.weights);
  for (const MicroBatch& batch : batches_for(config)) {
    CHECK(poisoned.micro_batch(batch, 0.1) == plain.micro_batch(batch, 0.1));
    CHECK(poisoned.evaluate(batch) == plain.evaluate(batch));
  }
  CHECK(poisoned.gradients_by_name() == plain.gradients_by_name());
}

TEST_CASE("models hand every gradient to every sink", "[sink]") {
  const std::string device = GENERATE(from_range(all_devices));
  CAPTURE(device);
  const double tolerance = device == "reference" ? 1e-12 : 1e-5;  // the sums are taken in other orders
  const auto owner = make_operations(device);
  Operations& operations = *owner.operations;
  const ModelConfig config = tiny_config(true);
  Pipeline plain(operations, config, two_stages), separate(operations, config, two_stages),
      fused(operations, config, two_stages);
  for (Stage& stage : separate.stages)
    stage.sink = std::make_unique<SeparateBuffersSink>(operations, stage.gradients);
  for (Stage& stage : fused.stages) stage.sink = std::make_unique<FusedSink>(operations, stage.gradients);
  for (const MicroBatch& batch : batches_for(config)) {
    const double loss = plain.micro_batch(batch, 0.1);
    CHECK(separate.micro_batch(batch, 0.1) == loss);
    CHECK(fused.micro_batch(batch, 0.1) == loss);
  }
  for (Stage& stage : separate.stages) static_cast<SeparateBuffersSink&>(*stage.sink).add_up();
  const auto expected = plain.gradients_by_name(), a = separate.gradients_by_name(),
             b = fused.gradients_by_name();
  REQUIRE(a.size() == expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    INFO(expected[i].first);
    CHECK(relative_error(a[i].second, expected[i].second, 1e-4) < tolerance);
    CHECK(relative_error(b[i].second, expected[i].second, 1e-4) < tolerance);
  }
  CHECK(a == b);  // the same contributions added in the same order
}

TEST_CASE("gradients are reported last block first, the embedding's before the first block's", "[sink]") {
  struct Recorder final : GradientSink {
    std::vector<Tensor> gradients;
    std::vector<ParameterId> order;
    GradientTarget open(ParameterId id) override { return {gradients[static_cast<size_t>(id)], false}; }
    void close(ParameterId id) override { order.push_back(id); }
  };
  const auto owner = make_operations("reference");
  const ModelConfig config = tiny_config(true);
  Pipeline pipeline(*owner.operations, config, {{0, 2, true, true}});
  auto recorder = std::make_unique<Recorder>();
  recorder->gradients = pipeline.stages[0].gradients;
  const Recorder& seen = *recorder;
  pipeline.stages[0].sink = std::move(recorder);
  pipeline.micro_batch(make_batch({5}, config.vocab_size, "batch"), 1.0);
  const auto& parameters = pipeline.stages[0].model->parameters();
  CHECK(seen.order.size() == parameters.size());
  CHECK(std::set<ParameterId>(seen.order.begin(), seen.order.end()).size() == parameters.size());
  const auto name = [&](size_t i) { return parameters[static_cast<size_t>(seen.order[i])].name; };
  CHECK(parameters[static_cast<size_t>(seen.order[0])].tied_copy);  // the head's, from the forward
  CHECK(name(1) == "model.norm.weight");
  CHECK(name(2) == "model.layers.1.mlp.down_proj.weight");
  const auto at = [&](const std::string& wanted) {
    size_t i = 0;
    while (name(i) != wanted || parameters[static_cast<size_t>(seen.order[i])].tied_copy) ++i;
    return i;
  };
  CHECK(at("model.layers.1.input_layernorm.weight") + 1 == at("model.embed_tokens.weight"));
  CHECK(at("model.embed_tokens.weight") + 1 == at("model.layers.0.mlp.down_proj.weight"));
  CHECK(name(seen.order.size() - 1) == "model.layers.0.input_layernorm.weight");
}

TEST_CASE("an exception leaves no weight acquired", "[source]") {
  struct Failing final : Loss {
    void chunk(Operations&, Tensor&, std::span<const int32_t>, double, Tensor&) override {
      throw RunError("the loss failed");
    }
  };
  const auto owner = make_operations("reference");
  const ModelConfig config = tiny_config();
  Pipeline pipeline(*owner.operations, config, {{0, 2, true, true}});
  Stage& stage = pipeline.stages[0];
  stage.source = std::make_unique<PoisoningSource>(*owner.operations, stage.weights);  // checks when it goes
  pipeline.loss = std::make_unique<Failing>();
  CHECK_THROWS_AS(pipeline.micro_batch(make_batch({5}, config.vocab_size, "batch"), 1.0), RunError);
}
