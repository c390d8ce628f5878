// Every optimizer in layouts, against one rank: what a rule computes must not depend on how its parameters,
// or the matrices that it sees, are cut.
#include "tests/actors/layout_runs.hpp"
#include "tests/catch.hpp"
#include "tests/part.hpp"

namespace collie::test {
namespace {

// Half of a run in the first, half in the second.
using Halves = std::pair<LayoutOptions, LayoutOptions>;

// Every value of every option, and those that cut matrices together.
const std::vector<Halves>& some_layouts() {
  static const std::vector<Halves> all = {
      {{2, 2, 2, 1, "zbv", 3, true}, {1, 4, 2, 1, "zb_h1"}},
      {{1, 2, 2, 2, "interleaved_1f1b", 1}, {4, 2, 1, 1, "1f1b", 2, true}},
      {{2, 1, 1, 4, "1f1b", 2}, {1, 1, 4, 1, "dualpipe_v"}},
  };
  return all;
}

// The same with at most so many tensor ranks, and longer pipelines instead.
std::vector<Halves> with_tensor_ranks(int most, std::vector<Halves> layouts) {
  const auto bound = [&](LayoutOptions& layout) {
    for (; layout.tp > most; layout.tp /= 2) layout.pp *= 2;
    if (layout.tp == 1) layout.sequence_parallel = false;
  };
  for (auto& [first, then] : layouts) {
    bound(first);
    bound(then);
  }
  return layouts;
}

MathsOptions maths_of(const std::string& optimizer, const std::string& family, bool tied) {
  MathsOptions maths{tied, true, false, 16};
  maths.in_blocks = optimizer == "adamw_8bit";
  maths.optimizer = optimizer;
  maths.family = family;
  return maths;
}

// Rules beside those of all_maths().
const std::vector<std::string> rules = {"adafactor", "adalomo", "adamw_8bit", "adamw_schedule_free",
                                        "adan",      "lomo",    "muon",       "sophia"};

void trains_as_one_rank(const MathsOptions& maths, const std::vector<Halves>& layouts) {
  const LayoutOutcome expected = run_one_rank(maths);
  REQUIRE(expected.losses.size() == static_cast<size_t>(layout_steps));
  CHECK(expected.losses.back() < 0.95 * expected.losses.front());
  for (const auto& [first, then] : layouts) {
    INFO(maths.name() << ": " << first.name() << ", from step 11 on " << then.name());
    CHECK(complaint_of_halves(run_halves(maths, first, then), expected, maths, first, then) == "");
  }
}

// Steps have 16 sequences, so micro-batches of 4 leave four replicas one each.
std::vector<LayoutCase> cases_of_rule(const std::string& rule) {
  std::vector<LayoutCase> all;
  for (const LayoutOptions& layout : all_layouts())
    for (const char* dtype : {"float32", "bfloat16"})
      for (const int64_t size : {1, 4}) {
        MathsOptions maths = maths_of(rule, "llama", true);
        maths.micro_batch_size = size;
        maths.dtype = dtype;
        if (maths.dtype == "bfloat16") {
          maths.master = false;
          maths.rounding = "stochastic";
        }
        const LayoutCase each{maths, layout};
        if (each.is_possible() && layout.tp <= (maths.in_blocks ? 2 : 4)) all.push_back(each);
      }
  return all;
}

void trains_in_covering_cases(const std::string& rule) {
  for (const std::vector<LayoutCase>& cases : covering_cases(cases_of_rule(rule))) {
    const MathsOptions& maths = cases.front().maths;
    const LayoutOutcome expected = run_one_rank(maths);
    for (size_t i = 0; i < cases.size(); ++i) {
      const LayoutOptions &first = cases[i].layout, &then = cases[(i + 1) % cases.size()].layout;
      INFO(maths.name() << ": " << first.name() << ", from step 11 on " << then.name());
      try {
        CHECK(complaint_of_halves(run_halves(maths, first, then), expected, maths, first, then) == "");
      } catch (const std::exception& error) {
        FAIL_CHECK(error.what());
      }
    }
  }
}

}  // namespace

TEST_CASE("layouts: every optimizer trains as on one rank in every pair of options",
          "[actors][layouts][optimizers][slow][long]") {
  for (const std::string& rule : optimizer_declarations().names()) {
    DYNAMIC_SECTION(rule) {
      trains_in_covering_cases(rule);
    }
  }
}

TEST_CASE("layouts: every optimizer trains as on one rank, and resumes in another layout",
          "[actors][layouts][slow]") {
  const size_t number = GENERATE(range(size_t{0}, rules.size()));
  const MathsOptions maths = maths_of(rules[number], "llama", true);
  const std::vector<Halves> layouts = part_of(some_layouts(), some_layouts().size(), number);
  trains_as_one_rank(maths, with_tensor_ranks(maths.in_blocks ? 2 : 4, layouts));
}

TEST_CASE("layouts: every optimizer sees transposed and packed matrices as they are",
          "[actors][layouts][slow]") {
  const std::string rule = GENERATE(from_range(part_of(rules, 2)));
  const MathsOptions maths = maths_of(rule, "gpt2", false);
  trains_as_one_rank(maths, with_tensor_ranks(maths.in_blocks ? 1 : 4, {some_layouts().front()}));
}

TEST_CASE("layouts: optimizers of matrices see key heads that ranks share within a fused matrix once",
          "[actors][layouts][packed][slow]") {
  using Case = std::pair<const char*, const char*>;
  for (const auto& [rule, family] :
       {Case{"adafactor", "phi3"}, {"adalomo", "internlm2"}, {"muon", "internlm2"}})
    trains_as_one_rank(maths_of(rule, family, false),
                       {{{1, 4, 1, 1, "1f1b", 0, true}, {2, 4, 1, 1, "1f1b", 1}}});
}

TEST_CASE("layouts: every optimizer gives the bits of ZeRO-0 in ZeRO-1, and of any pipeline",
          "[actors][layouts][slow]") {
  const size_t number = GENERATE(range(size_t{0}, rules.size()));
  const bool narrow = GENERATE_COPY(from_range(part_of_places(2, 2, number))) == 1;
  MathsOptions maths = maths_of(rules[number], "llama", true);
  maths.sequences_per_step = 4;
  if (narrow) {
    maths.dtype = "bfloat16";
    maths.master = false;
    maths.rounding = "stochastic";
  }
  INFO(maths.name());
  const auto outcome = [&](const LayoutOptions& first, const LayoutOptions& then) {
    return run_layouts(maths, {{first, 1}, {first, 3}, {then, 4}});
  };
  const LayoutOptions replicas{2, 2, 1, 1, "1f1b", 0}, sharded{2, 2, 1, 1, "1f1b", 1};
  CHECK(complaint_of(outcome(sharded, replicas), outcome(replicas, sharded), true) == "");
  CHECK(complaint_of(outcome({1, 1, 2, 1, "zbv"}, {}), outcome({}, {}), true) == "");
}

TEST_CASE("layouts: a rank that would have a part of a block of 8-bit states is refused before the start",
          "[actors][layouts]") {
  const TemporaryFolder folder;
  folder.write("train.txt",
               "The collie herds sheep, and sheep eat grass, whatever the weather is like today.");
  const auto complaint = [&](const LayoutOptions& layout, const OptionValues& options) {
    Config config = layout_config(folder, maths_of("adamw_8bit", "llama", true), layout, 1);
    for (const auto& [name, value] : options.all()) config.optimizer.options.set(name, value);
    try {
      plan_training(std::move(config), ExistingRun::ignore);
    } catch (const UserError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK(complaint({1, 2, 1, 1, "1f1b", 0}, {}) == "");
  CHECK(complaint({4, 2, 1, 1, "1f1b", 3}, {}) == "");
  const auto cut_in_four = [&](int64_t least_numel, const std::string& part) {
    const std::string found = complaint({1, 4, 1, 1, "1f1b", 0}, {{"min_8bit_size", least_numel}});
    INFO(found);
    CHECK(found.find(part) != std::string::npos);
  };
  cut_in_four(4096, "'model.embed_tokens.weight' [272, 32] a rank would have elements 0 to 2175 of its 8704");
  cut_in_four(
      8705,
      "'model.layers.0.self_attn.o_proj.weight' [32, 512] a rank would have 128 of the 512 elements of "
      "each row");
  cut_in_four(8705, "optimizer.min_8bit_size above 16384");
  CHECK(complaint({1, 4, 1, 1, "1f1b", 0}, {{"min_8bit_size", int64_t{16385}}}) == "");
}

}  // namespace collie::test
