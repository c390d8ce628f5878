// What fails ends the run soon, with one message that names who and why, and leaves neither a process nor a
// damaged checkpoint behind.
#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "tests/cli/small_disk.hpp"
#include "tests/cli/workbench.hpp"

namespace collie::test {
namespace {

namespace fs = std::filesystem;

void check_failed_soon(const Outcome& outcome, const std::vector<std::string>& parts, double after_s = 0) {
  check_refused(outcome, 1, parts);
  INFO(outcome.report());
  CHECK_FALSE(outcome.timed_out);
  CHECK(outcome.seconds < after_s + soon_s);
  CHECK_FALSE(has(outcome.errors, "did not end in time"));
}

// The run's newest checkpoint is whole: it is gone on with, to the same bits.
void check_resumable(const Workbench& bench, const std::string& run, const std::string& newest,
                     const Training& expected, const Settings& settings = {}) {
  const auto checkpoints = bench.checkpoints(run);
  REQUIRE_FALSE(checkpoints.empty());
  CHECK(checkpoints.back() == newest);
  const Outcome outcome = bench.resume(run, settings);
  REQUIRE_CODE(outcome, 0);
  INFO(outcome.report());
  CHECK(has(outcome.errors, fmt::format("goes on after step {}", std::stoi(newest.substr(5)))));
  CHECK_FALSE(has(outcome.errors, "warning"));
  CHECK_SAME(expected, bench.training(run));
}

}  // namespace

TEST_CASE("an exception in a rank, or in the checkpoint writer, ends the run with its cause") {
  struct Throw {
    const char *point, *who;
    int count;
  };
  const Throw thrown = GENERATE(values<Throw>({{"stage.forward", "rank ", 5},
                                               {"stage.backward", "rank ", 1},
                                               {"stage.update", "rank ", 24},
                                               {"stage.snapshot", "rank ", 2},
                                               {"stage.collective", "rank ", 3},
                                               {"checkpoint.shard", "checkpoint writer", 1},
                                               {"checkpoint.purge", "checkpoint writer", 1},
                                               {"final.rename", "checkpoint writer", 1}}));
  const Workbench bench;
  const Outcome outcome = bench.run("run", {}, {}, fmt::format("{}:{}:throw", thrown.point, thrown.count));
  check_failed_soon(outcome, {thrown.who, std::string("failpoint ") + thrown.point});
  for (const auto& checkpoint : bench.checkpoints("run")) CHECK_FALSE(has(checkpoint, ".partial"));
}

TEST_CASE("a rank that fails on four stages is named, whatever the others wait for") {
  const Workbench bench;
  const Outcome outcome = bench.run("run", {"parallel.pp_size=4"}, {}, "stage.backward:40:throw");
  check_failed_soon(outcome, {"rank ", "failpoint stage.backward"});
}

TEST_CASE("a run that failed resumes to the same bits", "[slow]") {
  const Workbench bench;
  const Training expected = bench.train("expected");
  // Step 8 of 12; the checkpoint of step 6 may still have been on its way.
  check_failed_soon(
      bench.run("run", {"checkpoint.every_n_steps=1", "parallel.pp_size=4"}, {}, "stage.update:29:throw"),
      {"rank ", "failpoint stage.update"});
  REQUIRE_CODE(bench.resume("run"), 0);
  CHECK_SAME(expected, bench.training("run"));
}

TEST_CASE("a rank that blocks for ever in a collective is named, with what the others wait for", "[slow]") {
  const int pp = GENERATE(2, 4);
  const Workbench bench;
  const Settings settings = {"run.stall_timeout_s=1", fmt::format("parallel.pp_size={}", pp),
                             "parallel.tp_size=2"};
  const Outcome outcome = bench.run("run", settings, {}, "stage.collective:5:block");
  check_failed_soon(outcome, {"rank ", "no progress", "run.stall_timeout_s is 1", "is inside 'sum squares'"},
                    1);
  INFO(outcome.report());
  CHECK(outcome.seconds > 1);
  for (int rank = 0; rank < 2 * pp; ++rank) CHECK(has(outcome.errors, fmt::format("rank {}", rank)));
  CHECK(has(outcome.errors, "wait"));
  REQUIRE_CODE(bench.resume("run", settings), 0);
}

TEST_CASE("a rank that never gets ready is named", "[slow]") {
  const Workbench bench;
  const Settings settings = {"run.stall_timeout_s=1", "parallel.tp_size=2"};
  const Outcome outcome = bench.run("run", settings, {}, "stage.load:2:block");
  constexpr double least_at_start_s = 5;
  check_failed_soon(outcome, {"trainer: waits for rank ", "to get ready", "run.stall_timeout_s is 1"},
                    least_at_start_s);
}

TEST_CASE("a loss that is not a number ends the run with the step, and spares the checkpoints") {
  const Workbench bench;
  const Training expected = bench.train("expected");
  REQUIRE(bench.run("run", {}, {}, "checkpoint.purge:2:kill").signal == SIGKILL);
  const auto before = bench.everything("run/checkpoints");
  const Outcome outcome =
      bench.run("run", {"optimizer.lr=1.0e30"}, {"--resume", "--allow-change", "optimizer.lr"});
  check_failed_soon(outcome, {"step 8", "nan", "optimizer.lr"});
  CHECK_UNCHANGED(before, bench.everything("run/checkpoints"));
  check_resumable(bench, "run", "step-00000006", expected);
}

TEST_CASE("weights that are not numbers are never saved as the final model") {
  const Workbench bench;
  const Outcome outcome =
      bench.run("run", {"optimizer.lr=1.0e30", "lr_scheduler.warmup_steps=0", "train.steps=3"});
  check_failed_soon(outcome, {"step 2"});
  CHECK_FALSE(fs::exists(bench / "run/final"));
}

TEST_CASE("a full disk at a checkpoint ends the run with the system's reason", "[slow]") {
  const Workbench bench;
  const Training expected = bench.train("expected");
  fs::create_directory(bench / "disk");
  // Room for two checkpoints of 0.6 MB, and not for the third, which is written before the first is removed.
  if (!mount_small_disk(bench / "disk", "1700k")) {
    WARN("skipped: a small file system cannot be mounted here (" << std::strerror(errno) << ")");
    return;
  }
  const Outcome outcome = bench.run("disk/run");
  check_failed_soon(
      outcome, {"checkpoint writer", "cannot write", "disk/run/checkpoints/", "No space left on device"});
  CHECK(bench.checkpoints("disk/run") == std::vector<std::string>{"step-00000003", "step-00000006"});
  REQUIRE(::mount("tmpfs", (bench / "disk").c_str(), "tmpfs", MS_REMOUNT, "size=20m") == 0);
  check_resumable(bench, "disk/run", "step-00000006", expected);
  ::umount2((bench / "disk").c_str(), MNT_DETACH);
}

TEST_CASE("a limit on the size of files at a checkpoint ends the run with the system's reason") {
  const Workbench bench;
  const Training expected = bench.train("expected");
  REQUIRE(bench.run("run", {}, {}, "checkpoint.purge:2:kill").signal == SIGKILL);
  CommandOptions options = bench.options();
  options.file_size_limit = 200'000;
  const Outcome outcome = run_command(bench.run_arguments("run", {}, {"--resume"}), options);
  check_failed_soon(
      outcome, {"checkpoint writer", "cannot write", "run/checkpoints/step-00000009", std::strerror(EFBIG)});
  check_resumable(bench, "run", "step-00000006", expected);
}

TEST_CASE("a run folder that cannot be written is the user's error") {
  const Workbench bench;
  bench.write("run", "a file where the folder should be");
  check_refused(bench.run("run"), 2, {"run"});
}

}  // namespace collie::test
