#include "actors/norm_parts.hpp"

namespace collie {
namespace {

// A stage as the ranks of one place in the tensor group hold it.
struct HeldStage {
  std::vector<Parameter> parameters;
  BucketPlan plan;
  std::vector<int> canonical;  // by ParameterId
};

class AllRanks {
 public:
  explicit AllRanks(const ModelWorkerSettings& settings)
      : settings_(settings), order_(canonical_order(settings.model)) {}

  std::vector<std::vector<NormPart>> parts() const {
    const Grid& grid = settings_.grid;
    std::vector<std::vector<NormPart>> all(static_cast<size_t>(grid.ranks()));
    for (size_t stage = 0; stage < settings_.ranges.size(); ++stage) {
      COLLIE_ASSERT(settings_.rank_of_stage[stage] < grid.pipeline, "stage {} is at position {} of {}", stage,
                    settings_.rank_of_stage[stage], grid.pipeline);
      for (int tensor = 0; tensor < grid.tensor; ++tensor) {
        const HeldStage held = held_by(settings_.ranges[stage], tensor);
        for (int data = 0; data < grid.data_ranks(); ++data) {
          const GridPlace place{settings_.rank_of_stage[stage], data / grid.context, data % grid.context,
                                tensor};
          append(held, place, all[static_cast<size_t>(grid.rank_of(place))]);
        }
      }
    }
    return all;
  }

 private:
  HeldStage held_by(const StageRange& range, int tensor) const {
    const ModelShard shard{tensor, settings_.grid.tensor, settings_.sequence_parallel};
    std::vector<Parameter> parameters = stage_parameters(settings_.model, range, shard);
    std::vector<int> canonical;
    for (const Parameter& parameter : parameters) canonical.push_back(order_.at(parameter.name));
    BucketPlan plan(parameters, range, sharding_of(settings_, {}));
    return {std::move(parameters), std::move(plan), std::move(canonical)};
  }

  void append(const HeldStage& held, const GridPlace& place, std::vector<NormPart>& parts) const {
    for (const NormShare& share : norm_shares(held.parameters, held.plan, sharding_of(settings_, place)))
      parts.push_back({held.canonical[static_cast<size_t>(share.range.id)], place.tensor, share.first_block,
                       share.values});
  }

  const ModelWorkerSettings& settings_;
  std::unordered_map<std::string, int> order_;
};

}  // namespace

std::unordered_map<std::string, int> canonical_order(const ModelConfig& model) {
  std::unordered_map<std::string, int> order;
  for (const Parameter& parameter : model_parameters(model))
    order.emplace(parameter.name, static_cast<int>(order.size()));
  return order;
}

std::vector<std::vector<NormPart>> norm_parts(const ModelWorkerSettings& settings) {
  return AllRanks(settings).parts();
}

}  // namespace collie
