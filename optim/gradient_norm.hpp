// The norm of all gradients together, in one order of additions whatever the layout: a parameter's sum of
// squares is taken piece by piece (tensor ranks), a piece's block by block (blocks of reduction_block
// elements from its start, each in double), and the parameters' sums are added in canonical order.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/process_group.hpp"
#include "kernels/operations.hpp"
#include "optim/bucket_plan.hpp"

namespace collie {

// What a rank contributes of one parameter of a stage: the sums of squares of `values` blocks from
// `first_block` on, or, where nothing is sharded, of all of them together in one value.
struct NormShare {
  OwnedRange range;  // the elements
  int bucket = 0;
  int64_t first_block = 0, values = 1;
};

// What `sharding.rank` contributes of a stage, in the order of its values: every rank of the data group its
// own part, where gradients are sharded; else the first of them everything. Where several ranks of a tensor
// group hold the same, the first holder.
std::vector<NormShare> norm_shares(const std::vector<Parameter>& parameters, const BucketPlan& plan,
                                   const DataSharding& sharding);
// Whether this rank stands for the parameter where several hold the same.
bool speaks_for(const Parameter& parameter, const DataSharding& sharding);

// A share as the other ranks see it.
struct NormPart {
  int parameter = 0;  // canonical index
  int piece = 0;      // tensor rank
  int64_t first_block = 0, values = 1;
};

// A sum for each of these counts, of values that stand one after another.
OrderedRuns consecutive_runs(const std::vector<int64_t>& counts);

// How the contributions of all ranks are added. A rank's contribution is f64 [width]: the sum of its losses,
// then its parts' values, then zeros; they are gathered to f64 [ranks, width].
struct NormOrder {
  int64_t width = 1;
  OrderedRuns losses;      // of the gathered: 1 sum, rank by rank
  OrderedRuns pieces;      // of the gathered: one a parameter and piece
  OrderedRuns parameters;  // of the pieces: one a parameter
  OrderedRuns total;       // of the parameters: 1
};

// parts [ranks][parts], in the order of the rank's values. Each of the `parameters` canonical ones must have
// a part; asserts that no two ranks contribute the same.
NormOrder norm_order(const std::vector<std::vector<NormPart>>& parts, int parameters);

// What all ranks agree on: Operations::step_outcome() of the losses and gradients of all of them, on every
// rank, without the host waiting for a device. own f64 [order.width]; `all`: every rank; null where there is
// one alone.
Tensor agree_on_step(Operations& operations, const NormOrder& order, const Tensor& own, ProcessGroup* all,
                     double max_norm);

}  // namespace collie
