// A signal at any moment, to any process of a run, ends all of it soon, with 130 and a checkpoint that
// resumes to the same bits.
#include <fmt/format.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <memory>

#include "tests/cli/cluster.hpp"
#include "tests/cli/tls_files.hpp"
#include "tests/cli/workbench.hpp"
#include "tests/counted.hpp"

namespace collie::test {
namespace {

using Clock = std::chrono::steady_clock;

// At most: five seconds, a micro-batch, a checkpoint, and the second that a process pauses at the point.
constexpr double signals_soon_s = 12 * patience;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Sends `signal` to `command` when it pauses at the point, and returns how it ended.
Outcome interrupted_at(Command& command, const std::string& point, int signal) {
  REQUIRE(command.wait_until([&] { return has(command.errors(), "failpoint " + point); }, 60));
  const auto sent = Clock::now();
  command.send(signal);
  Outcome outcome = command.wait();
  INFO(outcome.report());
  CHECK(seconds_since(sent) < signals_soon_s);
  CHECK(outcome.code == 130);
  CHECK_FALSE(outcome.left_processes);
  CHECK_FALSE(has(outcome.errors, "error"));
  return outcome;
}

struct Moment {
  const char* point;
  int count;
  Settings settings{};
};

const Settings measured_partition = {"parallel.partition=measured"};
const Settings wide = {"parallel.pp_size=1", "parallel.dp_size=2", "parallel.tp_size=2",
                       "parallel.zero_stage=3", "train.gradient_accumulation_steps=2"};

// From reading data to the last file.
const std::vector<Moment>& moments() {
  static const std::vector<Moment> all = {
      {"data.tokenise", 1},        {"data.tokenise", 4},
      {"plan.weights", 1},         {"plan.measure", 1, measured_partition},
      {"run.folder", 1},           {"stage.load", 1},
      {"stage.forward", 1},        {"stage.forward", 61},
      {"stage.forward", 30, wide}, {"stage.backward", 1},
      {"stage.backward", 66},      {"stage.backward", 35, wide},
      {"stage.update", 1},         {"stage.update", 8},
      {"stage.update", 9, wide},   {"stage.evaluate", 1},
      {"stage.evaluate", 9},       {"stage.evaluate", 3, wide},
      {"stage.snapshot", 1},       {"stage.snapshot", 4},
      {"monitor.record", 1},       {"monitor.record", 8},
      {"checkpoint.begin", 2},     {"checkpoint.shard", 3},
      {"checkpoint.manifest", 2},  {"checkpoint.rename", 1},
      {"checkpoint.renamed", 1},   {"checkpoint.purge", 1},
      {"final.begin", 1},          {"final.rename", 1},
  };
  return all;
}

void check_moment(const Moment& moment, int signal) {
  INFO("signal " << signal << " at " << moment.point << ":" << moment.count);
  const Workbench bench;
  const Training expected = bench.train("expected", moment.settings);
  Command command(bench.run_arguments("run", moment.settings),
                  bench.options(fmt::format("{}:{}:pause", moment.point, moment.count)));
  interrupted_at(command, moment.point, signal);
  REQUIRE_CODE(bench.resume("run", moment.settings), 0);
  CHECK_SAME(expected, bench.training("run"));
  counted("signals at a named point, resumed to the same bits");
}

// The processes of a job, each with a number.
class Job {
 public:
  Job(const Workbench& bench, int size, const std::string& dir, const Settings& settings,
      const std::vector<int>& ranks, const std::vector<std::string>& flags = {}) {
    const std::string master = loopback(free_port());
    for (const int rank : ranks) {
      CommandOptions options = bench.options();
      options.environment = job_environment(master, rank, size);
      processes_.push_back(std::make_unique<Command>(bench.run_arguments(dir, settings, flags), options));
    }
  }
  Command& process(size_t index) { return *processes_.at(index); }

  void send(const std::vector<size_t>& to, int signal) {
    for (const size_t index : to) process(index).send(signal);
  }
  void check_all_end_with(int code) {
    const auto start = Clock::now();
    for (const auto& each : processes_) {
      const Outcome outcome = each->wait();
      INFO(outcome.report());
      CHECK(outcome.code == code);
      CHECK_FALSE(outcome.left_processes);
    }
    if (code != 0) CHECK(seconds_since(start) < signals_soon_s);
  }

 private:
  std::vector<std::unique_ptr<Command>> processes_;
};

}  // namespace

TEST_CASE(
    "a signal while a run reads, computes, evaluates or saves ends it with what resumes to the same bits",
    "[slow]") {
  check_moment({"data.tokenise", 1}, SIGTERM);
  check_moment({"stage.backward", 35, wide}, SIGINT);
  check_moment({"stage.evaluate", 9}, SIGHUP);
  check_moment({"checkpoint.shard", 3}, SIGTERM);
}

TEST_CASE("a signal at any named point ends a run with what resumes to the same bits", "[slow][signals]") {
  constexpr int signals[] = {SIGINT, SIGTERM, SIGHUP};
  for (size_t i = 0; i < moments().size(); ++i) check_moment(moments()[i], signals[i % 3]);
}

TEST_CASE("a signal in an estimate of sophia, or between it and its step, resumes to the same bits",
          "[slow][signals]") {
  const Settings sophia = {"optimizer.name=sophia", "optimizer.hessian_interval=2", "optimizer.rho=1"};
  // Of the estimate before step 3, while it is computed and when its outcome is known; then of that step.
  for (const Moment& moment : std::vector<Moment>{{"stage.forward", 21, sophia},
                                                  {"stage.backward", 23, sophia},
                                                  {"stage.update", 7, sophia},
                                                  {"stage.forward", 27, sophia},
                                                  {"stage.update", 10, sophia},
                                                  {"stage.forward", 28, sophia + wide},
                                                  {"stage.update", 14, sophia + wide},
                                                  {"stage.forward", 36, sophia + wide}})
    check_moment(moment, SIGINT);
}

TEST_CASE(
    "an interrupted step is given up at its next micro-batch, and the checkpoint is the last whole step's",
    "[slow]") {
  const Workbench bench;
  const Settings long_steps = {"train.gradient_accumulation_steps=4000", "train.steps=3",
                               "eval.every_n_steps=0"};
  Command command(bench.run_arguments("run", long_steps), bench.options("stage.backward:20:pause"));
  const Outcome outcome = interrupted_at(command, "stage.backward", SIGINT);
  CHECK(has(outcome.errors, "interrupted after step 0"));
  CHECK(bench.steps_done("run") == 0);
}

TEST_CASE("an interrupted eval or generation prints nothing and ends at its next micro-batch or token",
          "[slow]") {
  const Workbench bench;
  bench.train("run", {"train.steps=1"});
  Command eval({"eval", "config.yaml", "--set", "run.dir=run"}, bench.options("stage.evaluate:2:pause"));
  CHECK(interrupted_at(eval, "stage.evaluate", SIGINT).output.empty());
  const std::vector<std::string> generation = {"generate", "--model", "run/final", "--prompt", "the dog"};
  Command generate(generation, bench.options("stage.decode:2:pause"));
  CHECK(interrupted_at(generate, "stage.decode", SIGTERM).output.empty());
  // Nothing there is a checkpoint of.
  Command asked(generation, bench.options("stage.decode:2:pause"));
  REQUIRE(asked.wait_until([&] { return has(asked.errors(), "failpoint"); }));
  asked.send(SIGUSR1);
  REQUIRE_CODE(asked.wait(), 0);
}

TEST_CASE("SIGUSR1 has a run write a checkpoint and go on") {
  const Workbench bench;
  const Settings settings = endless + Settings{"checkpoint.every_n_steps=0", "eval.every_n_steps=0"};
  Command command(bench.run_arguments("run", settings), bench.options());
  REQUIRE(command.wait_until([&] { return bench.steps_done("run") >= 2; }));
  CHECK(bench.checkpoints("run").empty());
  command.send(SIGUSR1);
  command.send(SIGUSR1);
  REQUIRE(command.wait_until([&] { return !bench.checkpoints("run").empty(); }));
  const int64_t steps = bench.steps_done("run");
  REQUIRE(command.wait_until([&] { return bench.steps_done("run") > steps + 2; }));
  command.send(SIGTERM);
  const Outcome outcome = command.wait();
  INFO(outcome.report());
  CHECK(outcome.code == 130);
}

TEST_CASE("SIGUSR1 before the first step is no harm", "[slow]") {
  const Workbench bench;
  for (const char* point : {"data.tokenise", "stage.load"}) {
    Command command(bench.run_arguments(point, {"train.steps=2"}),
                    bench.options(fmt::format("{}:1:pause", point)));
    REQUIRE(command.wait_until([&] { return has(command.errors(), "failpoint"); }));
    command.send(SIGUSR1);
    REQUIRE_CODE(command.wait(), 0);
  }
}

TEST_CASE("a run that nohup started outlives its terminal; one in a shell's background can be interrupted") {
  const Workbench bench;
  CommandOptions options = bench.options();
  options.ignored_signals = {SIGHUP, SIGINT};
  Command command(bench.run_arguments("run", endless), options);
  REQUIRE(command.wait_until([&] { return bench.steps_done("run") >= 1; }));
  command.send(SIGHUP);
  const int64_t steps = bench.steps_done("run");
  REQUIRE(command.wait_until([&] { return bench.steps_done("run") > steps + 3; }));
  command.send(SIGINT);
  const Outcome outcome = command.wait();
  INFO(outcome.report());
  CHECK(outcome.code == 130);
}

TEST_CASE("signals to some or all processes of a job end all of them with 130 and one checkpoint", "[slow]") {
  const Workbench bench;
  const Settings settings = {"parallel.pp_size=4", "train.steps=300", "checkpoint.every_n_steps=0",
                             "eval.every_n_steps=50"};
  const Training expected = bench.train("expected", settings);
  const std::vector<std::vector<size_t>> subsets = {{0, 1}, {0}, {1}};
  for (size_t i = 0; i < subsets.size(); ++i) {
    const std::string dir = fmt::format("run-{}", i);
    INFO(dir);
    Job job(bench, 2, dir, settings, {0, 1});
    REQUIRE(job.process(0).wait_until([&] { return bench.steps_done(dir) >= 5; }, 60));
    job.send(subsets[i], SIGTERM);
    job.check_all_end_with(130);
    REQUIRE(bench.checkpoints(dir).size() == 1);
    CHECK(bench.checkpoints(dir).front() == fmt::format("step-{:08}", bench.steps_done(dir)));
    Job again(bench, 2, dir, settings, {0, 1}, {"--resume"});
    again.check_all_end_with(0);
    CHECK_SAME(expected, bench.training(dir));
  }
}

TEST_CASE("an interrupted step of several processes is given up, whatever carries their tensors", "[slow]") {
  const Workbench bench;
  const TlsFiles tls(bench);
  const bool encrypted = GENERATE(true, false);
  Nodes nodes(2, bench.options(), encrypted ? tls.node_flags() : std::vector<std::string>{});
  const std::vector<Settings> layouts = {
      {"parallel.pp_size=4"},
      {"parallel.pp_size=1", "parallel.dp_size=2", "parallel.tp_size=2", "parallel.zero_stage=3"}};
  for (size_t i = 0; i < layouts.size(); ++i) {
    const std::string dir = fmt::format("run-{}", i);
    INFO(dir << (encrypted ? ", encrypted" : ", over Gloo"));
    // Steps of minutes, of which none is over.
    const Settings settings = layouts[i] + (encrypted ? tls.settings() : Settings{}) +
                              Settings{"train.gradient_accumulation_steps=20000", "train.steps=2",
                                       "eval.every_n_steps=0", "monitor.trace=true"};
    Command run(bench.run_arguments(dir, settings, over(nodes)), bench.options());
    REQUIRE(run.wait_until([&] { return std::filesystem::exists(bench / (dir + "/trace.json")); }, 60));
    run.wait_until([] { return false; }, 3);  // until it computes
    const auto sent = Clock::now();
    run.send(SIGTERM);
    const Outcome outcome = run.wait();
    INFO(outcome.report());
    CHECK(outcome.code == 130);
    CHECK(seconds_since(sent) < signals_soon_s);
    CHECK_FALSE(has(outcome.errors, "error"));
    CHECK(bench.checkpoints(dir) == std::vector<std::string>{"step-00000000"});
  }
}

TEST_CASE("a signal to a process of a job ends the others, though one of them has not come", "[slow]") {
  const Workbench bench;
  const auto joined = [](Command& process) {
    return [&process] { return has(process.errors(), "has joined"); };
  };
  for (const std::vector<size_t>& to : {std::vector<size_t>{0}, {1}, {0, 1}}) {
    Job job(bench, 3, "run", endless, {0, 1});
    REQUIRE(job.process(1).wait_until(joined(job.process(1)), 60));
    job.send(to, SIGTERM);
    job.check_all_end_with(130);
  }
  Job alone(bench, 2, "run", endless, {1});
  REQUIRE_FALSE(alone.process(0).wait_until([] { return false; }, 1));
  alone.send({0}, SIGINT);
  alone.check_all_end_with(130);
  CHECK_FALSE(std::filesystem::exists(bench / "run/checkpoints"));
}

TEST_CASE("SIGUSR1 to any process of a job is a checkpoint of the run") {
  const Workbench bench;
  Job job(bench, 2, "run", endless + Settings{"checkpoint.every_n_steps=0", "eval.every_n_steps=0"}, {0, 1});
  REQUIRE(job.process(0).wait_until([&] { return bench.steps_done("run") >= 2; }, 60));
  job.send({1}, SIGUSR1);
  REQUIRE(job.process(0).wait_until([&] { return !bench.checkpoints("run").empty(); }));
  job.send({0, 1}, SIGTERM);
  job.check_all_end_with(130);
}

TEST_CASE("a second signal to a process of a job ends it at once") {
  const Workbench bench;
  Job job(bench, 2, "run", endless + Settings{"parallel.pp_size=4"}, {0, 1});
  REQUIRE(job.process(0).wait_until([&] { return bench.steps_done("run") >= 1; }, 60));
  job.process(0).send(SIGSTOP);  // which answers nothing
  for (int times = 0; times < 2; ++times) {
    job.process(1).send(SIGTERM);
    job.process(1).wait_until([] { return false; }, 0.3);
  }
  const Outcome outcome = job.process(1).wait();
  INFO(outcome.report());
  CHECK(outcome.code == 130);
  CHECK(outcome.seconds < 60);
}

TEST_CASE("a signal to a node stops the run that it holds with a checkpoint, then the node") {
  const Workbench bench;
  Nodes nodes(2);
  Command run(bench.run_arguments("run", endless + Settings{"parallel.pp_size=4"}, over(nodes)),
              bench.options());
  REQUIRE(run.wait_until([&] { return bench.steps_done("run") >= 3; }, 60));
  nodes.node(1).send(SIGTERM);
  const Outcome outcome = run.wait(), node = nodes.node(1).wait();
  INFO(outcome.report());
  INFO(node.report());
  CHECK(outcome.code == 130);
  CHECK(has(outcome.errors, "the node at " + nodes.address(1)));
  CHECK(bench.checkpoints("run").back() == fmt::format("step-{:08}", bench.steps_done("run")));
  CHECK(node.code == 0);
  CHECK(nodes.node(0).running());
}

TEST_CASE("a job's environment that lacks something is refused, naming it; a process alone needs nothing") {
  const Workbench bench;
  const auto outcome_of = [&](const std::map<std::string, std::string>& environment) {
    CommandOptions options = bench.options();
    options.environment = environment;
    return run_command(bench.run_arguments("run", {}, {"--dry-run"}), options);
  };
  const std::string here = "127.0.0.1";
  using Environment = std::map<std::string, std::string>;
  const std::vector<std::pair<Environment, std::string>> refused = {
      {{{"COLLIE_ENGINE_MASTER", here + ":5001"}, {"COLLIE_ENGINE_RANK", "0"}},
       "COLLIE_ENGINE_SIZE: is missing"},
      {{{"COLLIE_ENGINE_RANK", "0"}, {"COLLIE_ENGINE_SIZE", "2"}}, "COLLIE_ENGINE_MASTER: is missing"},
      {{{"COLLIE_ENGINE_MASTER", here + ":5001"}, {"COLLIE_ENGINE_SIZE", "2"}},
       "COLLIE_ENGINE_RANK: is missing"},
      {{{"MASTER_ADDR", here}, {"RANK", "1"}}, "WORLD_SIZE: is missing"},
      {{{"MASTER_ADDR", here}, {"WORLD_SIZE", "2"}}, "RANK: is missing"},
      {{{"MASTER_ADDR", here}, {"MASTER_PORT", "29400"}}, "RANK: is missing"},
      {{{"RANK", "0"}, {"WORLD_SIZE", "2"}}, "MASTER_ADDR: is missing"},
      {{{"MASTER_ADDR", here}, {"SLURM_PROCID", "0"}}, "SLURM_NTASKS: is missing"},
      {{{"MASTER_ADDR", here}, {"SLURM_NTASKS", "2"}}, "SLURM_PROCID: is missing"},
      {{{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "2"}, {"SLURM_STEP_NUM_TASKS", "2"}},
       "MASTER_ADDR: is missing"},
      {{{"MASTER_ADDR", here}, {"RANK", "one"}, {"WORLD_SIZE", "2"}}, "RANK: is 'one'"},
      {{{"MASTER_ADDR", here}, {"RANK", "-1"}, {"WORLD_SIZE", "2"}}, "RANK: is '-1'"},
      {{{"MASTER_ADDR", here}, {"RANK", "0"}, {"WORLD_SIZE", "0"}}, "WORLD_SIZE: is 0"},
      {{{"MASTER_ADDR", here}, {"SLURM_PROCID", "2"}, {"SLURM_NTASKS", "2"}}, "SLURM_PROCID: is 2"},
      {{{"MASTER_ADDR", here}, {"MASTER_PORT", "x"}, {"RANK", "0"}, {"WORLD_SIZE", "2"}}, "MASTER_PORT"},
  };
  for (const auto& [environment, message] : refused) check_refused(outcome_of(environment), 2, {message});
  const std::vector<Environment> alone = {
      {{"MASTER_ADDR", here}},
      {{"RANK", "0"}},
      {{"WORLD_SIZE", "1"}, {"RANK", "0"}},
      {{"SLURM_JOB_ID", "7"}, {"SLURM_NTASKS", "4"}},                                 // the shell of salloc
      {{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}},                                 // a batch script
      {{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}, {"SLURM_STEP_NUM_TASKS", "1"}},  // an interactive step
      {{"MASTER_ADDR", here}, {"RANK", "0"}, {"WORLD_SIZE", "1"}},
      {{"COLLIE_ENGINE_MASTER", here + ":5001"}, {"COLLIE_ENGINE_RANK", "0"}, {"COLLIE_ENGINE_SIZE", "1"}},
  };
  for (const Environment& environment : alone) {
    const Outcome outcome = outcome_of(environment);
    REQUIRE_CODE(outcome, 0);
  }
}

}  // namespace collie::test
