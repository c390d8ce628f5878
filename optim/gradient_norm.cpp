#include "optim/gradient_norm.hpp"

#include <cmath>

namespace collie {

double gradient_sum_of_squares(Operations& operations, const Tensor& gradient) {
  double sum = 0;
  for (const double block : operations.block_sums_of_squares(gradient.reshape({gradient.numel()})).value())
    sum += block;
  return sum;
}

double global_norm(std::span<const double> sums_of_squares) {
  double sum = 0;
  for (const double share : sums_of_squares) sum += share;
  return std::sqrt(sum);
}

double global_norm(const std::vector<Parameter>& canonical,
                   const std::map<std::string, double>& sums_of_squares) {
  std::vector<double> ordered;
  for (const Parameter& parameter : canonical) {
    if (parameter.tied_copy) continue;
    const auto found = sums_of_squares.find(parameter.name);
    COLLIE_ASSERT(found != sums_of_squares.end(), "no sum of squares for {}", parameter.name);
    ordered.push_back(found->second);
  }
  COLLIE_ASSERT(ordered.size() == sums_of_squares.size(), "{} sums of squares for {} parameters",
                sums_of_squares.size(), ordered.size());
  return global_norm(ordered);
}

}  // namespace collie
