#include "kernels/host_sums.hpp"

#include <cmath>
#include <utility>
#include <vector>

#include "kernels/clip_factor.hpp"
#include "kernels/tree_sum.hpp"

namespace collie::host {

double ordered_sum(const Tensor& values, const OrderedRuns& runs, int64_t which) {
  const auto start = runs.starts.begin() + which;
  double sum = 0;
  for (auto run = static_cast<size_t>(start[0]); run < static_cast<size_t>(start[1]); ++run) {
    const double* const first = values.data<double>() + runs.firsts[run];
    for (const double* value = first; value != first + runs.counts[run]; ++value) sum += *value;
  }
  return sum;
}

double tree_sum(const Tensor& values, const TreeRuns& runs, int64_t which) {
  const auto start = runs.starts.begin() + which;
  std::vector<std::pair<int32_t, double>> left;  // (height, sum), each lower than the one before
  for (auto node = static_cast<size_t>(start[0]); node < static_cast<size_t>(start[1]); ++node) {
    int32_t height = runs.heights[node];
    double sum = collie::tree_sum(values.data<double>() + runs.firsts[node], runs.counts[node]);
    for (; !left.empty() && left.back().first == height; ++height, left.pop_back())
      sum = left.back().second + sum;
    left.emplace_back(height, sum);
  }
  if (left.empty()) return 0;
  double sum = left.back().second;
  for (left.pop_back(); !left.empty(); left.pop_back()) sum = left.back().second + sum;
  return sum;
}

void step_outcome(const Tensor& loss_sum, const Tensor& sum_of_squares, const StepBounds& bounds,
                  Tensor& outcome) {
  double* const out = outcome.data<double>();
  out[0] = *loss_sum.data<double>();
  out[1] = std::sqrt(*sum_of_squares.data<double>());
  out[2] = step_factor(out[0], out[1], bounds);
}

}  // namespace collie::host
