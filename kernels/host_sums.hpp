// Sums of doubles on the host. Shared by the host implementations.
#pragma once

#include "kernels/operations.hpp"

namespace collie::host {

// Operations::ordered_sums, of one of the sums.
double ordered_sum(const Tensor& values, const OrderedRuns& runs, int64_t which);
// Operations::tree_sums, of one of the sums.
double tree_sum(const Tensor& values, const TreeRuns& runs, int64_t which);
// Operations::step_outcome.
void step_outcome(const Tensor& loss_sum, const Tensor& sum_of_squares, double max_norm, Tensor& outcome);

}  // namespace collie::host
