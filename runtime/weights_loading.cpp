#include "runtime/weights_loading.hpp"

#include <optional>
#include <vector>

#include "models/prompt_start.hpp"
#include "models/quantised_weights.hpp"
#include "models/weights_io.hpp"

namespace collie {
namespace {

void load_codes(const ModelWorkerSettings& settings, const StageModel& model, Operations& operations,
                ShardedState& state) {
  if (!settings.model.quantisation.is_there()) return;
  const WeightFolder folder(settings.quantised_folder);
  state.weights().load_quantised([&](ParameterId id, QuantisedMatrix& matrix) {
    read_quantised(folder, model.parameters()[static_cast<size_t>(id)], operations, matrix);
  });
}

}  // namespace

void load_weights(const ModelWorkerSettings& settings, const StageModel& model, Operations& operations,
                  ShardedState& state) {
  if (!operations.has_values()) return state.load([](ParameterId, Tensor&) {});
  load_codes(settings, model, operations, state);
  if (settings.checkpoint != nullptr) return state.load(*settings.checkpoint);
  std::optional<WeightFolder> folder;
  if (!settings.weights_folder.empty()) folder.emplace(settings.weights_folder);
  const std::vector<AdapterFolder> adapters(settings.adapters.begin(), settings.adapters.end());
  state.load([&](ParameterId id, Tensor& weight) {
    const Parameter& parameter = model.parameters()[static_cast<size_t>(id)];
    for (const AdapterFolder& adapter : adapters)
      if (adapter.has(parameter)) return adapter.read(settings.model, parameter, operations, weight);
    if (folder && read_prompt_start(settings.model, parameter, *folder, operations, weight)) return;
    if (settings.base && !parameter.is_adapter) return state.read_weight(id, *settings.base, weight);
    if (!folder || parameter.is_adapter) return initialise(parameter, settings.seed, operations, weight);
    std::vector<Tensor> weights{weight};
    read_weights(*folder, {parameter}, operations, weights);
  });
}

}  // namespace collie
