// Sums of doubles on the host. The host implementations share them.
#pragma once

#include "kernels/operations.hpp"

namespace collie::host {

// One of the sums of Operations::ordered_sums.
double ordered_sum(const Tensor& values, const OrderedRuns& runs, int64_t which);
// One of the sums of Operations::tree_sums.
double tree_sum(const Tensor& values, const TreeRuns& runs, int64_t which);
// Operations::step_outcome.
void step_outcome(const Tensor& loss_sum, const Tensor& sum_of_squares, const StepBounds& bounds,
                  Tensor& outcome);

}  // namespace collie::host
