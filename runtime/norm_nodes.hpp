// What each rank of a run contributes to a step's loss and to the norm of its gradients, known to all of them
// from the layout alone.
#pragma once

#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "runtime/model_worker.hpp"
#include "runtime/reduction_tree.hpp"

namespace collie {

// In the order of a rank's values: its loss, where it has one, then its stages' norm_shares().
class NormNodes {
 public:
  // `settings` of any rank: what it says of the run counts.
  explicit NormNodes(const ModelWorkerSettings& settings);

  std::vector<NormNode> of_rank(int rank);
  // How the rank takes part. What the first rank of a group does grows with the ranks below it.
  NormOrder order_of(int rank, const ReductionTree& tree);

 private:
  // A stage as the ranks of one place in the tensor group hold it.
  struct HeldStage {
    std::vector<Parameter> parameters;
    BucketPlan plan;
    std::vector<int> canonical;  // by ParameterId
  };

  const HeldStage& held_by(int stage, int tensor);
  std::vector<NormNode> of_all(const std::vector<int>& ranks);

  const ModelWorkerSettings& settings_;
  std::unordered_map<std::string, int> canonical_;
  std::map<std::pair<int, int>, HeldStage> held_;  // by (stage, tensor rank)
};

// Where a parameter stands in canonical order, by its name.
std::unordered_map<std::string, int> canonical_order(const ModelConfig& model);

}  // namespace collie
