// A whole model cut into stages, run in this thread, with the sources and sinks a test chooses.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/pieces.hpp"
#include "tests/models/support.hpp"

namespace collie::test {

// What one stage of the harness is made of. Weights and gradients are by parameter name (and tied copies
// apart).
struct Stage {
  std::unique_ptr<StageModel> model;
  std::vector<Tensor> weights, gradients;
  std::unique_ptr<ParameterSource> source;
  std::unique_ptr<GradientSink> sink;
};

struct Pipeline {
  // Weights are random, by name; gradients start as NaN. Resident sources and accumulating sinks.
  Pipeline(Operations& operations, const ModelConfig& config, const std::vector<StageRange>& ranges,
           const ActivationMemory& memory = {});

  LayerContext context(size_t stage) { return {operations, *stages[stage].source, stages[stage].sink.get()}; }
  // Returns the sum of the losses.
  double forward(const MicroBatch& batch, double gradient_scale, std::vector<ActivationStash>& stashes);
  void backward_input(const MicroBatch& batch, std::vector<ActivationStash>& stashes);
  void backward_weight(const MicroBatch& batch, std::vector<ActivationStash>& stashes);
  void backward(const MicroBatch& batch, std::vector<ActivationStash>& stashes);
  // All of it; the gradient is that of gradient_scale times the sum.
  double micro_batch(const MicroBatch& batch, double gradient_scale);
  double evaluate(const MicroBatch& batch);
  void start_step();
  // The gradient of every parameter by name, tied copies added to their owner's: as Hugging Face's tensor has
  // it, which each parameter is the whole of.
  std::vector<std::pair<std::string, std::vector<double>>> gradients_by_name();

  Operations& operations;
  std::unique_ptr<Loss> loss;
  std::vector<Stage> stages;
};

inline Pipeline::Pipeline(Operations& the_operations, const ModelConfig& config,
                          const std::vector<StageRange>& ranges, const ActivationMemory& memory)
    : operations(the_operations), loss(losses().find("cross_entropy")()) {
  for (const StageRange& range : ranges) {
    Stage stage;
    stage.model = make_stage_model(config, range, operations, {}, memory);
    stage.weights = random_weights(operations, stage.model->parameters());
    stage.gradients = like(operations, stage.model->parameters(), NAN);
    stage.source = std::make_unique<ResidentSource>(stage.weights);
    stage.sink = std::make_unique<AccumulatingSink>(stage.gradients);
    stages.push_back(std::move(stage));
  }
}

inline double Pipeline::forward(const MicroBatch& batch, double gradient_scale,
                                std::vector<ActivationStash>& stashes) {
  stashes = std::vector<ActivationStash>(stages.size());
  Tensor x, loss_sum = no_loss(operations);
  for (size_t i = 0; i < stages.size(); ++i) {
    LayerContext at = context(i);
    x = stages[i].model->forward(at, batch, x, gradient_scale, *loss, loss_sum, stashes[i]);
  }
  return operations.read(loss_sum).value().front();
}

inline void Pipeline::backward_input(const MicroBatch& batch, std::vector<ActivationStash>& stashes) {
  Tensor gradient;
  for (size_t i = stages.size(); i-- > 0;) {
    LayerContext at = context(i);
    gradient = stages[i].model->backward_input(at, batch, gradient, stashes[i]);
  }
}

inline void Pipeline::backward_weight(const MicroBatch& batch, std::vector<ActivationStash>& stashes) {
  for (size_t i = stages.size(); i-- > 0;) {
    LayerContext at = context(i);
    stages[i].model->backward_weight(at, batch, stashes[i]);
  }
}

inline void Pipeline::backward(const MicroBatch& batch, std::vector<ActivationStash>& stashes) {
  Tensor gradient;
  for (size_t i = stages.size(); i-- > 0;) {
    LayerContext at = context(i);
    gradient = stages[i].model->backward(at, batch, gradient, stashes[i]);
  }
}

inline double Pipeline::micro_batch(const MicroBatch& batch, double gradient_scale) {
  std::vector<ActivationStash> stashes;
  const double sum = forward(batch, gradient_scale, stashes);
  backward(batch, stashes);
  return sum;
}

inline double Pipeline::evaluate(const MicroBatch& batch) {
  Tensor x, loss_sum = no_loss(operations);
  for (size_t i = 0; i < stages.size(); ++i) {
    LayerContext at{operations, *stages[i].source, nullptr};
    x = stages[i].model->evaluate(at, batch, x, *loss, loss_sum);
  }
  return operations.read(loss_sum).value().front();
}

inline void Pipeline::start_step() {
  for (Stage& stage : stages) static_cast<AccumulatingSink&>(*stage.sink).start_step();
}

inline std::vector<std::pair<std::string, std::vector<double>>> Pipeline::gradients_by_name() {
  std::vector<std::pair<std::string, std::vector<double>>> all;
  for (Stage& stage : stages)
    for (size_t i = 0; i < stage.gradients.size(); ++i) {
      const std::vector<float> part = values(operations, stage.gradients[i]);
      const Parameter& parameter = stage.model->parameters()[i];
      if (!parameter.tied_copy) {
        std::vector<double>& whole =
            all.emplace_back(parameter.name, std::vector<double>(part.size())).second;
        for_each_run(parameter, 0, parameter.shape.numel(), [&](const TensorRun& run) {
          for (int64_t k = 0; k < run.count; ++k)
            whole[static_cast<size_t>(run.first + k)] =
                static_cast<double>(part[static_cast<size_t>(run.held + k * run.stride)]);
        });
        continue;
      }
      for (auto& [name, gradient] : all)
        if (name == parameter.name)
          for (size_t k = 0; k < part.size(); ++k) gradient[k] += static_cast<double>(part[k]);
    }
  return all;
}

}  // namespace collie::test
