// No layout changes what is computed: data, tensor, pipeline and context parallelism, every schedule and
// every ZeRO stage, in one process and over several, against one rank on the same data.
#include <fmt/format.h>

#include "tests/actors/layout_runs.hpp"
#include "tests/catch.hpp"
#include "tests/cli/cluster.hpp"

namespace collie::test {
namespace {

constexpr int most_processes = 4;

std::vector<LayoutOptions> covering_layouts() {
  const std::vector<LayoutOptions> all = all_layouts({1, 2, most_processes});
  std::vector<std::vector<std::string>> options;
  for (const LayoutOptions& layout : all) options.push_back(options_of(layout));
  std::vector<LayoutOptions> chosen;
  for (const size_t index : covering_array(options)) chosen.push_back(all[index]);
  return chosen;
}

// Each layout, then the next one.
void check_all(const std::vector<LayoutOptions>& layouts) {
  const Nodes nodes(most_processes);
  std::map<size_t, LayoutOutcome> expected;  // by maths, of one rank
  for (size_t i = 0; i < layouts.size(); ++i) {
    const size_t index = i % all_maths().size();
    const MathsOptions& maths = all_maths()[index];
    if (!expected.count(index)) {
      expected[index] = run_one_rank(maths);
      REQUIRE(expected[index].losses.size() == static_cast<size_t>(layout_steps));
      // Small adapters of a random model do not learn as much as all of it.
      const double learnt = maths.peft == "none" ? 0.9 : 0.99;
      CHECK(expected[index].losses.back() < learnt * expected[index].losses.front());
    }
    const LayoutOptions &first = layouts[i], &then = layouts[(i + 1) % layouts.size()];
    INFO(maths.name() << ": " << first.name() << ", from step 11 on " << then.name());
    try {
      const LayoutOutcome found = run_halves(maths, first, then, nodes.addresses());
      CHECK(complaint_of_halves(found, expected[index], maths, first, then) == "");
    } catch (const std::exception& error) {
      FAIL_CHECK(error.what());
    }
  }
}

LayoutOutcome outcome_of(const LayoutOptions& layout, const MathsOptions& maths,
                         const NodeAddresses& nodes = {}) {
  return run_layouts(maths, {{layout, 1}, {layout, 4}}, nodes);
}

}  // namespace

TEST_CASE("layouts: every pair of options trains as one rank does, and resumes in another layout",
          "[actors][layouts][slow][long]") {
  check_all(covering_layouts());
}

TEST_CASE("layouts: a third of them trains as one rank does, and resumes in another layout",
          "[actors][layouts][slow]") {
  const std::vector<LayoutOptions> all = covering_layouts();
  std::vector<LayoutOptions> third;
  for (size_t i = 0; i < all.size(); i += 3) third.push_back(all[i]);
  check_all(third);
}

TEST_CASE("layouts: ZeRO-1 gives the bits of ZeRO-0, and ZeRO-3 those of ZeRO-2", "[actors][layouts][slow]") {
  const LayoutOptions grid = GENERATE(LayoutOptions{2, 1, 2, 1, "1f1b"}, LayoutOptions{4, 2, 1, 1, "1f1b"},
                                      LayoutOptions{2, 1, 1, 2, "1f1b"});
  const bool tied = GENERATE(true, false);
  const MathsOptions maths{tied, true, false, 16, 1};
  const auto with_zero = [&](int zero) {
    LayoutOptions layout = grid;
    layout.zero = zero;
    return outcome_of(layout, maths);
  };
  INFO(grid.name() << ", " << maths.name());
  CHECK(complaint_of(with_zero(1), with_zero(0), true) == "");
  CHECK(complaint_of(with_zero(3), with_zero(2), true) == "");
}

TEST_CASE("layouts: with one micro-batch all ZeRO stages give the same bits", "[actors][layouts]") {
  const MathsOptions maths{true, true, false, 16, 4};
  LayoutOptions layout{4, 1, 1, 1, "1f1b"};
  const LayoutOutcome expected = outcome_of(layout, maths);
  for (const int zero : {1, 2, 3}) {
    layout.zero = zero;
    INFO(layout.name());
    CHECK(complaint_of(outcome_of(layout, maths), expected, true) == "");
  }
}

TEST_CASE("layouts: the norm counts key heads that ranks share within a fused matrix once",
          "[actors][layouts][packed]") {
  for (const char* family : {"internlm2", "phi3"}) {
    MathsOptions maths{true, true, false, 16, 2};
    maths.family = family;
    const LayoutOutcome expected = outcome_of({}, maths);
    for (const LayoutOptions& layout :
         {LayoutOptions{1, 4, 1, 1, "1f1b", 0}, LayoutOptions{2, 4, 1, 1, "1f1b", 1, true}}) {
      INFO(layout.name() << ", " << maths.name());
      const LayoutOutcome found = outcome_of(layout, maths);
      REQUIRE(found.norms.size() == expected.norms.size());
      for (size_t i = 0; i < found.norms.size(); ++i)
        CHECK(found.norms[i] == Approx(expected.norms[i]).epsilon(1e-5));
    }
  }
}

TEST_CASE("layouts: documents with contexts train as one rank does, and resume in another layout",
          "[actors][layouts][blanks][slow]") {
  MathsOptions maths{true, false, true, 16, 2};
  maths.family = "chatglm_6b";
  maths.dtype = GENERATE("float32", "bfloat16");
  const LayoutOutcome expected = run_one_rank(maths);
  REQUIRE(expected.losses.size() == static_cast<size_t>(layout_steps));
  CHECK(expected.losses.back() < 0.9 * expected.losses.front());
  std::vector<LayoutOptions> layouts = {{2, 2, 1, 1, "1f1b", 3},
                                        {1, 1, 4, 1, "1f1b"},
                                        {2, 1, 2, 1, "zb_h1", 1},
                                        {1, 4, 1, 1, "1f1b", 0, true},
                                        {1, 1, 2, 1, "zbv"},
                                        {4, 1, 1, 1, "1f1b", 2},
                                        {1, 2, 2, 1, "interleaved_1f1b", 0, true}};
  layouts[0].recompute = "selective";
  layouts[2].recompute = "full";
  if (maths.dtype == "bfloat16") layouts.resize(2);
  for (size_t i = 0; i < layouts.size(); ++i) {
    const LayoutOptions &first = layouts[i], &then = layouts[(i + 1) % layouts.size()];
    INFO(maths.name() << ": " << first.name() << ", from step 11 on " << then.name());
    CHECK(complaint_of_halves(run_halves(maths, first, then), expected, maths, first, then) == "");
  }
}

TEST_CASE("layouts: several optimizers in one model give the same bits in every ZeRO stage",
          "[actors][layouts][slow]") {
  MathsOptions maths{true, true, false, 16, 4};
  maths.optimizer = "mixed";
  LayoutOptions layout{4, 1, 1, 1, "1f1b"};
  const LayoutOutcome expected = outcome_of(layout, maths);
  for (const int zero : {1, 2, 3}) {
    layout.zero = zero;
    INFO(layout.name());
    CHECK(complaint_of(outcome_of(layout, maths), expected, true) == "");
  }
}

TEST_CASE("layouts: gradients are clipped by value as one rank clips them, once they are whole",
          "[actors][layouts][slow]") {
  MathsOptions maths{GENERATE(true, false), true, false, 16, 2};
  const LayoutOptions one;
  const LayoutOutcome unclipped = outcome_of(one, maths);
  maths.clip_grad_value = 1e-3;
  const LayoutOutcome expected = outcome_of(one, maths);
  CHECK(expected.norms.front() < 0.8 * unclipped.norms.front());
  CHECK(complaint_of(outcome_of({1, 1, 4, 1, "zb_h1"}, maths), expected, true) == "");
  CHECK(complaint_of(outcome_of({1, 1, 2, 1, "interleaved_1f1b"}, maths), expected, true) == "");
  const LayoutOutcome replicas = outcome_of({2, 1, 2, 1, "1f1b", 0}, maths);
  CHECK(complaint_of(outcome_of({2, 1, 2, 1, "1f1b", 1}, maths), replicas, true) == "");
  for (const LayoutOptions& layout :
       {LayoutOptions{2, 1, 2, 1, "1f1b", 0}, LayoutOptions{2, 1, 1, 2, "1f1b", 2},
        LayoutOptions{4, 1, 1, 1, "1f1b", 3}, LayoutOptions{1, 4, 1, 1, "1f1b", 0, true},
        LayoutOptions{1, 2, 2, 1, "zbv"}}) {
    INFO(layout.name() << ", " << maths.name());
    CHECK(complaint_of(outcome_of(layout, maths), expected, false) == "");
  }
}

TEST_CASE("layouts: schedule-free AdamW trains as on one rank, and resumes in another layout",
          "[actors][layouts][schedule_free][slow]") {
  for (const bool tied : {true, false}) {
    MathsOptions maths{tied, true, true};
    maths.optimizer = "adamw_schedule_free";
    const LayoutOutcome expected = run_one_rank(maths);
    CHECK(expected.losses.back() < 0.9 * expected.losses.front());
    for (const auto& [first, then] :
         {std::pair(LayoutOptions{1, 1, 2, 1, "interleaved_1f1b"}, LayoutOptions{1, 1, 2, 1, "dualpipe_v"}),
          {{2, 1, 2, 1, "zbv", 1}, {1, 2, 1, 2, "1f1b", 0, true}},
          {{1, 2, 2, 1, "zb_h1"}, {4, 1, 1, 1, "1f1b", 3}}}) {
      INFO(maths.name() << ": " << first.name() << ", from step 11 on " << then.name());
      CHECK(complaint_of_halves(run_halves(maths, first, then), expected, maths, first, then) == "");
    }
  }
}

TEST_CASE("layouts: computing activations again changes no bit in any of them", "[actors][layouts][slow]") {
  const MathsOptions maths{true, true, false, 16, 2};
  for (const LayoutOptions& grid :
       {LayoutOptions{1, 2, 2, 1, "zb_h1", 0, true}, LayoutOptions{2, 1, 2, 1, "zbv", 3},
        LayoutOptions{1, 2, 1, 2, "1f1b", 1}}) {
    const LayoutOutcome expected = outcome_of(grid, maths);
    for (const char* recompute : {"selective", "full"}) {
      LayoutOptions layout = grid;
      layout.recompute = recompute;
      INFO(layout.name() << ", recompute " << recompute);
      CHECK(complaint_of(outcome_of(layout, maths), expected, true) == "");
    }
  }
}

TEST_CASE("layouts: replicas and shards in four processes give the bits of one process",
          "[actors][layouts][slow]") {
  const Nodes nodes(4);
  for (const char* optimizer : {"adamw", "muon", "adalomo"}) {
    MathsOptions maths;
    maths.optimizer = optimizer;
    CAPTURE(optimizer);
    LayoutOptions layout{2, 2, 1, 1, "1f1b", 3, true};
    const LayoutOutcome expected = outcome_of(layout, maths);
    layout.processes = 4;
    CHECK(complaint_of(outcome_of(layout, maths, nodes.addresses()), expected, true) == "");
  }
}

TEST_CASE("layouts: a run repeats bitwise", "[actors][layouts]") {
  const LayoutOptions layout{2, 2, 2, 1, "zbv", 3, true};
  CHECK(complaint_of(outcome_of(layout, {}), outcome_of(layout, {}), true) == "");
}

}  // namespace collie::test
