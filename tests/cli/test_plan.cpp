// collie-engine plan: what a run would take, in three formats, without a run.
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/cli/workbench.hpp"

namespace collie::test {
namespace {

std::vector<std::string> plan_arguments(const Settings& settings = {},
                                        const std::vector<std::string>& flags = {}) {
  std::vector<std::string> arguments{"plan", "config.yaml"};
  for (const auto& setting : Settings{"run.dir=run"} + settings)
    arguments.insert(arguments.end(), {"--set", setting});
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  return arguments;
}

}  // namespace

TEST_CASE("plan says as text what every rank would take, and leaves nothing behind") {
  const Workbench bench;
  const Outcome plan = bench.command(plan_arguments());
  REQUIRE_CODE(plan, 0);
  INFO(plan.report());
  CHECK(plan.errors.empty());
  for (const char* part : {"on 2 ranks", "schedule 1f1b", "bubble", "embedding, blocks 0 to 1", "head",
                           "peak memory of each rank", "weights", "sent in a step", "pipeline to 1"})
    CHECK(has(plan.output, part));
  CHECK_FALSE(std::filesystem::exists(bench / "run"));
  std::istringstream lines(plan.output);
  for (std::string line; std::getline(lines, line);) {
    CAPTURE(line);
    // The bytes 10xxxxxx go on with a character of UTF-8.
    CHECK(std::count_if(line.begin(), line.end(), [](char c) { return (c & 0xC0) != 0x80; }) <= 100);
  }
}

TEST_CASE("plan, and the start of a run, say what gradients a fused update does not free") {
  const Workbench bench;
  const Settings lomo{"optimizer.name=lomo", "train.steps=1", "train.clip_grad_norm=1.0"};
  const auto says = [&](const Settings& settings, const std::string& words) {
    const Outcome plan = bench.command(plan_arguments(lomo + settings));
    REQUIRE_CODE(plan, 0);
    const Outcome run = bench.run("run", lomo + settings, {"--dry-run"});
    REQUIRE_CODE(run, 0);
    INFO(plan.report() << run.report());
    CHECK(has(plan.output, words.empty() ? "stand whole" : words + "\n") == !words.empty());
    CHECK(has(run.errors, words.empty() ? "stand whole" : words + "\n") == !words.empty());
    const Outcome json = bench.command(plan_arguments(lomo + settings, {"--format", "json"}));
    REQUIRE_CODE(json, 0);
    return nlohmann::json::parse(json.output).at("step").at("whole_gradient_bytes").get<int>();
  };
  const Settings several{"train.gradient_accumulation_steps=4"};
  CHECK(says(several, "fused update: gradients stand whole over 4 micro-batches, 4 bytes a parameter") == 4);
  CHECK(says(several + Settings{"parallel.dp_size=2", "parallel.zero_stage=2", "model.dtype=bfloat16",
                                "optimizer.grad_dtype=bfloat16"},
             "over 4 micro-batches, 2 bytes a parameter, shared by 2 ranks") == 2);
  CHECK(says({"train.gradient_accumulation_steps=1"}, "") == 0);
  CHECK(says(several + Settings{"optimizer.fused_update=false"}, "") == 0);
}

TEST_CASE("plan as JSON has a documented object for every rank") {
  const Workbench bench;
  const Outcome outcome = bench.command(plan_arguments(
      {"parallel.dp_size=2", "parallel.tp_size=2", "parallel.zero_stage=1"}, {"--format", "json"}));
  REQUIRE_CODE(outcome, 0);
  INFO(outcome.report());
  const auto plan = nlohmann::json::parse(outcome.output);
  for (const char* key : {"name", "parameters", "layout", "step", "steps", "schedule", "stages", "ranks"})
    CHECK(plan.contains(key));
  REQUIRE(plan.at("ranks").size() == 8);
  REQUIRE(plan.at("stages").size() == 2);
  CHECK(plan.at("layout").at("zero_stage") == 1);
  CHECK(plan.at("schedule").at("bubble_share").get<double>() > 0);
  CHECK(plan.at("step").at("flops").at("total").get<double>() > 0);
  for (size_t rank = 0; rank < 8; ++rank) {
    const auto& of = plan.at("ranks").at(rank);
    CHECK(of.at("rank") == rank);
    CHECK(of.at("place").at("pipeline") == rank / 4);
    CHECK(of.at("peak_total_bytes").get<size_t>() > of.at("peak_bytes").at("weights").get<size_t>());
    std::vector<std::string> groups;
    for (const auto& traffic : of.at("traffic_per_step")) groups.push_back(traffic.at("group"));
    for (const char* group : {"tensor", "data", "pipeline"})
      CHECK(std::count(groups.begin(), groups.end(), group) == 1);
  }
}

TEST_CASE("plan shows what a measured partition was found with") {
  const Workbench bench;
  const Settings measured = {"parallel.partition=measured", "parallel.tp_size=2", "parallel.cp_size=2"};
  const Outcome text = bench.command(plan_arguments(measured));
  REQUIRE_CODE(text, 0);
  for (const char* part : {"measured, forward and backward", "embedding ", "a block ", "head and loss "})
    CHECK(has(text.output, part));
  const Outcome outcome = bench.command(plan_arguments(measured, {"--format", "json"}));
  REQUIRE_CODE(outcome, 0);
  const auto plan = nlohmann::json::parse(outcome.output);
  const auto& times = plan.at("measured_s");
  const auto time = [&](const char* part) { return times.at(part).get<double>(); };
  for (const char* part : {"embedding", "block", "head"}) CHECK(time(part) > 0);
  double sum = 0;
  for (const auto& stage : plan.at("stages")) sum += stage.at("measured_s").get<double>();
  CHECK(sum == Approx(time("embedding") + 4 * time("block") + time("head")));
  CHECK_FALSE(has(bench.command(plan_arguments()).output, "measured"));
}

TEST_CASE("plan says what GPUs will hold, where there are none") {
  const Workbench bench;
  const Settings settings = {"device.kind=cuda", "model.dtype=bfloat16"};
  const Outcome text = bench.command(plan_arguments(settings));
  REQUIRE_CODE(text, 0);
  CHECK(has(text.output, "bfloat16 on NVIDIA GPUs"));
  CHECK(has(bench.command(plan_arguments()).output, "float32 on the CPU, 1 thread per rank"));
  const Outcome outcome = bench.command(plan_arguments(settings, {"--format", "json"}));
  REQUIRE_CODE(outcome, 0);
  const auto plan = nlohmann::json::parse(outcome.output);
  CHECK(plan.at("layout").at("device") == "cuda");
  CHECK(plan.at("layout").at("dtype") == "bfloat16");
  for (const auto& rank : plan.at("ranks"))  // cuBLASLt's workspace alone
    CHECK(rank.at("peak_bytes").at("workspace").get<size_t>() > size_t{32} << 20);
  check_refused(bench.command(plan_arguments({"device.kind=cuda", "parallel.partition=measured"})), 2,
                {"parallel.partition", "none of which is here"});
}

TEST_CASE("plan draws the layout") {
  const Workbench bench;
  const Outcome outcome = bench.command(plan_arguments({"parallel.dp_size=2"}, {"--format", "svg"}));
  REQUIRE_CODE(outcome, 0);
  CHECK(outcome.output.rfind("<svg ", 0) == 0);
  for (const char* part : {"rank 3", "replica 1", "data group", "tied embedding", "</svg>"})
    CHECK(has(outcome.output, part));
}

TEST_CASE("plan of a run that is there is the plan of a new one") {
  const Workbench bench;
  const std::string fresh = bench.command(plan_arguments()).output;
  bench.train("run", {"train.steps=3"});
  const auto before = bench.everything("run");
  const Outcome plan = bench.command(plan_arguments());
  REQUIRE_CODE(plan, 0);
  CHECK(plan.output == fresh);
  CHECK_UNCHANGED(before, bench.everything("run"));
}

TEST_CASE("plan refuses what run refuses") {
  const Workbench bench;
  check_refused(bench.command(plan_arguments({"parallel.pp_size=5"})), 2, {"parallel.pp_size", "5"});
  check_refused(bench.command(plan_arguments({"parallel.tp_size=3"})), 2, {"parallel.tp_size"});
  check_refused(bench.command(plan_arguments({"optimizer.name=adamm"})), 2, {"adamm", "adamw"});
  check_refused(bench.command(plan_arguments({"data.train.0.path=nowhere/*.txt"})), 2, {"nowhere"});
  check_refused(bench.command(plan_arguments({}, {"--format", "csv"})), 2, {"csv", "text, json, svg"});
  check_refused(bench.command({"plan", "missing.yaml"}), 2, {"missing.yaml"});
}

}  // namespace collie::test
