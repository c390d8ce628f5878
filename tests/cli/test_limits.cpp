// Where the system does not let the command have what it needs, it says which limit that is and ends with 1:
// never by a signal, never not at all.
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "tests/cli/cluster.hpp"
#include "tests/cli/workbench.hpp"

namespace collie::test {
namespace {

namespace fs = std::filesystem;

using Arguments = std::vector<std::string>;
using Limits = std::map<int, uint64_t>;

constexpr double patience_s = 12;
constexpr uint64_t mib = uint64_t{1} << 20;

// What became of the runs of a case; printed at its end.
struct Counts {
  int runs = 0, done = 0, refused = 0, before_main = 0, hangs = 0, signals = 0;
  ~Counts() {
    fmt::print(stderr,
               "limits: {} runs, {} done, {} refused, {} ended by the dynamic loader, {} hangs, {} signals\n",
               runs, done, refused, before_main, hangs, signals);
  }
};

size_t errors_in(const std::string& text) {
  size_t count = 0;
  for (size_t at = 0; (at = text.find("error: ", at)) != text.npos; ++at) ++count;
  return count;
}

// `names`: what the one message must hold, one of them.
void judge(const Outcome& outcome, const Arguments& names, Counts& counts) {
  INFO(outcome.report());
  ++counts.runs;
  counts.hangs += outcome.timed_out ? 1 : 0;
  counts.signals += outcome.signal != 0 && !outcome.timed_out ? 1 : 0;
  CHECK_FALSE(outcome.timed_out);
  CHECK(outcome.signal == 0);
  CHECK_FALSE(outcome.left_processes);
  if (outcome.code == 0) {
    ++counts.done;
    return;
  }
  // The dynamic loader, and what it runs before main(), have their own messages.
  if (outcome.code == 127 && has(outcome.errors, "error while loading shared libraries")) {
    ++counts.before_main;
    return;
  }
  ++counts.refused;
  CHECK(outcome.code == 1);
  CHECK(errors_in(outcome.errors) == 1);
  bool named = false;
  for (const auto& name : names) named = named || has(outcome.errors, name);
  CHECK(named);
}

// A user with no processes but those that this test starts.
uint32_t own_user() {
  return 200'000 + static_cast<uint32_t>(::getpid()) % 1'000'000;
}

// A bench, and how the command is started in it.
class Bench {
 public:
  Bench() { fs::permissions(bench_ / "", fs::perms::all); }

  CommandOptions options(const Limits& limits, bool own = false) const {
    CommandOptions options = bench_.options();
    options.limits = limits;
    options.timeout_s = patience_s;
    if (own) options.user = own_user();
    return options;
  }
  Arguments training(const Settings& settings) {
    return bench_.run_arguments(
        fmt::format("run-{}", ++runs_),
        Settings{"train.steps=2", "eval.every_n_steps=0", "run.stall_timeout_s=5"} + settings);
  }
  const Workbench& bench() const { return bench_; }

 private:
  Workbench bench_;
  int runs_ = 0;
};

const Settings pipeline = {}, replicas = {"parallel.pp_size=1", "parallel.dp_size=2"};
const Arguments thread_names = {"ulimit -u"}, memory_names = {"ulimit -v"}, file_names = {"ulimit -n"};

// Whether processes can be started in the name of a user of their own; says so where not.
bool has_own_user(Bench& bench) {
  if (::geteuid() == 0 && run_command({"--version"}, bench.options({}, true)).code == 0) return true;
  WARN("limits of threads are not tried: that takes root, and a build that other users can reach");
  return false;
}

void try_threads(Bench& bench, const std::vector<uint64_t>& values, const Settings& settings,
                 Counts& counts) {
  if (!has_own_user(bench)) return;
  for (const uint64_t value : values) {
    INFO("ulimit -u " << value);
    judge(run_command(bench.training(settings), bench.options({{RLIMIT_NPROC, value}}, true)), thread_names,
          counts);
  }
}

void try_memory(Bench& bench, const std::vector<uint64_t>& mebibytes, const Arguments& arguments,
                Counts& counts) {
#ifndef COLLIE_SANITIZE  // whose shadow memory takes terabytes of address space
  for (const uint64_t value : mebibytes) {
    INFO("ulimit -v " << value * 1024);
    judge(run_command(arguments.empty() ? bench.training(pipeline) : arguments,
                      bench.options({{RLIMIT_AS, value * mib}})),
          memory_names, counts);
  }
#endif
}

void try_files(Bench& bench, const std::vector<uint64_t>& values, Counts& counts) {
  for (const uint64_t value : values) {
    INFO("ulimit -n " << value);
    judge(run_command(bench.training(pipeline), bench.options({{RLIMIT_NOFILE, value}})), file_names, counts);
  }
}

// A node that can start is told to end.
Outcome node_outcome(const CommandOptions& options) {
  Command node({"node", "--listen", loopback(free_port())}, options);
  node.wait_until([&] { return has(node.errors(), "listening"); }, patience_s);
  node.send(SIGTERM);
  return node.wait();
}

std::vector<uint64_t> range(uint64_t first, uint64_t last, uint64_t step) {
  std::vector<uint64_t> values;
  for (uint64_t value = first; value <= last; value += step) values.push_back(value);
  return values;
}

}  // namespace

TEST_CASE("too few threads, too little memory and too few files end a run with one message", "[limits]") {
  Bench bench;
  Counts counts;
  try_threads(bench, {2, 6, 40}, pipeline, counts);
  try_memory(bench, {200, 500}, {}, counts);
  try_files(bench, {10, 20, 200}, counts);
  CHECK(counts.done >= 1);
  CHECK(counts.refused >= 3);
}

TEST_CASE("any limit of threads, memory or files ends a command with one message, or not at all",
          "[slow][limits]") {
  Bench bench;
  bench.bench().train("model", {"train.steps=1"});
  const Arguments generate = {"generate",         "--model", "model/final", "--prompt", "the dog",
                              "--max-new-tokens", "3"};
  Counts counts;
  try_threads(bench, range(1, 40, 1), pipeline, counts);
  try_threads(bench, range(1, 25, 3), replicas, counts);
  try_memory(bench, range(64, 1024, 24), {}, counts);
  try_memory(bench, range(96, 608, 64), generate, counts);
  try_files(bench, range(4, 48, 2), counts);
  for (const uint64_t value : range(5, 29, 4)) {
    INFO("ulimit -n " << value);
    judge(node_outcome(bench.options({{RLIMIT_NOFILE, value}})), file_names, counts);
  }
  if (!has_own_user(bench)) return;
  for (const uint64_t value : range(1, 10, 1)) {
    INFO("ulimit -u " << value);
    judge(node_outcome(bench.options({{RLIMIT_NPROC, value}}, true)), thread_names, counts);
  }
}

#ifndef COLLIE_SANITIZE
TEST_CASE("a model that is larger than the memory that a limit leaves is refused with both numbers",
          "[limits]") {
  Bench bench;
  const Settings large = {"model.config.hidden_size=2048", "model.config.intermediate_size=8192"};
  const Outcome outcome = run_command(bench.training(large), bench.options({{RLIMIT_AS, 2048 * mib}}));
  check_refused(outcome, 1, {"too little memory: the 2 ranks would hold ", "ulimit -v", "2048.0 MiB"});
}
#endif

TEST_CASE("a run gets on with as many threads as it says that it needs", "[limits]") {
  Bench bench;
  if (!has_own_user(bench)) return;
  const Outcome refused = run_command(bench.training(replicas), bench.options({{RLIMIT_NPROC, 2}}, true));
  INFO(refused.report());
  const std::string before = "this process needs ";
  const size_t at = refused.errors.find(before);
  REQUIRE(at != std::string::npos);
  const uint64_t needed = std::stoul(refused.errors.substr(at + before.size()));
  const Outcome outcome =
      run_command(bench.training(replicas), bench.options({{RLIMIT_NPROC, needed + 1}}, true));
  REQUIRE_CODE(outcome, 0);
}

#ifndef COLLIE_SANITIZE  // whose library must be the first
TEST_CASE("threads that cannot be started although there were enough a moment ago end a run", "[limits]") {
  Bench bench;
  Counts counts;
  for (const int last : {12, 14, 16, 18, 20, 22, 24}) {
    INFO("thread " << last << " is the last");
    CommandOptions options = bench.options({});
    options.environment = {{"LD_PRELOAD", COLLIE_FEW_THREADS},
                           {"COLLIE_TEST_LAST_THREAD", std::to_string(last)}};
    const Outcome outcome = run_command(bench.training(pipeline), options);
    judge(outcome, {"thread"}, counts);
  }
}
#endif

TEST_CASE("a stack that is too small is named; threads have theirs whatever the limit says", "[limits]") {
  Bench bench;
  Counts counts;
  for (const uint64_t kib : {uint64_t{128}, uint64_t{1024}, uint64_t{RLIM_INFINITY} / 1024}) {
    const uint64_t value = kib == RLIM_INFINITY / 1024 ? RLIM_INFINITY : kib * 1024;
    INFO("ulimit -s " << kib);
    judge(run_command(bench.training(pipeline), bench.options({{RLIMIT_STACK, value}})), {"ulimit -s"},
          counts);
  }
  CHECK(counts.done == 2);
}

TEST_CASE("a node that may not have the threads for its ranks refuses them, and goes on", "[limits]") {
  Bench bench;
  if (!has_own_user(bench)) return;
  Nodes nodes(1, bench.options({{RLIMIT_NPROC, 14}}, true));
  const Outcome outcome = run_command(
      bench.bench().run_arguments("run", {"train.steps=2"}, {"--nodes", nodes.list()}), bench.options({}));
  check_refused(outcome, 1, {"node " + nodes.address(0), "ulimit -u is 14"});
  CHECK(nodes.node(0).running());
}

}  // namespace collie::test
