// Starts the built collie-engine as a process of its own, watches it, and says what it left.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <csignal>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace collie::test {

// How much longer than on a common machine things may take: sanitizers are slow.
#ifdef COLLIE_SANITIZE
constexpr double patience = 10;
#else
constexpr double patience = 1;
#endif
constexpr double soon_s = 5 * patience;  // for what ought to be told at once

// How a process ended. Standard output and error are whole.
struct Outcome {
  std::string command;          // line
  int code = -1;                // exit status; -1 where a signal ended it
  int signal = 0;               // that ended it, or 0
  bool timed_out = false;       // it was killed by the harness
  bool left_processes = false;  // some of its process group outlived it (they are killed)
  double seconds = 0;           // wall
  std::string output, errors;

  // Everything a failing case should print.
  std::string report() const;
};

struct CommandOptions {
  std::string working_directory;                   // empty: this process's
  std::map<std::string, std::string> environment;  // on top of this process's, less COLLIE_ENGINE_*
  double timeout_s = 60;
  std::optional<uint64_t> file_size_limit;  // bytes; a write beyond it fails with EFBIG
  std::map<int, uint64_t> limits;           // of setrlimit(2), soft and hard
  std::optional<uint32_t> user;             // in whose name it runs; needs root
  std::string network;                      // a namespace of `ip netns`; empty: this process's
  // Of the process's standard descriptors: those that are closed, those that are a file, and those that are
  // one of this process's. What is written to them is not in the outcome.
  std::vector<int> closed;
  std::map<int, std::string> files;
  std::map<int, int> descriptors;
  std::vector<int> ignored_signals;
};

// One process. It is killed, with its group, where it is still running at the end of this object's life.
class Command {
 public:
  explicit Command(const std::vector<std::string>& arguments, const CommandOptions& options = {});
  ~Command();
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;

  void send(int signal) const;  // to the process alone
  pid_t process() const { return process_; }

  // Waits until `condition` holds or the process ends or `timeout_s` has passed; whether it held.
  bool wait_until(const std::function<bool()>& condition, double timeout_s = 20);
  bool running();
  std::string errors() const;  // so far

  // Waits for the end, at most the options' timeout from the start; kills after that.
  Outcome wait();

 private:
  using Clock = std::chrono::steady_clock;
  double age_s() const;
  bool sleep_until_end(double seconds);  // whether it has ended
  void reap(bool block);

  CommandOptions options_;
  Outcome outcome_;
  pid_t process_ = -1;
  int watch_ = -1, output_ = -1,
      errors_ = -1;  // descriptors: of the process (pidfd), of what it writes (memfd)
  Clock::time_point start_;
  bool ended_ = false;
};

Outcome run_command(const std::vector<std::string>& arguments, const CommandOptions& options = {});

// The text of a file; empty where there is none.
std::string text_of(const std::string& file);

}  // namespace collie::test
