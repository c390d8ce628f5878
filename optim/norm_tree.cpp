#include "optim/norm_tree.hpp"

#include <algorithm>
#include <limits>
#include <tuple>

namespace collie {
namespace {

// A node, and where its value stands.
struct Found {
  NormNode node;
  int32_t at = 0;
};

auto place(const Found& found) {
  return std::tuple(found.node.parameter, found.node.piece, found.node.node.first);
}

bool continues(const NormNode& before, const NormNode& after) {
  return before.parameter == after.parameter && before.piece == after.piece &&
         before.node.first + before.node.blocks == after.node.first;
}

std::vector<Found> in_order(const std::vector<std::vector<NormNode>>& members, int64_t width) {
  std::vector<Found> all;
  for (size_t member = 0; member < members.size(); ++member) {
    int64_t at = static_cast<int64_t>(member) * width;
    COLLIE_ASSERT(static_cast<int64_t>(members[member].size()) <= width, "{} values in {} places",
                  members[member].size(), width);
    COLLIE_ASSERT(at + width <= std::numeric_limits<int32_t>::max(), "{} values of norms", at + width);
    for (const NormNode& node : members[member]) all.push_back({node, static_cast<int32_t>(at++)});
  }
  std::sort(all.begin(), all.end(), [](const Found& a, const Found& b) { return place(a) < place(b); });
  for (size_t i = 1; i < all.size(); ++i) {
    const NormNode &before = all[i - 1].node, &after = all[i].node;
    const bool same = before.parameter == after.parameter && before.piece == after.piece;
    COLLIE_ASSERT(!same || before.node.first + before.node.blocks <= after.node.first,
                  "block {} of parameter {}, piece {}, is contributed twice", after.node.first,
                  after.parameter, after.piece);
    COLLIE_ASSERT(!same || before.node.total == after.node.total,
                  "parameter {}, piece {}, has {} blocks and {}", after.parameter, after.piece,
                  before.node.total, after.node.total);
  }
  return all;
}

}  // namespace

std::vector<BlockNode> tree_nodes(int64_t first, int64_t end, int64_t total) {
  COLLIE_ASSERT(0 <= first && first <= end && end <= total, "blocks {} to {} of {}", first, end, total);
  std::vector<BlockNode> nodes;
  while (first < end) {
    int64_t size = 1;
    while (first % (2 * size) == 0 && first + size < total && std::min(first + 2 * size, total) <= end)
      size *= 2;
    nodes.push_back({first, std::min(size, total - first), total});
    first += size;
  }
  return nodes;
}

int32_t height(const BlockNode& node) {
  int32_t height = 0;
  while (int64_t{1} << height < node.blocks) ++height;
  return height;
}

CombinedNodes combine(const std::vector<std::vector<NormNode>>& members, int64_t width) {
  const std::vector<Found> all = in_order(members, width);
  CombinedNodes combined;
  TreeRuns& sums = combined.sums;
  for (size_t i = 0; i < all.size();) {
    size_t next = i + 1;
    while (next < all.size() && continues(all[next - 1].node, all[next].node)) ++next;
    const BlockNode &first = all[i].node.node, &last = all[next - 1].node.node;
    for (const BlockNode& node : tree_nodes(first.first, last.first + last.blocks, first.total)) {
      sums.starts.push_back(static_cast<int32_t>(sums.firsts.size()));
      combined.nodes.push_back({all[i].node.parameter, all[i].node.piece, node});
      for (; i < next && all[i].node.node.first < node.first + node.blocks; ++i) {
        sums.firsts.push_back(all[i].at);
        sums.counts.push_back(1);
        sums.heights.push_back(height(all[i].node.node));
      }
    }
  }
  sums.starts.push_back(static_cast<int32_t>(sums.firsts.size()));
  return combined;
}

std::vector<NormNode> merged(const std::vector<std::vector<NormNode>>& members) {
  size_t width = 0;
  for (const auto& of_member : members) width = std::max(width, of_member.size());
  return combine(members, static_cast<int64_t>(width)).nodes;
}

}  // namespace collie
