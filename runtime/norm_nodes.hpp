// The contribution of each rank of a run to a step's loss and gradient norm. All ranks know it from the
// layout alone.
#pragma once

#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "runtime/model_worker.hpp"
#include "runtime/reduction_tree.hpp"

namespace collie {

// A rank's values are in this order: its loss, if it has one, then its stages' norm_shares().
class NormNodes {
 public:
  // `settings` may be those of any rank; only the values that describe the run are used.
  explicit NormNodes(const ModelWorkerSettings& settings);

  std::vector<NormNode> of_rank(int rank);
  // Returns the rank's part in the norm. The work of a group's first rank grows with the ranks below it.
  NormOrder order_of(int rank, const ReductionTree& tree);

 private:
  // A stage as the ranks at one position of the tensor group hold it.
  struct HeldStage {
    std::vector<Parameter> parameters;
    BucketPlan plan;
    std::vector<int> canonical;  // [ParameterId] index in canonical order
  };

  const HeldStage& held_by(int stage, int tensor);
  std::vector<NormNode> of_all(const std::vector<int>& ranks);

  const ModelWorkerSettings& settings_;
  std::unordered_map<std::string, int> canonical_;
  std::map<std::pair<int, int>, HeldStage> held_;  // by (stage, tensor rank)
};

// Maps the name of a parameter that is trained to its index in canonical order.
std::unordered_map<std::string, int> canonical_order(const ModelSpec& model);

}  // namespace collie
