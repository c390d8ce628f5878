// No layout changes what is computed: data, tensor, pipeline and context parallelism, every schedule and
// every ZeRO stage, against one rank on the same data.
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <set>

#include "tests/actors/layout_runs.hpp"
#include "tests/catch.hpp"

namespace collie::test {
namespace {

constexpr int64_t steps = 20;

// The bound of everything that changes the order of sums.
constexpr double tolerance = 1e-5;

const std::vector<std::string> all_schedules = {"gpipe", "1f1b", "interleaved_1f1b",
                                                "zb_h1", "zbv",  "dualpipe_v"};

std::vector<LayoutOptions> all_layouts() {
  std::vector<LayoutOptions> all;
  for (const int dp : {1, 2, 4})
    for (const int tp : {1, 2, 4})
      for (const int pp : {1, 2, 4})
        for (const int cp : {1, 2, 4})
          for (const std::string& schedule : all_schedules)
            for (const int zero : {0, 1, 2, 3})
              for (const bool sequence_parallel : {false, true}) {
                const LayoutOptions layout{dp, tp, pp, cp, schedule, zero, sequence_parallel};
                if (layout.ranks() <= 8) all.push_back(layout);
              }
  return all;
}

// Every pair of options of a layout, "dp2" with "zbv".
std::set<std::pair<std::string, std::string>> pairs_of(const LayoutOptions& layout) {
  const std::vector<std::string> options = {fmt::format("dp{}", layout.dp),
                                            fmt::format("tp{}", layout.tp),
                                            fmt::format("pp{}", layout.pp),
                                            fmt::format("cp{}", layout.cp),
                                            layout.schedule,
                                            fmt::format("zero{}", layout.zero),
                                            fmt::format("sp{}", layout.sequence_parallel)};
  std::set<std::pair<std::string, std::string>> pairs;
  for (size_t i = 0; i < options.size(); ++i)
    for (size_t j = i + 1; j < options.size(); ++j) pairs.emplace(options[i], options[j]);
  return pairs;
}

// Greedily: the layout with the most pairs that no earlier one has, until all pairs are there.
std::vector<LayoutOptions> covering_array() {
  const std::vector<LayoutOptions> all = all_layouts();
  std::set<std::pair<std::string, std::string>> missing;
  for (const auto& layout : all) missing.merge(pairs_of(layout));
  std::vector<LayoutOptions> chosen;
  while (!missing.empty()) {
    const LayoutOptions* best = nullptr;
    size_t most = 0;
    for (const auto& layout : all) {
      size_t fresh = 0;
      for (const auto& pair : pairs_of(layout)) fresh += missing.count(pair);
      if (fresh > most) {
        most = fresh;
        best = &layout;
      }
    }
    chosen.push_back(*best);
    for (const auto& pair : pairs_of(*best)) missing.erase(pair);
  }
  return chosen;
}

// "" where the run is what one rank's is.
std::string complaint_of(const LayoutOutcome& found, const LayoutOutcome& expected, bool bitwise) {
  if (bitwise && found.losses != expected.losses) return "the losses' bits differ";
  if (bitwise && found.norms != expected.norms) return "the norms' bits differ";
  if (const double difference = loss_difference(found, expected); !(difference <= tolerance))
    return fmt::format("losses differ by {:.2e}", difference);
  std::string parameter;
  if (const double difference = gradient_difference(found, expected, parameter); !(difference <= tolerance))
    return fmt::format("the first gradient of {} differs by {:.2e}", parameter, difference);
  return "";
}

// Step 1 and the steps up to 10 in each layout, the rest, resumed from its checkpoint, in the next one.
void check_all(const std::vector<LayoutOptions>& layouts, const MathsOptions& maths) {
  const LayoutOutcome expected = run_layouts(maths, {{LayoutOptions{}, 1}, {LayoutOptions{}, steps}});
  REQUIRE(expected.losses.size() == static_cast<size_t>(steps));
  CHECK(expected.losses.back() < 0.9 * expected.losses.front());
  for (size_t i = 0; i < layouts.size(); ++i) {
    const LayoutOptions &first = layouts[i], &then = layouts[(i + 1) % layouts.size()];
    INFO(maths.name() << ": " << first.name() << ", from step 11 on " << then.name());
    try {
      const LayoutOutcome found = run_layouts(maths, {{first, 1}, {first, steps / 2}, {then, steps}});
      CHECK(complaint_of(found, expected, first.bitwise() && then.bitwise()) == "");
    } catch (const std::exception& error) {
      FAIL_CHECK(error.what());
    }
  }
}

}  // namespace

TEST_CASE("layouts: every pair of options trains as one rank does, and resumes in another layout",
          "[actors][layouts][slow]") {
  check_all(covering_array(), {});
}

TEST_CASE("layouts: all of them", "[.][layouts_product]") {
  check_all(all_layouts(), {});
}

TEST_CASE("layouts: a few", "[.][layouts_few]") {
  check_all({{2, 1, 1, 1, "1f1b", 0, false},
             {2, 1, 1, 1, "1f1b", 1, false},
             {2, 1, 1, 1, "1f1b", 2, false},
             {2, 1, 1, 1, "1f1b", 3, false},
             {1, 2, 1, 1, "1f1b", 0, false},
             {1, 4, 1, 1, "1f1b", 0, false},
             {1, 1, 2, 1, "zbv", 0, false},
             {1, 1, 4, 1, "interleaved_1f1b", 0, false},
             {1, 1, 4, 1, "zb_h1", 0, false},
             {1, 1, 4, 1, "dualpipe_v", 0, false},
             {2, 2, 2, 1, "1f1b", 3, false}},
            {});
}

}  // namespace collie::test
