// Trains one small model in every layout, resumes it in another layout after half the steps, and compares
// losses and first gradients with those of one rank. Prints one line per layout and a table; exits with 1 if
// a layout differs.
//
//   bench_layouts [PROCESSES [EVERY [FROM]]]
//
// PROCESSES is 1 (this one), or 2 or 4 nodes, which it starts. Those layouts are resumed over any number of
// processes and also compared with one process to the bit. They are tried without the options that do nothing
// (LayoutOptions::every_option_counts). EVERY, FROM: it takes only every N-th layout, from the M-th.
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <map>

#include "tests/actors/layout_runs.hpp"
#include "tests/cli/cluster.hpp"

namespace {

using namespace collie::test;

struct Tally {
  int runs = 0, bitwise = 0;
  double loss = 0, gradient = 0, seconds = 0;
};

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// A layout that runs first, and the layouts that may follow it.
struct Product {
  std::vector<LayoutOptions> first, then;
};

Product product(int processes) {
  if (processes == 1) return {all_layouts(), all_layouts()};
  Product all{all_layouts({processes}), all_layouts({1, 2, 4})};
  for (auto* const layouts : {&all.first, &all.then})
    std::erase_if(*layouts, [](const LayoutOptions& layout) { return !layout.every_option_counts(); });
  return all;
}

void print(const std::map<std::string, Tally>& tallies) {
  fmt::print("{:<24}{:>6}{:>10}{:>20}{:>24}{:>12}\n", "first layout", "runs", "bitwise", "losses within",
             "first gradients within", "seconds");
  for (const auto& [name, tally] : tallies)
    fmt::print("{:<24}{:>6}{:>10}{:>20.1e}{:>24.1e}{:>12.1f}\n", name, tally.runs, tally.bitwise, tally.loss,
               tally.gradient, tally.seconds);
}

int compare_all(int processes, size_t every, size_t from) {
  const Nodes nodes(processes > 1 ? 4 : 0);
  const Product all = product(processes);
  std::map<size_t, LayoutOutcome> one_rank;  // by maths
  std::map<std::string, Tally> tallies;      // by schedule and ZeRO stage
  int failures = 0, runs = 0;
  for (size_t i = from; i < all.first.size(); i += every, ++runs) {
    const size_t index = i % all_maths().size();
    const MathsOptions& maths = all_maths()[index];
    if (!one_rank.count(index)) one_rank[index] = run_one_rank(maths);
    const LayoutOptions &first = all.first[i], &then = all.then[(i * 7 + 3) % all.then.size()];
    std::string complaint, parameter;
    Tally& tally = tallies[fmt::format("{:<17} zero {}", first.schedule, first.zero)];
    ++tally.runs;
    tally.bitwise += first.bitwise() && then.bitwise();
    const double start_s = now_s();
    double seconds = 0;
    try {
      const LayoutOutcome found = run_halves(maths, first, then, nodes.addresses());
      seconds = now_s() - start_s;
      complaint = complaint_of_halves(found, one_rank[index], maths, first, then);
      tally.loss = std::max(tally.loss, loss_difference(found, one_rank[index]));
      tally.gradient = std::max(tally.gradient, gradient_difference(found, one_rank[index], parameter));
    } catch (const std::exception& error) {
      complaint = error.what();
    }
    tally.seconds += seconds;
    failures += !complaint.empty();
    fmt::print("{:5} {:5.1f} s  {}, then {}, {}: {}\n", i, seconds, first.name(), then.name(), maths.name(),
               complaint.empty() ? "the same" : complaint);
    std::fflush(stdout);
  }
  print(tallies);
  fmt::print("{} of {} layouts differ\n", failures, runs);
  return failures == 0 ? 0 : 1;
}

size_t argument(int argc, char** argv, int index, size_t otherwise) {
  return argc > index ? std::strtoul(argv[index], nullptr, 10) : otherwise;
}

}  // namespace

int main(int argc, char** argv) {
  const size_t processes = argument(argc, argv, 1, 1), every = argument(argc, argv, 2, 1);
  if (every == 0 || (processes != 1 && processes != 2 && processes != 4)) {
    fmt::print(stderr, "usage: bench_layouts [PROCESSES (1, 2 or 4) [EVERY [FROM]]]\n");
    return 2;
  }
  return compare_all(static_cast<int>(processes), every, argument(argc, argv, 3, 0));
}
