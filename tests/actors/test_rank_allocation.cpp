// Triplets of adapters are trained, kept and lost in every layout as on one rank.
#include <fmt/format.h>

#include "io/files.hpp"
#include "io/json_text.hpp"
#include "peft/adapter_config.hpp"
#include "peft/adapter_folder.hpp"
#include "tests/actors/adapter_runs.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"
#include "tests/part.hpp"

namespace collie::test {
namespace {

namespace fs = std::filesystem;

nlohmann::json pattern_in(const std::string& folder) {
  const std::string file = (fs::path(folder) / adapter_config_name).string();
  return parse_json_object(read_text_file(file), file).at("rank_pattern");
}

int64_t number_of(const nlohmann::json& pattern, bool kept) {
  int64_t count = 0;
  for (const auto& [name, each] : pattern.items()) count += std::count(each.begin(), each.end(), kept);
  return count;
}

// Trains to step 2 in one layout and to step 4 in another, and returns what final/ says is kept.
nlohmann::json pattern_of(const MathsOptions& maths, const LayoutOptions& first, const LayoutOptions& then,
                          std::string* weights = nullptr) {
  const TemporaryFolder folder;
  write_texts(folder);
  write_base(folder, maths);
  LayoutOutcome outcome;
  run_to_the_end(plan_training(layout_config(folder, maths, first, 2), ExistingRun::refuse), outcome);
  run_to_the_end(plan_training(layout_config(folder, maths, then, 4), ExistingRun::resume), outcome);
  const std::string final_folder = (folder / "run/final").string();
  if (weights != nullptr) *weights = read_text_file(final_folder + "/" + adapter_weights_name);
  return pattern_in(final_folder);
}

}  // namespace

TEST_CASE("rank allocation: every layout trains as one rank does, and resumes in another",
          "[actors][adapters][slow]") {
  check_in_layouts(adapter_maths("adalora_all"), layouts_of_adapters(), 3);
  for (const MathsOptions& maths : {adapter_maths("adalora"), adapter_maths("adalora_all", "gpt2")})
    check_in_layouts(maths, few_layouts_of_adapters(), 2);
}

TEST_CASE("rank allocation: every layout keeps the same triplets, and a resume has the same bits",
          "[actors][adapters][slow]") {
  const MathsOptions maths = adapter_maths("adalora_all", GENERATE("llama", "gpt2"));
  std::string once, resumed;
  const nlohmann::json expected = pattern_of(maths, {}, {}, &resumed);
  const std::vector<LayoutOptions>& layouts = layouts_of_adapters();
  CHECK(number_of(expected, true) > 0);
  CHECK(number_of(expected, false) > 0);
  for (const size_t i : part_of_places(layouts.size(), 3, maths.family == "llama" ? 0 : 1)) {
    const LayoutOptions &first = layouts[i], &then = layouts[(i + 5) % layouts.size()];
    INFO(first.name() << ", then " << then.name());
    std::string weights;
    CHECK(pattern_of(maths, first, then, &weights) == expected);
    if (first.bitwise() && then.bitwise()) CHECK(weights == resumed);
  }
  {
    const TemporaryFolder folder;
    write_texts(folder);
    write_base(folder, maths);
    LayoutOutcome outcome;
    run_to_the_end(plan_training(layout_config(folder, maths, {}, 4), ExistingRun::refuse), outcome);
    once = read_text_file((folder / "run/final" / adapter_weights_name).string());
  }
  CHECK(once == resumed);
}

TEST_CASE("rank allocation: bfloat16 gradients are as near to float32's in any layout as on one rank",
          "[actors][adapters][slow]") {
  const std::vector<LayoutOptions> layouts = {{1, 2, 1, 1, "1f1b", 0, true},
                                              {1, 1, 1, 2, "1f1b", 0},
                                              {1, 4, 1, 1, "1f1b", 0},
                                              {2, 2, 2, 1, "zbv", 1, true},
                                              {1, 2, 1, 2, "1f1b", 3}};
  check_bfloat16_in_layouts(adapter_maths("adalora_all"), layouts);
}

TEST_CASE("rank allocation: a run goes on from triplets that were chosen, and keeps their number",
          "[actors][adapters]") {
  const TemporaryFolder folder;
  write_texts(folder);
  const MathsOptions maths = adapter_maths("adalora");
  write_base(folder, maths);
  const Config config = layout_config(folder, maths, {}, 4);
  LayoutOutcome outcome;
  run_to_the_end(plan_training(config, ExistingRun::refuse), outcome);
  const nlohmann::json chosen = pattern_in((folder / "run/final").string());
  // Eight blocks with two matrices each, of rank 4 at first and 2 in the end.
  CHECK(number_of(chosen, true) == 32);
  CHECK(number_of(chosen, false) == 32);

  Config next = layout_config(folder, maths, {1, 2, 2, 1, "1f1b", 0}, 3);
  next.run.dir = (folder / "next").string();
  next.peft = {};
  next.peft.path = (folder / "run/final").string();
  const RunPlan plan = plan_training(next, ExistingRun::refuse);
  for (const auto& [matrix, adapters] : plan.model.adapters) {
    CHECK_FALSE(adapters.front().is_allocated);
    const nlohmann::json& kept = chosen.at(matrix + ".lora_E");
    CHECK(adapters.front().rank == std::count(kept.begin(), kept.end(), true));
  }
  LayoutOutcome after;
  run_to_the_end(plan, after);
  CHECK(after.losses.front() < outcome.losses.front());
  const nlohmann::json still = pattern_in((folder / "next/final").string());
  for (const auto& [name, kept] : chosen.items())
    CHECK(std::count(still.at(name).begin(), still.at(name).end(), true) ==
          std::count(kept.begin(), kept.end(), true));
  CHECK_NOTHROW(AdapterFolder((folder / "next/final").string()).check(plan.model));
}

TEST_CASE("rank allocation: what cannot be is refused before the weights are read", "[actors][adapters]") {
  const TemporaryFolder folder;
  write_texts(folder);
  write_base(folder, adapter_maths("adalora"));
  const auto refusal = [&](const std::function<void(Config&)>& change) {
    Config config = layout_config(folder, adapter_maths("adalora"), {}, 2);
    change(config);
    return refusal_of(config);
  };
  CHECK(refusal([](Config&) {}) == "");
  CHECK_THAT(refusal([](Config& c) { c.peft.tinit = 3; }),
             contains("peft.tinit: found 3, but of 4 updates (peft.total_step) the last 1 are peft.tfinal"));
  CHECK_THAT(refusal([](Config& c) {
               c.peft.total_step = {};
               c.peft.tfinal = 2;
             }),
             contains("peft.tinit: found 0, but of 2 updates (the steps of the run) the last 2"));
  CHECK_THAT(refusal([](Config& c) { c.peft.init_r = 1000; }), contains("peft.init_r: 1000 is more than"));
  CHECK_THAT(refusal([](Config& c) { c.optimizer.fused_update = true; }),
             contains("optimizer.fused_update: true, but peft.type adalora needs all gradients"));
  CHECK_THAT(refusal([](Config& c) { c.optimizer = optimizer_config("adamw_schedule_free"); }),
             contains("optimizer.name: adamw_schedule_free evaluates and saves other weights"));
}

}  // namespace collie::test
