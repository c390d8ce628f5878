// A folder with everything a small training run needs, and what such runs leave: to be compared bit by bit.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tests/catch.hpp"
#include "tests/cli/command.hpp"

namespace collie::test {

using Settings = std::vector<std::string>;  // "key.path=value", as --set takes them

Settings operator+(Settings all, const Settings& more);
inline const Settings four_stages = {"parallel.pp_size=4"}, endless = {"train.steps=100000"};
// A model from a folder instead of the workbench's own.
inline Settings from_model(const std::string& folder) {
  return {"model.path=" + folder, "model.from_scratch=false", "model.config={}", "tokenizer.kind=auto"};
}

// What a finished run leaves. The texts of metrics.jsonl are kept as they stand: numbers are compared as
// text.
struct Training {
  std::vector<std::map<std::string, std::string>> steps;  // the keys that must repeat; eval_loss where it ran
  std::string weights;  // bytes of final/model.safetensors; empty: not there
};

// Empty where both are the same bit by bit, otherwise the first step and number, or tensor byte, that differ.
std::string first_difference(const Training& expected, const Training& found);

class Workbench {
 public:
  Workbench();  // on a file system in memory where there is one: runs sync their files often
  ~Workbench();
  Workbench(const Workbench&) = delete;
  Workbench& operator=(const Workbench&) = delete;

  std::string operator/(const std::string& name) const { return folder_ + "/" + name; }
  std::string write(const std::string& name, const std::string& text) const;

  // `collie-engine run config.yaml` with run.dir=DIR; working directory: the folder. Two blocks of words
  // follow it:
  // --set KEY=VALUE for each of `settings`, and `flags`.
  std::vector<std::string> run_arguments(const std::string& dir, const Settings& settings = {},
                                         const std::vector<std::string>& flags = {}) const;
  CommandOptions options(const std::string& failpoint = "") const;
  Outcome run(const std::string& dir, const Settings& settings = {},
              const std::vector<std::string>& flags = {}, const std::string& failpoint = "") const;
  Outcome resume(const std::string& dir, const Settings& settings = {},
                 const std::string& failpoint = "") const {
    return run(dir, settings, {"--resume"}, failpoint);
  }
  // Any other sub-command.
  Outcome command(const std::vector<std::string>& arguments) const {
    return run_command(arguments, options());
  }

  Training training(const std::string& dir) const;  // what there is so far
  // run(), which must succeed, and what it left.
  Training train(const std::string& dir, const Settings& settings = {}) const;

  int64_t steps_done(const std::string& dir) const;  // complete lines of metrics.jsonl
  std::vector<std::string> checkpoints(
      const std::string& dir) const;  // names of folders, sorted; partial ones too
  // Every file below, with its time of change and contents.
  std::map<std::string, std::string> everything(const std::string& dir) const;
  // A copy of a run's folder, to be gone on with in different ways.
  void copy(const std::string& from, const std::string& to) const;

 private:
  std::string folder_;
};

// Empty where both are the same, otherwise the first file that differs.
std::string first_change(const std::map<std::string, std::string>& before,
                         const std::map<std::string, std::string>& now);

// One message on standard error, an error with all of `parts`, nothing on standard output, exit code `code`.
void check_refused(const Outcome& outcome, int code, const std::vector<std::string>& parts);

inline bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace collie::test

// The process did as it should; prints all it said where it did not.
#define REQUIRE_CODE(outcome, expected)                            \
  do {                                                             \
    const ::collie::test::Outcome& outcome_of_process = (outcome); \
    INFO(outcome_of_process.report());                             \
    REQUIRE(outcome_of_process.code == (expected));                \
    REQUIRE_FALSE(outcome_of_process.left_processes);              \
  } while (false)

namespace collie::test {
inline void require_done(const Outcome& outcome) {
  REQUIRE_CODE(outcome, 0);
}
}  // namespace collie::test

#define CHECK_UNCHANGED(before, now)                                      \
  do {                                                                    \
    const std::string change = ::collie::test::first_change(before, now); \
    CHECK(change == "");                                                  \
  } while (false)

#define CHECK_SAME(expected, found)                                                   \
  do {                                                                                \
    const std::string difference = ::collie::test::first_difference(expected, found); \
    CHECK(difference == "");                                                          \
  } while (false)
