// The order in which the sums of squares of a parameter's blocks are added: one binary tree over the blocks
// of what a tensor rank holds of the parameter, whoever has which of them. A range of blocks is the sum of
// few of the tree's nodes, so ranks tell each other those, and what they come to does not depend on where
// ZeRO cuts.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/operations.hpp"

namespace collie {

// The blocks [first, first + blocks) of `total`, under one node of the tree: blocks is a power of two of
// which first is a multiple, or what is left of such a range at the end.
struct BlockNode {
  int64_t first = 0, blocks = 1, total = 1;
  bool operator==(const BlockNode&) const = default;
};

// The fewest nodes that have just the blocks [first, end) of `total`, from left to right: at most twice as
// many as the tree is high.
std::vector<BlockNode> tree_nodes(int64_t first, int64_t end, int64_t total);
// How high the tree under a node is.
int32_t height(const BlockNode& node);

// A node of one of a model's trees.
struct NormNode {
  int parameter = 0;  // canonical index; -1: the losses, of which a block is one data rank's
  int piece = 0;      // tensor rank
  BlockNode node;
  bool operator==(const NormNode&) const = default;
};

// What becomes of the nodes of several ranks when they are put together.
struct CombinedNodes {
  std::vector<NormNode> nodes;  // in the order of (parameter, piece, first block)
  TreeRuns sums;                // one a node
};

// members[i]: whose values stand from i · width on in what was gathered. Asserts that no block is there
// twice.
CombinedNodes combine(const std::vector<std::vector<NormNode>>& members, int64_t width);
// The nodes alone.
std::vector<NormNode> merged(const std::vector<std::vector<NormNode>>& members);

}  // namespace collie
