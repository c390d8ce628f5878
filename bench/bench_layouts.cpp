// Trains one small model in every layout, resumed in another after half the steps, and compares losses and
// first gradients with one rank's. Prints a table; exits 1 where a layout differs. Arguments: every N-th
// layout alone, from the M-th (both optional).
#include <fmt/format.h>

#include <cstdlib>
#include <map>

#include "tests/actors/layout_runs.hpp"

namespace {

using namespace collie::test;

struct Tally {
  int runs = 0, bitwise = 0;
  double loss = 0, gradient = 0;
};

int compare_all(size_t every, size_t from) {
  const std::vector<LayoutOptions> all = all_layouts();
  std::map<size_t, LayoutOutcome> one_rank;  // by maths
  std::map<std::string, Tally> tallies;      // by schedule and ZeRO stage
  int failures = 0;
  for (size_t i = from; i < all.size(); i += every) {
    const size_t index = i % all_maths().size();
    const MathsOptions& maths = all_maths()[index];
    if (!one_rank.count(index))
      one_rank[index] = run_layouts(maths, {{LayoutOptions{}, 1}, {LayoutOptions{}, layout_steps}});
    const LayoutOptions &first = all[i], &then = all[(i * 7 + 3) % all.size()];
    const bool bitwise = first.bitwise() && then.bitwise();
    std::string complaint, parameter;
    Tally& tally = tallies[fmt::format("{:<17} zero {}", first.schedule, first.zero)];
    ++tally.runs;
    tally.bitwise += bitwise;
    try {
      const LayoutOutcome found =
          run_layouts(maths, {{first, 1}, {first, layout_steps / 2}, {then, layout_steps}});
      complaint = complaint_of(found, one_rank[index], bitwise);
      tally.loss = std::max(tally.loss, loss_difference(found, one_rank[index]));
      tally.gradient = std::max(tally.gradient, gradient_difference(found, one_rank[index], parameter));
    } catch (const std::exception& error) {
      complaint = error.what();
    }
    if (complaint.empty()) continue;
    ++failures;
    fmt::print("{}, then {}, {}: {}\n", first.name(), then.name(), maths.name(), complaint);
  }
  fmt::print("{:<24}{:>6}{:>10}{:>20}{:>24}\n", "first layout", "runs", "bitwise", "losses within",
             "first gradients within");
  for (const auto& [name, tally] : tallies)
    fmt::print("{:<24}{:>6}{:>10}{:>20.1e}{:>24.1e}\n", name, tally.runs, tally.bitwise, tally.loss,
               tally.gradient);
  fmt::print("{} of {} layouts differ\n", failures, (all.size() - from + every - 1) / every);
  return failures == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const size_t every = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 1;
  return compare_all(every > 0 ? every : 1, argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 0);
}
