// SIGKILL at every named point, and at any moment: what is resumed ends as if it had never been stopped.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <random>
#include <set>

#include "tests/cli/cluster.hpp"
#include "tests/cli/workbench.hpp"
#include "tests/counted.hpp"
#include "tests/paths.hpp"

namespace collie::test {
namespace {

namespace fs = std::filesystem;

struct Kill {
  const char* point;
  int count;  // its arrival, from 1
};

const Training& never_stopped(const Workbench& bench) {
  static const Training training = bench.train("never_stopped");
  return training;
}

void check_whole(const Workbench& bench, const std::string& run) {
  CHECK_SAME(never_stopped(bench), bench.training(run));
  CHECK(bench.checkpoints(run) == std::vector<std::string>{"step-00000009", "step-00000012"});
  for (const auto& [file, contents] : bench.everything(run)) {
    CAPTURE(file);
    CHECK_FALSE(has(file, ".partial"));
  }
}

void check_killed(const Outcome& outcome) {
  INFO(outcome.report());
  INFO("the failpoint was not reached, or more happened than a kill");
  REQUIRE(outcome.signal == SIGKILL);
  REQUIRE_FALSE(outcome.timed_out);
}

const std::vector<Kill> every_kill = {
    {"stage.forward", 1},      {"stage.forward", 61},      {"stage.backward", 1},
    {"stage.backward", 66},    {"stage.update", 1},        {"stage.update", 8},
    {"stage.update", 24},      {"stage.snapshot", 1},      {"stage.snapshot", 4},
    {"stage.snapshot", 8},     {"checkpoint.begin", 1},    {"checkpoint.begin", 2},
    {"checkpoint.begin", 4},   {"checkpoint.shard", 1},    {"checkpoint.shard", 4},
    {"checkpoint.shard", 8},   {"checkpoint.manifest", 1}, {"checkpoint.manifest", 3},
    {"checkpoint.rename", 1},  {"checkpoint.rename", 2},   {"checkpoint.rename", 4},
    {"checkpoint.renamed", 1}, {"checkpoint.renamed", 4},  {"checkpoint.purge", 1},
    {"checkpoint.purge", 3},   {"checkpoint.purge", 4},    {"final.begin", 1},
    {"final.rename", 1},       {"data.tokenise", 1},       {"plan.weights", 1},
    {"run.folder", 1},         {"stage.load", 1},          {"stage.evaluate", 1},
    {"monitor.record", 1},     {"monitor.record", 8},
};

void check_kill_and_resume(const Kill& kill) {
  const Workbench bench;
  const std::string failpoint = fmt::format("{}:{}:kill", kill.point, kill.count);
  INFO("killed at " << failpoint);
  check_killed(bench.run("run", {}, {}, failpoint));
  const Outcome outcome = bench.resume("run");
  REQUIRE_CODE(outcome, 0);
  INFO("resumed:\n" << outcome.report());
  check_whole(bench, "run");
  counted("kills at a named point, resumed to the same bits");
}

// Those that the .cpp files below `folder` name.
void add_failpoints(const std::string& folder, std::set<std::string>& names) {
  if (!fs::exists(folder)) return;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.path().extension() != ".cpp") continue;
    const std::string text = text_of(entry.path().string()), call = "failpoint(\"";
    for (size_t at = text.find(call); at != std::string::npos; at = text.find(call, at + 1)) {
      const size_t begin = at + call.size();
      names.insert(text.substr(begin, text.find('"', begin) - begin));
    }
  }
}

}  // namespace

TEST_CASE("a run killed while it computes, saves or publishes resumes to the same bits") {
  check_kill_and_resume(GENERATE(values<Kill>({
      {"stage.backward", 50},
      {"checkpoint.shard", 3},
      {"checkpoint.renamed", 2},
      {"final.rename", 1},
  })));
}

TEST_CASE("a run killed at any named point resumes to the same bits", "[slow]") {
  check_kill_and_resume(GENERATE(from_range(every_kill)));
}

TEST_CASE("every failpoint of the sources has its kill") {
  if (bundle_folder()) {
    WARN("skipped: a bundle has no sources");
    return;
  }
  // Which blocks: test_failures.cpp; of what leaves nothing behind: test_signals.cpp; of a resume from a
  // chosen step: test_checkpoints.cpp.
  std::set<std::string> killed = {"stage.collective", "plan.measure", "stage.decode", "job.wait",
                                  "run.set_aside"};
  for (const Kill& kill : every_kill) killed.insert(kill.point);
  std::set<std::string> named;
  for (const char* floor :
       {"kernels", "schedule", "comm", "io", "models", "net", "optim", "runtime", "plan", "actors", "app"})
    add_failpoints(std::string(COLLIE_SOURCE_DIR) + "/" + floor, named);
  CHECK(named == killed);
}

TEST_CASE("a run killed again and again, each time it is resumed, ends with the same bits", "[slow]") {
  const Workbench bench;
  check_killed(bench.run("run", {}, {}, "checkpoint.manifest:1:kill"));
  // Whatever a kill spared of the snapshot that was being written, the next point is still ahead.
  for (const char* failpoint :
       {"checkpoint.purge:1:kill", "stage.backward:30:kill", "checkpoint.rename:1:kill",
        "checkpoint.shard:2:kill", "checkpoint.renamed:1:kill", "checkpoint.begin:1:kill",
        "stage.update:1:kill", "final.begin:1:kill", "checkpoint.rename:1:kill", "checkpoint.renamed:1:kill",
        "final.rename:1:kill"}) {
    INFO("resumed with " << failpoint);
    check_killed(bench.resume("run", {}, failpoint));
  }
  REQUIRE_CODE(bench.resume("run"), 0);
  check_whole(bench, "run");
}

TEST_CASE("a run over two processes of which one is killed resumes to the same bits", "[slow]") {
  const Workbench bench;
  const Settings settings = {"parallel.pp_size=4"};
  const Training expected = bench.train("expected", settings);
  // The process of the trainer, then a node's.
  for (const bool trainer : {true, false}) {
    CAPTURE(trainer);
    const std::string run = trainer ? "without_trainer" : "without_node";
    const Nodes nodes(2);
    const std::string failpoint = trainer ? "checkpoint.manifest:2:kill" : "";
    Command command(bench.run_arguments(run, settings, over(nodes)), bench.options(failpoint));
    if (!trainer) {
      REQUIRE(command.wait_until([&] { return bench.steps_done(run) >= 5; }));
      nodes.node(1).send(SIGKILL);
    }
    const Outcome outcome = command.wait();
    INFO(outcome.report());
    CHECK((trainer ? outcome.signal == SIGKILL : outcome.code == 1));
    const Nodes others(2);
    REQUIRE_CODE(bench.run(run, settings, over(others, {"--resume"})), 0);
    CHECK_SAME(expected, bench.training(run));
    counted("kills of one of two processes, resumed to the same bits");
  }
}

TEST_CASE("a run killed at random moments resumes to the same bits", "[slow]") {
  const unsigned seed = GENERATE(range(1u, 9u));
  CAPTURE(seed);
  std::mt19937 random(seed);
  const Workbench bench;
  const Settings settings = {"train.steps=60"};
  const Training expected = bench.train("expected", settings);
  std::string moments;
  for (int kills = 0; kills < 6;) {
    Command command(bench.run_arguments("run", settings, {"--resume"}), bench.options());
    // In a third of the cases before the first step of this process.
    const int64_t steps =
        bench.steps_done("run") + std::max<int64_t>(0, static_cast<int64_t>(random() % 15) - 5);
    const double delay_s = (random() % 2000) / 1e5;
    command.wait_until([&] { return bench.steps_done("run") >= steps; });
    command.wait_until([] { return false; }, delay_s);
    command.send(SIGKILL);
    const Outcome outcome = command.wait();
    moments += fmt::format("{} at step {} and {:.4f} s; ", outcome.signal == SIGKILL ? "killed" : "ended",
                           steps, delay_s);
    if (outcome.signal == SIGKILL) {
      ++kills;
      continue;
    }
    REQUIRE_CODE(outcome, 0);
    break;
  }
  INFO(moments);
  REQUIRE_CODE(bench.resume("run", settings), 0);
  CHECK_SAME(expected, bench.training("run"));
  CHECK(bench.checkpoints("run") == std::vector<std::string>{"step-00000057", "step-00000060"});
}

}  // namespace collie::test
