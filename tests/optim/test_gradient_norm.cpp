#include "optim/gradient_norm.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/random.hpp"
#include "kernels/clip_factor.hpp"
#include "kernels/tree_sum.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"
#include "tests/models/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

Tensor doubles_of(Operations& operations, const std::vector<double>& values) {
  Tensor x = operations.empty({static_cast<int64_t>(values.size())}, DType::f64, Category::workspace);
  std::copy(values.begin(), values.end(), x.data<double>());
  return x;
}

// What the first rank makes of the values of all members of its group.
std::vector<double> agreed(Operations& operations, const NormOrder& order,
                           std::vector<std::vector<double>> all, double max_norm = 0) {
  std::vector<double> gathered;
  for (std::vector<double>& own : all) {
    own.resize(static_cast<size_t>(order.width()));
    gathered.insert(gathered.end(), own.begin(), own.end());
  }
  // As if one rank had contributed all that was gathered.
  return operations
      .read(reduce_step_outcome(operations, order, doubles_of(operations, gathered), {nullptr}, {max_norm}))
      .value();
}

const NormNode the_loss{-1, 0, {0, 1, 1}};

// The tree over the blocks [first, end) that the nodes of powers of two divide.
double plain_tree(const std::vector<double>& blocks, int64_t first, int64_t end) {
  if (end - first == 1) return blocks[static_cast<size_t>(first)];
  int64_t half = 1;
  while (2 * half < end - first) half *= 2;
  return plain_tree(blocks, first, first + half) + plain_tree(blocks, first + half, end);
}

}  // namespace

TEST_CASE("clipping scales like PyTorch's clip_grad_norm_", "[clip]") {
  CHECK(clip_factor(2.0, 1.0) == 1.0 / (2.0 + 1e-6));
  CHECK(clip_factor(0.5, 1.0) == 1.0);
  CHECK(clip_factor(1.0, 1.0) == 1.0 / (1.0 + 1e-6));
  CHECK(clip_factor(0.0, 1.0) == 1.0);
  CHECK(clip_factor(1e9, 0.0) == 1.0);  // off
  CHECK(clip_factor(INFINITY, 1.0) == 0.0);
  CHECK(std::isnan(clip_factor(NAN, 1.0)));
}

TEST_CASE("sums of squares are added by parameter and piece, pieces as trees of blocks, whoever has them",
          "[norm]") {
  const std::string device = GENERATE(from_range(all_devices));
  CAPTURE(device);
  const auto owner = make_operations(device);
  Operations& ops = *owner.operations;
  const double huge = 0x1.0p53;  // beside it a 1 is lost
  SECTION("one rank") {
    const NormOrder order = norm_order({{{the_loss, {0, 0, {}}, {1, 0, {}}}}}, true, 2);
    CHECK(order.width() == 3);
    CHECK(agreed(ops, order, {{7, 9, 16}}) == std::vector<double>{7, 5, 1});
    CHECK(agreed(ops, order, {{7, 9, 16}}, 1)[2] == clip_factor(5, 1));
  }
  SECTION("parameters in canonical order") {
    // Rank 0 has parameters 2 and 0, rank 1 has 1.
    const NormOrder order = norm_order({{{the_loss, {2, 0, {}}, {0, 0, {}}}, {{1, 0, {}}}}}, true, 3);
    CHECK(agreed(ops, order, {{0, 1, huge}, {1}})[1] == std::sqrt(huge));      // huge + 1 + 1
    CHECK(agreed(ops, order, {{0, huge, 1}, {1}})[1] == std::sqrt(huge + 2));  // 1 + 1 + huge
  }
  SECTION("pieces by themselves") {
    const NormOrder order =
        norm_order({{{the_loss, {0, 1, {0, 1, 2}}, {0, 1, {1, 1, 2}}}, {{0, 0, {}}}}}, true, 1);
    CHECK(agreed(ops, order, {{0, 1, 1}, {huge}})[1] == std::sqrt(huge + 2));  // huge + (1 + 1)
  }
  SECTION("blocks in pairs, on whatever rank") {
    const NormOrder order = norm_order(
        {{{the_loss, {0, 0, {1, 1, 4}}, {0, 0, {3, 1, 4}}}, {{0, 0, {0, 1, 4}}, {0, 0, {2, 1, 4}}}}}, true,
        1);
    CHECK(agreed(ops, order, {{0, 1, 1}, {huge, 1}})[1] == std::sqrt(huge + 2));  // (huge + 1) + (1 + 1)
    CHECK(agreed(ops, order, {{0, 1, 1}, {1, huge}})[1] == std::sqrt(huge + 2));  // (1 + 1) + (huge + 1)
  }
  SECTION("losses as a tree over data ranks") {
    const auto loss_of = [](int64_t rank) { return NormNode{-1, 0, {rank, 1, 3}}; };
    const NormOrder order = norm_order({{{loss_of(2), {0, 0, {}}}, {loss_of(0)}, {loss_of(1)}}}, true, 1);
    CHECK(agreed(ops, order, {{1, 4}, {huge}, {1}})[0] == huge);      // (huge + 1) + 1
    CHECK(agreed(ops, order, {{huge, 4}, {1}, {1}})[0] == huge + 2);  // (1 + 1) + huge
  }
}

TEST_CASE("a range of blocks is few nodes of the tree, and any cut of all blocks comes to the same bits",
          "[norm]") {
  const RandomStream stream(random_key(11, "cuts of blocks"));
  uint64_t next = 0;
  const auto below = [&](int64_t bound) {
    return static_cast<int64_t>(stream.below(static_cast<uint64_t>(bound), next++));
  };
  const auto owner = make_operations("cpu");
  Operations& ops = *owner.operations;
  for (const int64_t total : {1, 2, 3, 5, 8, 13, 64, 100, 1000, 4097}) {
    CAPTURE(total);
    std::vector<double> blocks;
    for (int64_t i = 0; i < total; ++i)
      blocks.push_back(std::ldexp(stream.uniform(next++), static_cast<int>(below(60))));
    const double whole = plain_tree(blocks, 0, total);
    CHECK(tree_sum(blocks.data(), total) == whole);
    for (int attempt = 0; attempt < 20; ++attempt) {
      // Cuts at random places; some ranks have nothing.
      std::vector<int64_t> cuts{0, total};
      for (int64_t i = below(9); i > 0; --i) cuts.push_back(below(total + 1));
      std::sort(cuts.begin(), cuts.end());
      CAPTURE(cuts);
      std::vector<std::vector<NormNode>> members;
      std::vector<std::vector<double>> values;
      for (size_t i = 0; i + 1 < cuts.size(); ++i) {
        members.push_back(i == 0 ? std::vector<NormNode>{the_loss} : std::vector<NormNode>());
        values.push_back(std::vector<double>(i == 0 ? 1 : 0));
        const auto nodes = tree_nodes(cuts[i], cuts[i + 1], total);
        CHECK(nodes.size() <= 2 * static_cast<size_t>(std::bit_width(static_cast<uint64_t>(total))));
        for (const BlockNode& node : nodes) {
          members.back().push_back({0, 0, node});
          values.back().push_back(tree_sum(blocks.data() + node.first, node.blocks));
        }
      }
      CHECK(agreed(ops, norm_order({members}, true, 1), values)[1] == std::sqrt(whole));
      // The same in two levels: neighbours first.
      std::vector<std::vector<NormNode>> halves;
      std::vector<std::vector<double>> sums;
      for (size_t half = 0; half < 2; ++half) {
        const size_t middle = members.size() / 2, first = half == 0 ? 0 : middle,
                     last = half == 0 ? middle : members.size();
        const std::vector<std::vector<NormNode>> some(members.begin() + static_cast<ptrdiff_t>(first),
                                                      members.begin() + static_cast<ptrdiff_t>(last));
        std::vector<double> gathered;
        size_t width = 0;
        for (size_t i = first; i < last; ++i) width = std::max(width, values[i].size());
        for (size_t i = first; i < last; ++i) {
          gathered.insert(gathered.end(), values[i].begin(), values[i].end());
          gathered.resize((i + 1 - first) * width);
        }
        const CombinedNodes combined = combine(some, static_cast<int64_t>(width));
        Tensor out =
            ops.empty({static_cast<int64_t>(combined.nodes.size())}, DType::f64, Category::workspace);
        ops.tree_sums(doubles_of(ops, gathered), combined.sums, out);
        halves.push_back(combined.nodes);
        sums.emplace_back(out.data<double>(), out.data<double>() + out.numel());
      }
      CHECK(agreed(ops, norm_order({halves}, true, 1), sums)[1] == std::sqrt(whole));
    }
  }
}

TEST_CASE("a norm that is contributed twice, in part, or not at all is a programmer's error", "[norm]") {
  const NormNode first{0, 0, {}}, second{1, 0, {}};
  CHECK_NOTHROW(norm_order({{{the_loss, first}, {second}}}, true, 2));
  CHECK_THROWS_AS(norm_order({{{the_loss, first}, {first}}}, true, 1), std::logic_error);
  CHECK_THROWS_AS(norm_order({{{the_loss, first}}}, true, 2), std::logic_error);
  CHECK_THROWS_AS(norm_order({{{the_loss, first, second}}}, true, 1), std::logic_error);
  CHECK_THROWS_AS(norm_order({{{first}}}, true, 1), std::logic_error);
  CHECK_THROWS_AS(norm_order({{{the_loss, {0, 0, {0, 1, 2}}}}}, true, 1), std::logic_error);
}
