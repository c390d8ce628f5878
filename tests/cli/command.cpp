#include "tests/cli/command.hpp"
#include "tests/paths.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "tests/secret.hpp"

extern char** environ;

namespace collie::test {
namespace {

constexpr int cannot_start = 127;

std::string contents(int descriptor) {
  std::string text;
  char block[65536];
  for (ssize_t count = 0;
       (count = ::pread(descriptor, block, sizeof(block), static_cast<off_t>(text.size()))) > 0;)
    text.append(block, static_cast<size_t>(count));
  return text;
}

std::string engine_binary() {
  const auto bundle = bundle_folder();
  return bundle ? (*bundle / "bin/collie-engine").string() : COLLIE_ENGINE_BINARY;
}

int checked(int result, const char* what) {
  if (result < 0) throw std::runtime_error(fmt::format("{}: {}", what, std::strerror(errno)));
  return result;
}

std::vector<std::string> environment_of(const CommandOptions& options) {
  std::vector<std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry, name = text.substr(0, text.find('='));
    if (!name.starts_with("COLLIE_ENGINE_") && options.environment.count(name) == 0) all.push_back(text);
  }
  if (options.environment.count("COLLIE_ENGINE_SECRET") == 0)
    all.push_back(std::string("COLLIE_ENGINE_SECRET=") + test_secret);
  for (const auto& [name, value] : options.environment) all.push_back(name + "=" + value);
  return all;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> all;
  for (auto& text : texts) all.push_back(text.data());
  all.push_back(nullptr);
  return all;
}

// In the child, between fork and exec: nothing here allocates.
[[noreturn]] void become(char** arguments, char** environment, const CommandOptions& options, int output,
                         int errors, int network) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (options.file_size_limit) {
    const rlimit limit{*options.file_size_limit, *options.file_size_limit};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    ::signal(SIGXFSZ, SIG_IGN);
  }
  for (const int signal : options.ignored_signals) ::signal(signal, SIG_IGN);
  const int null = ::open("/dev/null", O_RDONLY);
  const bool ready = (network < 0 || ::setns(network, CLONE_NEWNET) == 0) && ::dup2(null, 0) == 0 &&
                     ::dup2(output, 1) == 1 && ::dup2(errors, 2) == 2 &&
                     (options.working_directory.empty() || ::chdir(options.working_directory.c_str()) == 0);
  bool as_asked = true;
  for (const auto& [descriptor, file] : options.files)
    as_asked = as_asked && ::dup2(::open(file.c_str(), O_WRONLY | O_CLOEXEC), descriptor) == descriptor;
  for (const auto& [descriptor, own] : options.descriptors)
    as_asked = as_asked && ::dup2(own, descriptor) == descriptor;
  for (const int descriptor : options.closed) ::close(descriptor);
  for (const auto& [resource, value] : options.limits) {
    const rlimit limit{value, value};
    as_asked = as_asked && ::setrlimit(static_cast<__rlimit_resource>(resource), &limit) == 0;
  }
  if (options.user) as_asked = as_asked && ::setgid(*options.user) == 0 && ::setuid(*options.user) == 0;
  if (ready && as_asked) ::execve(arguments[0], arguments, environment);
  ::_exit(cannot_start);
}

std::string indented(const std::string& text) {
  constexpr size_t most = 6000;
  std::istringstream lines(text.size() > most ? "...\n" + text.substr(text.size() - most) : text);
  std::string all;
  for (std::string line; std::getline(lines, line);) all += "    " + line + "\n";
  return all.empty() ? "    (nothing)\n" : all;
}

}  // namespace

std::string Outcome::report() const {
  return fmt::format("{}\n  {} after {:.2f} s{}{}\n  standard output:\n{}  standard error:\n{}", command,
                     signal != 0 ? fmt::format("signal {}", signal) : fmt::format("exit code {}", code),
                     seconds, timed_out ? ", killed: it took too long" : "",
                     left_processes ? ", leaving processes behind" : "", indented(output), indented(errors));
}

Command::Command(const std::vector<std::string>& arguments, const CommandOptions& options)
    : options_(options) {
  std::vector<std::string> words = {engine_binary()};
  words.insert(words.end(), arguments.begin(), arguments.end());
  for (const auto& [name, value] : options.environment)
    outcome_.command += fmt::format("{}={} ", name, value);
  outcome_.command += "collie-engine";
  for (const auto& argument : arguments) outcome_.command += fmt::format(" '{}'", argument);
  std::vector<std::string> variables = environment_of(options);
  const std::vector<char*> argv = pointers(words), envp = pointers(variables);

  output_ = checked(::memfd_create("output", MFD_CLOEXEC), "memfd_create");
  errors_ = checked(::memfd_create("errors", MFD_CLOEXEC), "memfd_create");
  const std::string place = "/run/netns/" + options.network;
  const int network = options.network.empty()
                          ? -1
                          : checked(::open(place.c_str(), O_RDONLY | O_CLOEXEC), "network namespace");
  start_ = Clock::now();
  process_ = checked(::fork(), "fork");
  if (process_ == 0)
    become(const_cast<char**>(argv.data()), const_cast<char**>(envp.data()), options_, output_, errors_,
           network);
  if (network >= 0) ::close(network);
  ::setpgid(process_, process_);  // whoever of the two comes first
  watch_ = checked(static_cast<int>(::syscall(SYS_pidfd_open, process_, 0)), "pidfd_open");
}

Command::~Command() {
  if (!ended_) {
    ::kill(-process_, SIGKILL);
    reap(true);
  }
  for (const int descriptor : {watch_, output_, errors_}) ::close(descriptor);
}

double Command::age_s() const {
  return std::chrono::duration<double>(Clock::now() - start_).count();
}

void Command::send(int signal) const {
  ::kill(process_, signal);
}

std::string Command::errors() const {
  return contents(errors_);
}

void Command::reap(bool block) {
  int status = 0;
  if (ended_ || ::waitpid(process_, &status, block ? 0 : WNOHANG) != process_) return;
  ended_ = true;
  outcome_.seconds = age_s();
  outcome_.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  outcome_.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  outcome_.left_processes = ::kill(-process_, SIGKILL) == 0;
  outcome_.output = contents(output_);
  outcome_.errors = contents(errors_);
}

// In slices: a process of many threads has been seen to end without its descriptor saying so.
bool Command::sleep_until_end(double seconds) {
  constexpr double slice_s = 0.2;
  const double end_s = age_s() + seconds;
  while (!ended_) {
    const double left_s = std::max(0.0, end_s - age_s());
    pollfd watch{watch_, POLLIN, 0};
    const bool says_so = ::poll(&watch, 1, static_cast<int>(std::min(left_s, slice_s) * 1000)) > 0;
    reap(says_so);
    if (left_s <= slice_s) break;
  }
  return ended_;
}

bool Command::running() {
  return !sleep_until_end(0);
}

bool Command::wait_until(const std::function<bool()>& condition, double timeout_s) {
  const double end_s = age_s() + timeout_s * patience;
  while (age_s() < end_s) {
    if (condition()) return true;
    if (sleep_until_end(0.001)) return condition();
  }
  return false;
}

Outcome Command::wait() {
  if (!sleep_until_end(options_.timeout_s * patience - age_s())) {
    outcome_.timed_out = true;
    ::kill(-process_, SIGKILL);
    reap(true);
  }
  return outcome_;
}

Outcome run_command(const std::vector<std::string>& arguments, const CommandOptions& options) {
  return Command(arguments, options).wait();
}

std::string text_of(const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

}  // namespace collie::test
