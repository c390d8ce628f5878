// Ctrl-C ends a run with a checkpoint; a second one at once.
#include <fmt/format.h>

#include <csignal>
#include <filesystem>

#include "tests/cli/workbench.hpp"

namespace collie::test {
namespace {

// Long enough to be stopped in the middle: signals are looked for every 50 ms.
const Settings long_run = {"train.steps=250", "eval.every_n_steps=60", "checkpoint.every_n_steps=100",
                           "train.gradient_accumulation_steps=8"};

const Training& long_run_never_stopped(const Workbench& bench) {
  static const Training training = bench.train("never_stopped", long_run);
  return training;
}

}  // namespace

TEST_CASE("an interrupted run saves a checkpoint, and resumes to the same bits", "[slow]") {
  const int signal = GENERATE(SIGINT, SIGTERM);
  const Workbench bench;
  Command command(bench.run_arguments("run", long_run), bench.options());
  REQUIRE(command.wait_until([&] { return bench.steps_done("run") >= 7; }));
  command.send(signal);
  const Outcome outcome = command.wait();
  INFO(outcome.report());
  REQUIRE(outcome.code == 130);
  CHECK(outcome.output.empty());
  CHECK(has(outcome.errors, "stopping, with a checkpoint"));
  CHECK_FALSE(has(outcome.errors, "error"));

  const int64_t steps = bench.steps_done("run");
  INFO("stopped after step " << steps);
  REQUIRE(steps < 250);
  REQUIRE(bench.checkpoints("run").back() == fmt::format("step-{:08}", steps));
  CHECK(has(outcome.errors, fmt::format("interrupted after step {}", steps)));
  CHECK_FALSE(std::filesystem::exists(bench / "run/final"));

  const Outcome resumed = bench.resume("run", long_run);
  REQUIRE_CODE(resumed, 0);
  CHECK(has(resumed.errors, fmt::format("goes on after step {}", steps)));
  CHECK_SAME(long_run_never_stopped(bench), bench.training("run"));
}

TEST_CASE("a run interrupted several times resumes to the same bits", "[slow]") {
  const Workbench bench;
  int64_t before = 0;
  for (int times = 0; times < 3; ++times) {
    Command command(bench.run_arguments("run", long_run, {"--resume"}), bench.options());
    REQUIRE(command.wait_until([&] { return bench.steps_done("run") > before + 3; }));
    command.send(SIGINT);
    const Outcome outcome = command.wait();
    INFO(outcome.report());
    if (outcome.code == 0) break;  // it was done before it looked
    REQUIRE(outcome.code == 130);
    before = bench.steps_done("run");
  }
  REQUIRE_CODE(bench.resume("run", long_run), 0);
  CHECK_SAME(long_run_never_stopped(bench), bench.training("run"));
}

TEST_CASE("a second interrupt ends the run at once") {
  const Workbench bench;
  // A rank that never comes back: without the second signal the run would wait for its step.
  Command command(bench.run_arguments("run", {"parallel.tp_size=2"}),
                  bench.options("stage.collective:6:block"));
  REQUIRE(command.wait_until([&] { return bench.steps_done("run") >= 1; }));
  command.send(SIGINT);
  REQUIRE(command.wait_until([&] { return has(command.errors(), "stopping, with a checkpoint"); }));
  REQUIRE(command.running());
  command.send(SIGINT);
  const Outcome outcome = command.wait();
  INFO(outcome.report());
  CHECK(outcome.code == 130);
  CHECK(outcome.seconds < 5 * patience);
  CHECK_FALSE(outcome.left_processes);
  REQUIRE_CODE(bench.resume("run"), 0);
}

TEST_CASE("an interrupt before the first step leaves a run that resumes to the same bits", "[slow]") {
  const Workbench bench;
  const Training expected = bench.train("expected");
  for (const int delay_ms : {0, 5, 10, 20, 40}) {
    const std::string run = fmt::format("run-{}", delay_ms);
    Command command(bench.run_arguments(run), bench.options());
    command.wait_until([&] { return std::filesystem::exists(bench / (run + "/config.resolved.yaml")); });
    command.wait_until([] { return false; }, delay_ms / 1000.0);
    command.send(SIGINT);
    const Outcome outcome = command.wait();
    INFO(outcome.report());
    CHECK((outcome.code == 130 || outcome.code == 0 || outcome.signal == SIGINT));
    REQUIRE_CODE(bench.resume(run), 0);
    CHECK_SAME(expected, bench.training(run));
  }
}

TEST_CASE("an interrupted eval ends with 130 and prints nothing", "[slow]") {
  const Workbench bench;
  bench.train("run", {"train.steps=1"});
  std::string text;
  for (int line = 0; line < 60000; ++line) text += fmt::format("{} sheep over the hills\n", line);
  bench.write("long.txt", text);
  const auto arguments = [](const char* file) {
    return std::vector<std::string>{"eval",  "config.yaml",
                                    "--set", "run.dir=run",
                                    "--set", fmt::format("data.eval=[{{path: {}}}]", file)};
  };
  Command command(arguments("long.txt"), bench.options());
  const auto cached = [&] {
    for (const auto& entry : std::filesystem::directory_iterator(bench / "run/cache"))
      if (entry.path().extension() == ".tokens" && entry.file_size() > text.size()) return true;
    return false;
  };
  REQUIRE(command.wait_until(cached));
  command.wait_until([] { return false; }, 0.1);  // until it evaluates
  command.send(SIGINT);
  const Outcome outcome = command.wait();
  INFO(outcome.report());
  CHECK(outcome.code == 130);
  CHECK(outcome.output.empty());
  CHECK_FALSE(outcome.left_processes);
  REQUIRE_CODE(bench.command(arguments("held_out.txt")), 0);
}

}  // namespace collie::test
