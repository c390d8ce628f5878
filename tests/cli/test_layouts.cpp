// The layout decides where something is computed, never what: losses, norms and weights are the same bits.
#include <fmt/format.h>

#include <filesystem>

#include "tests/cli/workbench.hpp"

namespace collie::test {
namespace {

const Settings untied = {"model.config.tie_word_embeddings=false"};

Settings accumulate(int steps) {
  return {fmt::format("train.gradient_accumulation_steps={}", steps)};
}

Settings layout(int pp, const std::string& schedule, int threads = 2) {
  return {fmt::format("parallel.pp_size={}", pp), "parallel.schedule=" + schedule,
          fmt::format("device.threads={}", threads)};
}

// What makes equality worth something: clipping at work in every step, masked prompts, an epoch's short last
// step.
void check_worth_comparing(const Training& training, int64_t full_step_targets) {
  bool short_step = false;
  for (const auto& step : training.steps) {
    CHECK(std::stod(step.at("grad_norm")) > 0.25);  // train.clip_grad_norm
    CHECK(std::stoll(step.at("tokens")) <= full_step_targets);
    short_step = short_step || std::stoll(step.at("tokens")) < full_step_targets / 2;
  }
  CHECK(short_step);
  CHECK(training.steps.back().at("epoch") != "0");
  CHECK(training.steps.front().at("loss") != training.steps.back().at("loss"));
}

std::string name_of(const Settings& settings) {
  std::string name = "run";
  for (const auto& setting : settings) name += "-" + setting.substr(setting.find('=') + 1);
  return name;
}

void check_layout(const Workbench& bench, const Training& expected, const Settings& maths,
                  const Settings& layout) {
  const Settings all = maths + layout;
  INFO("against one rank: " << name_of(all));
  CHECK_SAME(expected, bench.train(name_of(all), all));
}

// The schedule that `collie-engine schedule` writes, with backward in two halves, as a file.
std::string write_split_schedule(const Workbench& bench, int stages, int micro_batches) {
  const Outcome made =
      bench.command({"schedule", "--name", "1f1b", "--stages", std::to_string(stages), "--microbatches",
                     std::to_string(micro_batches), "--split-backward", "--format", "csv"});
  REQUIRE_CODE(made, 0);
  REQUIRE(has(made.output, "0I0"));
  REQUIRE(has(made.output, "0W0"));
  const std::string file = fmt::format("split-{}-{}.csv", stages, micro_batches);
  bench.write(file, made.output);
  return file;
}

}  // namespace

TEST_CASE("two and four stages compute the same bits as one") {
  const Workbench bench;
  const Settings maths = accumulate(3);  // divisible by neither number of stages
  const Training expected = bench.train("reference", maths + layout(1, "1f1b"));
  check_worth_comparing(expected, 6 * 32);
  check_layout(bench, expected, maths, layout(2, "1f1b"));
  check_layout(bench, expected, maths, layout(4, "gpipe"));
}

TEST_CASE("every number of stages, schedule and accumulation computes the same bits", "[slow]") {
  const Workbench bench;
  const bool tied = GENERATE(true, false);
  const int accumulation = GENERATE(3, 5);
  const Settings maths = accumulate(accumulation) + (tied ? Settings{} : untied);
  const Training expected = bench.train("reference", maths + layout(1, "1f1b"));
  check_worth_comparing(expected, int64_t{accumulation} * 2 * 32);
  for (const int pp : {1, 2, 4})
    for (const char* schedule : {"gpipe", "1f1b"}) check_layout(bench, expected, maths, layout(pp, schedule));
}

TEST_CASE("stages of unequal size compute the same bits as one", "[slow]") {
  const Workbench bench;
  const Training expected = bench.train("reference", layout(1, "1f1b"));
  for (const char* partition : {"uniform", "measured", "[1, 3]", "[3, 1]"})
    check_layout(bench, expected, layout(2, "1f1b"), {std::string("parallel.partition=") + partition});
  check_layout(bench, expected, layout(3, "1f1b"), {"parallel.partition=[2, 1, 1]"});
}

TEST_CASE("a partition that is measured computes the same bits, resumes, and is said in one line") {
  const Workbench bench;
  const Settings measured = layout(2, "zbv") + Settings{"parallel.partition=measured"};
  const Training expected =
      bench.train("reference", layout(2, "zbv") + Settings{"parallel.partition=uniform"});
  // Its last step is not the whole run's, which does not evaluate it.
  const Settings half = {"train.steps=6", "lr_scheduler.name=constant", "eval.at_end=false"};
  CHECK_SAME(expected, bench.train("run", measured));
  const Outcome first = bench.run("resumed", measured + half);
  REQUIRE_CODE(first, 0);
  CHECK(has(first.errors, "parallel.partition: measured embedding "));
  CHECK(has(first.errors, "blocks [1, 1, 1, 1]"));
  const Settings whole = {"lr_scheduler.name=constant"};
  REQUIRE_CODE(bench.resume("resumed", measured + whole), 0);
  CHECK_SAME(bench.train("constant", layout(1, "1f1b") + whole), bench.training("resumed"));
}

TEST_CASE("a backward split into input and weight halves computes the same bits", "[slow]") {
  const Workbench bench;
  const bool tied = GENERATE(true, false);
  const int accumulation = GENERATE(3, 5);
  // A file holds one number of micro-batches: full steps only, so the run ends before its first epoch does.
  const Settings maths = accumulate(accumulation) + (tied ? Settings{} : untied) + Settings{"train.steps=3"};
  const Training expected = bench.train("reference", maths + layout(1, "1f1b"));
  REQUIRE(expected.steps.back().at("epoch") == "0");
  for (const int pp : {1, 2, 4})
    check_layout(bench, expected, maths, layout(pp, write_split_schedule(bench, pp, accumulation)));
}

TEST_CASE("a split schedule computes the same bits as a whole one") {
  const Workbench bench;
  const Settings maths = accumulate(3);  // with an epoch's short last step, which the file does not know of
  check_layout(bench, bench.train("reference", maths + layout(1, "gpipe")), maths,
               layout(2, write_split_schedule(bench, 2, 3)));
}

TEST_CASE("a schedule file of other sizes than the layout's is refused") {
  const Workbench bench;
  const std::string file = write_split_schedule(bench, 2, 3);
  check_refused(bench.run("run", accumulate(4) + layout(2, file)), 2, {file, "the file has 3 micro-batches"});
  check_refused(bench.run("run", accumulate(3) + layout(4, file)), 2, {file, "the file has 2 ranks"});
  CHECK_FALSE(std::filesystem::exists(bench / "run/config.resolved.yaml"));
}

TEST_CASE("the number of threads changes no bit", "[slow]") {
  const Workbench bench;
  // Large enough for matrices of several tiles: 4 sequences of 128 tokens.
  const Settings maths = {"model.config.hidden_size=64",
                          "model.config.intermediate_size=172",
                          "model.config.max_position_embeddings=128",
                          "data.sequence_length=128",
                          "train.micro_batch_size=4",
                          "train.steps=6"};
  const Training expected = bench.train("reference", maths + layout(1, "1f1b", 1));
  for (const int pp : {1, 2})
    for (const int threads : {1, 2, 3}) check_layout(bench, expected, maths, layout(pp, "1f1b", threads));
}

TEST_CASE("sequences that are not packed train the same bits in every layout", "[slow]") {
  const Workbench bench;
  const Settings maths = {"data.packing=false", "data.shuffle=false"};
  const Training expected = bench.train("reference", maths + layout(1, "1f1b"));
  for (const int pp : {2, 4}) check_layout(bench, expected, maths, layout(pp, "1f1b"));
}

TEST_CASE("another seed, or another order of the data, gives other bits") {
  const Workbench bench;
  const Training reference = bench.train("reference");
  CHECK_FALSE(first_difference(reference, bench.train("seed", {"run.seed=8"})) == "");
  CHECK_FALSE(first_difference(reference, bench.train("order", {"data.shuffle=false"})) == "");
}

}  // namespace collie::test
