// The gradient's norm of each group of optimizer.groups, from the sums of squares of which the norm of all
// gradients is made. So it has the same bits in every layout, and the norm itself is none the different.
#pragma once

#include <span>
#include <vector>

#include "models/model_spec.hpp"
#include "optim/parameter_groups.hpp"

namespace collie {

class GroupNorms {
 public:
  // Without optimizer.groups there is nothing to tell apart.
  GroupNorms(const ModelSpec& model, const ParameterGroups& groups);

  bool exist() const { return !group_of_.empty(); }
  // `squares`: the sum of squares of each trained parameter, in canonical order. Returns the norms of the
  // groups in the order of optimizer.groups, then of the rest; 0 for a group without a parameter. NaN: not
  // known, because a parameter packs tensors of that group and of another.
  std::vector<double> of(std::span<const double> squares) const;

 private:
  std::vector<std::vector<size_t>> group_of_;  // [trained parameters] the groups of its tensors, each once
  size_t groups_ = 0;
};

}  // namespace collie
