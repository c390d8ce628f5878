// What is shown is never worth a run; what was asked for is delivered or an error.
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>

#include "tests/cli/workbench.hpp"

namespace collie::test {
namespace {

const Settings loud = {"monitor.console=plain", "eval.every_n_steps=1"};  // a line every step

Outcome run_with(const Workbench& bench, const std::string& dir, const CommandOptions& options) {
  return run_command(bench.run_arguments(dir, loud), options);
}

void check_whole(const Workbench& bench, const std::string& dir, const Outcome& outcome) {
  static const Training expected = Workbench().train("expected", loud);
  REQUIRE_CODE(outcome, 0);
  CHECK_SAME(expected, bench.training(dir));
  std::istringstream lines(text_of(bench / (dir + "/metrics.jsonl")));
  for (std::string line; std::getline(lines, line);) CHECK((line.front() == '{' && line.back() == '}'));
  CHECK(text_of(bench / (dir + "/.lock")).empty());
}

}  // namespace

TEST_CASE("a run whose standard descriptors are closed writes nothing of what it shows into its files") {
  const Workbench bench;
  for (const std::vector<int>& closed : {std::vector<int>{2}, {1, 2}, {0, 1, 2}, {0}}) {
    CommandOptions options = bench.options();
    options.closed = closed;
    const std::string dir = "run-" + std::to_string(closed.front()) + std::to_string(closed.size());
    check_whole(bench, dir, run_with(bench, dir, options));
  }
}

TEST_CASE("a run goes on though what it shows cannot be written, or nobody reads it") {
  const Workbench bench;
  CommandOptions options = bench.options();
  int ends[2] = {-1, -1};
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  SECTION("a full disk") {
    options.files[2] = "/dev/full";
  }
  SECTION("a reader that has gone") {
    ::close(std::exchange(ends[0], -1));
    options.descriptors[2] = ends[1];
  }
  SECTION("a reader that does not read") {
    REQUIRE(::fcntl(ends[1], F_SETFL, O_NONBLOCK) == 0);
    const std::string block(4096, '.');
    while (::write(ends[1], block.data(), block.size()) > 0) {
    }
    REQUIRE(::fcntl(ends[1], F_SETFL, 0) == 0);
    options.descriptors[2] = ends[1];
  }
  check_whole(bench, "run", run_with(bench, "run", options));
  for (const int end : ends)
    if (end >= 0) ::close(end);
}

TEST_CASE("the progress line fits a terminal of twenty columns; TERM=dumb gets plain lines") {
  const bool dumb = GENERATE(false, true);
  const Workbench bench;
  const int terminal = ::posix_openpt(O_RDWR | O_NOCTTY);
  REQUIRE(::grantpt(terminal) == 0);
  REQUIRE(::unlockpt(terminal) == 0);
  const int end = ::open(::ptsname(terminal), O_RDWR | O_NOCTTY | O_CLOEXEC);
  winsize size{};
  size.ws_col = 20;
  REQUIRE(::ioctl(terminal, TIOCSWINSZ, &size) == 0);
  CommandOptions options = bench.options();
  options.descriptors[2] = end;
  options.environment["TERM"] = dumb ? "dumb" : "xterm";
  options.environment["NO_COLOR"] = "1";
  Command command(bench.run_arguments("run", {"monitor.console=auto"}), options);
  std::string text;
  const auto read_all = [&] {
    char block[4096];
    pollfd there{terminal, POLLIN, 0};
    while (::poll(&there, 1, 20) > 0) {
      const ssize_t count = ::read(terminal, block, sizeof block);
      if (count <= 0) break;
      text.append(block, static_cast<size_t>(count));
    }
    return false;
  };
  command.wait_until(read_all, 60);
  const Outcome outcome = command.wait();
  read_all();
  ::close(end);
  ::close(terminal);
  INFO(text);
  CHECK(outcome.code == 0);
  CHECK_FALSE(has(text, "\033[3"));  // no colours
  if (dumb) {
    CHECK_FALSE(has(text, "\033"));
    return;
  }
  const std::string begin = "\r\033[Kstep ";
  REQUIRE(has(text, begin));
  for (size_t at = text.find(begin); at != std::string::npos; at = text.find(begin, at + 1)) {
    const size_t from = at + 4, to = std::min(text.find_first_of("\r\n", from), text.size());
    CHECK(to - from < 20);
  }
}

TEST_CASE("a result that cannot be written is an error; a reader that has seen enough is none worth a word") {
  const Workbench bench;
  bench.train("run", {"train.steps=1"});
  const std::vector<std::vector<std::string>> commands = {
      {"generate", "--model", "run/final", "--prompt", "the dog", "--max-new-tokens", "2"},
      {"eval", "config.yaml", "--set", "run.dir=run"},
      {"plan", "config.yaml", "--set", "run.dir=other"},
      {"schedule", "--name", "1f1b", "--stages", "2", "--microbatches", "4"},
      {"--help"},
  };
  for (const auto& arguments : commands) {
    CommandOptions options = bench.options();
    options.files[1] = "/dev/full";
    check_refused(run_command(arguments, options), 1, {"standard output", "No space left on device"});
    options = bench.options();
    options.closed = {1};
    check_refused(run_command(arguments, options), 1, {"standard output", "Bad file descriptor"});
    options = bench.options();
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    ::close(ends[0]);
    options.descriptors[1] = ends[1];
    const Outcome outcome = run_command(arguments, options);
    ::close(ends[1]);
    INFO(outcome.report());
    CHECK(outcome.code == 1);
    CHECK_FALSE(has(outcome.errors, "error"));
  }
}

}  // namespace collie::test
