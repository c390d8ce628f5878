// Whole training steps against PyTorch's: see tests/golden/make_model_golden.py.
#include "optim/gradient_norm.hpp"
#include "optim/optimizer.hpp"
#include "tests/catch.hpp"
#include "tests/models/golden.hpp"

using namespace collie;
using namespace collie::test;
using nlohmann::json;

namespace {

// A single-stage model's weights under an optimizer; the two uses of a tied matrix share one tensor, and
// their gradients are added once a step, as the engine does.
class Trainer {
 public:
  explicit Trainer(Pipeline& pipeline) : operations_(pipeline.operations), stage_(pipeline.stages[0]) {
    optimizer_ = make_optimizer(
        "adamw", {{"betas", std::vector<double>{0.9, 0.95}}, {"eps", 1e-8}, {"weight_decay", 0.1}});
    const auto& parameters = stage_.model->parameters();
    for (size_t i = 0; i < parameters.size(); ++i) {
      if (parameters[i].tied_copy) stage_.weights[i] = stage_.weights[0];
      states_.emplace_back();
      for (size_t s = 0; s < optimizer_->states({parameters[i].name, parameters[i].shape}).size(); ++s) {
        states_.back().push_back(operations_.empty({parameters[i].shape.numel()}, Category::optimizer));
        operations_.fill(states_.back().back(), 0);
      }
    }
    stage_.source = std::make_unique<ResidentSource>(stage_.weights);
  }

  // Returns the norm before clipping.
  double update(double lr, double max_norm) {
    ++step_;
    const auto& parameters = stage_.model->parameters();
    for (size_t i = 0; i < parameters.size(); ++i)
      if (parameters[i].tied_copy)
        operations_.add(stage_.gradients[0], stage_.gradients[i], stage_.gradients[0]);
    const Tensor outcome = agree(max_norm);
    for (size_t i = 0; i < parameters.size(); ++i) {
      if (parameters[i].tied_copy) continue;
      const Shape flat{parameters[i].shape.numel()};
      ParameterRange range{parameters[i].name,
                           stage_.weights[i].reshape(flat),
                           stage_.gradients[i].reshape(flat),
                           states_[i],
                           {}};
      optimizer_->update(operations_, {&range, 1}, {lr, step_, outcome.rows(2, 3), {}});
    }
    return operations_.read(outcome).value()[1];
  }

 private:
  static int64_t blocks_in(int64_t numel) { return (numel + reduction_block - 1) / reduction_block; }

  Tensor agree(double max_norm) {
    std::vector<NormNode> nodes{{-1, 0, {}}};
    std::vector<Tensor> gradients;
    for (size_t i = 0; i < stage_.gradients.size(); ++i) {
      if (stage_.model->parameters()[i].tied_copy) continue;
      const int64_t numel = stage_.gradients[i].numel(), blocks = blocks_in(numel);
      for (int64_t block = 0; block < blocks; ++block)
        nodes.push_back({static_cast<int>(gradients.size()), 0, {block, 1, blocks}});
      gradients.push_back(stage_.gradients[i].reshape({numel}));
    }
    const NormOrder order = norm_order({{nodes}}, true, static_cast<int>(gradients.size()));
    Tensor own = operations_.empty({order.width()}, DType::f64, Category::workspace);
    operations_.fill(own, 0);
    int64_t at = 1;
    for (const Tensor& gradient : gradients) {
      Tensor sums = own.rows(at, at + blocks_in(gradient.numel()));
      operations_.block_sums_of_squares(gradient, sums);
      at += sums.numel();
    }
    return reduce_step_outcome(operations_, order, own, {nullptr}, {max_norm});
  }

  Operations& operations_;
  Stage& stage_;
  std::unique_ptr<Optimizer> optimizer_;
  std::vector<std::vector<Tensor>> states_;
  int64_t step_ = 0;
};

}  // namespace

TEST_CASE("20 AdamW steps follow PyTorch's losses and norms", "[golden]") {
  const std::string name = GENERATE(from_range(checkpoints)), device = GENERATE(from_range(all_devices));
  CAPTURE(name, device);
  const auto owner = make_operations(device);
  const std::string folder = golden_folder + name;
  Pipeline pipeline = load(*owner.operations, folder, ranges_of(folder, false));
  Trainer trainer(pipeline);
  const json golden = read_json(folder + "/golden.json");
  const json& steps = golden["steps"];
  REQUIRE(golden["losses"].size() == 20);
  for (size_t step = 0; step < golden["losses"].size(); ++step) {
    CAPTURE(step);
    std::vector<MicroBatch> batches;
    int64_t targets = 0;
    for (const json& documents : steps[step % steps.size()]) {
      batches.push_back(pack(documents));
      targets += batches.back().target_tokens;
    }
    pipeline.start_step();
    double sum = 0;
    for (const MicroBatch& batch : batches)
      sum += pipeline.micro_batch(batch, 1.0 / static_cast<double>(targets));
    const double norm = trainer.update(1e-3, 1.0);
    CHECK(sum / static_cast<double>(targets) ==
          Approx(golden["losses"][step].get<double>()).margin(2e-5).epsilon(0));
    CHECK(norm == Approx(golden["grad_norms"][step].get<double>()).epsilon(1e-4));
  }
}
