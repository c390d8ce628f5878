#include "runtime/group_norms.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.hpp"
#include "models/pieces.hpp"
#include "models/stage_model.hpp"

namespace collie {

GroupNorms::GroupNorms(const ModelSpec& model, const ParameterGroups& groups) : groups_(groups.listed() + 1) {
  if (groups.listed() == 0) return;
  for (const Parameter& parameter : model_parameters(model)) {
    if (!parameter.trainable) continue;
    std::vector<size_t>& of_parameter = group_of_.emplace_back();
    for (const NamedTensor& tensor : tensors_of({parameter})) {
      const size_t group = groups.listed_of(groups.index_of(tensor.name, tensor.shape));
      if (std::find(of_parameter.begin(), of_parameter.end(), group) == of_parameter.end())
        of_parameter.push_back(group);
    }
  }
}

std::vector<double> GroupNorms::of(std::span<const double> squares) const {
  COLLIE_ASSERT(squares.size() == group_of_.size(), "norms of {} parameters, of {}", squares.size(),
                group_of_.size());
  std::vector<double> sums(groups_, 0);
  for (size_t parameter = 0; parameter < squares.size(); ++parameter)
    for (const size_t group : group_of_[parameter])
      sums[group] +=
          group_of_[parameter].size() == 1 ? squares[parameter] : std::numeric_limits<double>::quiet_NaN();
  for (double& sum : sums) sum = std::sqrt(sum);
  return sums;
}

}  // namespace collie
