// The norm of all gradients together, in one order of additions whatever the layout: each parameter's sum of
// squares is taken by itself (double sums of fixed blocks from its start), and they are added in canonical
// order.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "kernels/operations.hpp"
#include "models/parameter.hpp"

namespace collie {

// One parameter's share. `gradient` is contiguous, of any shape.
double gradient_sum_of_squares(Operations& operations, const Tensor& gradient);

// sqrt of the sum, added from the first to the last: one entry a parameter, in the order of
// model_parameters().
double global_norm(std::span<const double> sums_of_squares);

// The same for sums collected by name from whoever holds them. Asserts that every parameter of `canonical` is
// there and nothing else; tied copies in `canonical` are skipped.
double global_norm(const std::vector<Parameter>& canonical,
                   const std::map<std::string, double>& sums_of_squares);

}  // namespace collie
