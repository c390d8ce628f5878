// The loss of a step and the norm of all gradients together, in one order of additions whatever the layout: a
// parameter's sum of squares is taken piece by piece (tensor ranks), a piece's as a binary tree over blocks
// of reduction_block elements from its start (norm_tree.hpp), each in double, and the parameters' sums are
// added in canonical order. The loss is a tree over the data ranks.
//
// Ranks put their nodes together on a tree of small groups: the first of each group goes on for all of it,
// and hands down what the last group has found.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/process_group.hpp"
#include "kernels/operations.hpp"
#include "optim/bucket_plan.hpp"
#include "optim/norm_tree.hpp"

namespace collie {

// What a rank contributes of one parameter of a stage.
struct NormShare {
  OwnedRange range;  // the elements
  int bucket = 0;
  std::vector<BlockNode> nodes;
};

// What `sharding.rank` contributes of a stage, in the order of its values: every rank of the data group its
// own part, where gradients are sharded; else the first of them everything. Where several ranks of a tensor
// group hold the same, the first holder.
std::vector<NormShare> norm_shares(const std::vector<Parameter>& parameters, const BucketPlan& plan,
                                   const DataSharding& sharding);
// Whether this rank stands for the parameter or its first rows (Parameter::own_rows), which are in `bucket`,
// where several hold the same.
bool is_primary(const Parameter& parameter, const Bucket& bucket, const DataSharding& sharding);
// Of the sums of squares of all blocks of these shares, one share after another: a sum a node.
TreeRuns sums_of_shares(const std::vector<NormShare>& shares);

// f64 [1] with that value.
Tensor one_double(Operations& operations, double value);

// One sum, of `count` values from the first on.
OrderedRuns sum_of_first(int64_t count, int64_t first = 0);

// A group of the reduction tree that a rank is in, from the ranks at the bottom on. Members are ranks, or the
// first ranks of groups below.
struct NormLevel {
  int64_t width = 1;  // most values of a member
  TreeRuns sums;  // of what is gathered, f64 [members, width]: the values with which its first rank goes on
};

// How a rank takes part.
struct NormOrder {
  std::vector<NormLevel> levels;  // in the next of which it is no more, if it is not the first of its group
  bool top = true;  // the last of `levels` is the tree's last, of which each member finds the outcome
  OrderedRuns parameters, total;  // of the top's values but the first, the loss: 1 a parameter; of those: 1

  int64_t width() const { return levels.front().width; }  // of the rank's own values
};

// nodes_of[level][member]: of what each member of the rank's group of a level has, in the order of its
// values. `parameters`: how many canonical ones there are; where `top`, each must have all its blocks, and so
// must the loss. Asserts that nothing is contributed twice.
NormOrder norm_order(const std::vector<std::vector<std::vector<NormNode>>>& nodes_of, bool top,
                     int parameters);

// What all ranks agree on: Operations::step_outcome() of the losses and gradients of all of them, on every
// rank, without the host waiting for a device. `parameters`, if given, gets the sum of squares of each
// parameter, f64 [parameters], where order.top. own f64 [order.width()], zeros behind its values; groups: of
// each level; null where the rank is alone in it.
Tensor reduce_step_outcome(Operations& operations, const NormOrder& order, const Tensor& own,
                           const std::vector<ProcessGroup*>& groups, const StepBounds& bounds,
                           Tensor* parameters = nullptr);

}  // namespace collie
