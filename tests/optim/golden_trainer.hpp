// Whole training steps against PyTorch's float32 ones (tests/golden/make_model_golden.py), with the weights,
// gradients and optimizer states that a run keeps.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "models/quantised_weights.hpp"
#include "optim/sharded_state.hpp"
#include "tests/models/golden.hpp"

namespace collie::test {

// What make_model_golden.py trains with.
inline OptimizerConfig golden_adamw() {
  OptimizerConfig config;
  config.decay_norms_and_biases = true;
  config.options = {
      {"lr", 1e-3}, {"betas", std::vector<double>{0.9, 0.95}}, {"eps", 1e-8}, {"weight_decay", 0.1}};
  return config;
}

// How the steps of a golden.json are taken, but for what a test changes.
struct GoldenSettings {
  GoldenSettings(OptimizerConfig config = golden_adamw()) : optimizer(std::move(config)) {}

  OptimizerConfig optimizer;
  double clip_grad_value = 0, clip_grad_norm = 1;
  // Of a model with adapters: what it is, how its matrices are made, and who reads a parameter that is not
  // the folder's.
  std::function<ModelSpec(const ModelConfig&)> model = [](const ModelConfig& config) { return config; };
  LinearFactory linears = make_dense_linear;
  std::function<bool(const Parameter&, Operations&, Tensor&)> read = nullptr;
  // Called in the middle of each update, from 0, of what the factor f64 [1] has multiplied the gradients of.
  std::function<void(Operations&, ShardedState&, const Tensor& factor, int64_t update)> between = nullptr;
};

// A whole model on one rank, with the buckets, masters and states of a run.
class GoldenTrainer {
 public:
  GoldenTrainer(const std::string& folder, std::unique_ptr<Operations> operations, const Precision& precision,
                const GoldenSettings& settings = {})
      : settings_(settings),
        operations_(std::move(operations)),
        loss_(losses().find("cross_entropy")()),
        optimizers_(std::make_unique<ParameterGroups>(settings.optimizer)),
        memory_(optimizers_->memory()) {
    model_ = make_stage_model(settings.model(load_model_config(folder)), ranges_of(folder, false)[0],
                              *operations_, {}, {}, settings.linears);
    state_ = std::make_unique<ShardedState>(*model_, DataSharding{}, *operations_, optimizers_.get(),
                                            precision, false, ShardedState::Groups{});
    std::vector<NormNode> nodes{{-1, 0, {}}};
    std::vector<int> number;  // [parameters] among those that are trained
    for (const Parameter& parameter : model_->parameters())
      number.push_back((number.empty() ? -1 : number.back()) +
                       (parameter.trainable && !parameter.tied_copy ? 1 : 0));
    for (const NormShare& share : state_->norm_shares())
      for (const BlockNode& node : share.nodes)
        nodes.push_back({number[static_cast<size_t>(share.range.id)], 0, node});
    order_ = norm_order({{nodes}}, true, number.back() + 1);
    state_->weights().load_quantised([&](ParameterId id, QuantisedMatrix& matrix) {
      read_quantised(WeightFolder(folder), model_->parameters()[static_cast<size_t>(id)], *operations_,
                     matrix);
    });
    state_->load([&](ParameterId id, Tensor& values) {
      const Parameter& parameter = model_->parameters()[static_cast<size_t>(id)];
      if (settings_.read && settings_.read(parameter, *operations_, values)) return;
      std::vector<Tensor> weights{values};
      read_weights(WeightFolder(folder), {parameter}, *operations_, weights);
    });
  }

  // Returns the mean loss. lr_factor: of the rate that the configuration has.
  double step(const std::vector<MicroBatch>& batches, double lr_factor = 1) {
    const Tensor outcome = backward(batches, settings_.clip_grad_norm, {});
    optimizers_->remember(memory_, lr_factor, ++steps_);
    const Tensor factor = outcome.rows(2, 3);
    if (settings_.between) {
      state_->update_own(lr_factor, {0, steps_, factor, {}}, memory_);
      settings_.between(*operations_, *state_, factor, steps_ - 1);
      state_->finish_update();
    } else {
      state_->update(lr_factor, {0, steps_, factor, {}}, memory_);
    }
    const std::vector<double> values = operations_->read(outcome).value();
    norm = values[1];
    return values[0] / static_cast<double>(targets_of(batches));
  }

  // The estimate of the curvature before the next step, if it has one. The batches number their tokens.
  void estimate(const std::vector<MicroBatch>& batches, uint64_t seed) {
    if (!optimizers_->estimate_due(steps_ + 1)) return;
    const Tensor outcome = backward(batches, 0, LabelDraw{seed, steps_ + 1});
    state_->estimate(steps_ + 1, {targets_of(batches), outcome.rows(2, 3), {}});
  }

  // The mean loss of the weights that are evaluated.
  double evaluate(const std::vector<MicroBatch>& batches) {
    state_->use_averages();
    const double loss = evaluate_trained(batches);
    state_->use_trained(true);
    return loss;
  }

  double evaluate_trained(const std::vector<MicroBatch>& batches) {
    Tensor loss_sum = operations_->empty({1}, DType::f64, Category::workspace);
    operations_->fill(loss_sum, 0);
    for (const MicroBatch& batch : batches) {
      LayerContext context{*operations_, state_->weights(), nullptr};
      model_->evaluate(context, batch, {}, *loss_, loss_sum);
    }
    return operations_->read(loss_sum).value().front() / static_cast<double>(targets_of(batches));
  }

  ShardedState& state() { return *state_; }

  // Computes the gradients of the batches alone, and returns their mean loss.
  double gradients_of(const std::vector<MicroBatch>& batches) {
    const Tensor outcome = backward(batches, 0, {});
    return operations_->read(outcome).value()[0] / static_cast<double>(targets_of(batches));
  }
  // Those of what is trained, by the parameters' names.
  std::vector<std::pair<std::string, std::vector<float>>> gradients_by_name() {
    std::vector<std::pair<std::string, std::vector<float>>> all;
    for (size_t id = 0; id < model_->parameters().size(); ++id) {
      const Parameter& parameter = model_->parameters()[id];
      if (!parameter.trainable || parameter.tied_copy) continue;
      const BucketSlot& slot = state_->plan().slot_of(static_cast<ParameterId>(id));
      const Tensor part = state_->gradients().part(state_->plan().bucket_of(static_cast<ParameterId>(id)));
      all.emplace_back(parameter.name,
                       values(*operations_, part.rows(slot.offset, slot.offset + slot.numel)));
    }
    return all;
  }

  double norm = 0;  // of the last step's gradients, before clipping

 private:
  static int64_t targets_of(const std::vector<MicroBatch>& batches) {
    int64_t targets = 0;
    for (const MicroBatch& batch : batches) targets += batch.target_tokens;
    return targets;
  }

  // The gradients of a step, and its outcome.
  Tensor backward(const std::vector<MicroBatch>& batches, double max_norm, std::optional<LabelDraw> labels) {
    state_->start_step(static_cast<int>(batches.size()));
    Tensor own = operations_->empty({order_.width()}, DType::f64, Category::workspace);
    operations_->fill(own, 0);
    Tensor loss_sum = own.rows(0, 1);
    for (const MicroBatch& batch : batches) {
      LayerContext context{*operations_, state_->weights(), &state_->gradients()};
      context.labels = labels;
      context.regularises = &batch == &batches.front();
      ActivationStash stash;
      model_->forward(context, batch, {}, 1.0 / static_cast<double>(targets_of(batches)), *loss_, loss_sum,
                      stash);
      model_->backward(context, batch, {}, stash);
    }
    state_->gradients().finish();
    add_tied_gradients();
    if (settings_.clip_grad_value > 0) state_->clamp_gradients(settings_.clip_grad_value);
    Tensor squares = own.rows(1, own.numel());
    state_->sum_squares(squares);
    return reduce_step_outcome(*operations_, order_, own, {nullptr}, {max_norm});
  }

  void add_tied_gradients() {
    const auto& parameters = model_->parameters();
    for (size_t id = 0; id < parameters.size(); ++id) {
      if (!parameters[id].tied_copy || !parameters[id].trainable) continue;
      Tensor owner = state_->gradients().part(state_->plan().bucket_of(0));
      operations_->add(owner, state_->gradients().part(state_->plan().bucket_of(static_cast<int>(id))),
                       owner);
    }
  }

  GoldenSettings settings_;
  std::unique_ptr<Operations> operations_;
  std::unique_ptr<Loss> loss_;
  std::unique_ptr<ParameterGroups> optimizers_;
  std::vector<UpdateMemory> memory_;
  std::unique_ptr<StageModel> model_;
  std::unique_ptr<ShardedState> state_;
  NormOrder order_;
  int64_t steps_ = 0;
};

// How far 20 steps are from the golden's.
struct Difference {
  double loss = 0, norm = 0;  // the largest of 20 steps: absolute, relative
};

// `golden` has the losses and norms, and the checkpoint's own golden.json the micro-batches.
inline Difference difference_from(const nlohmann::json& golden, const std::string& name,
                                  std::unique_ptr<Operations> operations, const Precision& precision,
                                  const GoldenSettings& settings) {
  const std::string folder = golden_folder + name;
  const nlohmann::json steps = read_json(folder + "/golden.json")["steps"];
  GoldenTrainer trainer(folder, std::move(operations), precision, settings);
  REQUIRE(golden["losses"].size() == 20);
  Difference difference;
  for (size_t step = 0; step < golden["losses"].size(); ++step) {
    std::vector<MicroBatch> batches;
    for (const nlohmann::json& documents : steps[step % steps.size()]) batches.push_back(pack(documents));
    const double loss = trainer.step(batches), norm = golden["grad_norms"][step].get<double>();
    difference.loss = std::max(difference.loss, std::abs(loss - golden["losses"][step].get<double>()));
    difference.norm = std::max(difference.norm, std::abs(trainer.norm - norm) / norm);
  }
  return difference;
}

inline Difference difference_from_golden(const std::string& name, std::unique_ptr<Operations> operations,
                                         const Precision& precision) {
  return difference_from(read_json(golden_folder + name + "/golden.json"), name, std::move(operations),
                         precision, {});
}

}  // namespace collie::test
