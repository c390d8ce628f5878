// Workers and outboxes that write down what is asked of them, for tests of the cores.
#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

#include "runtime/stage_core.hpp"

namespace collie::test {

using Log = std::vector<std::string>;

// "0F1", "take activation from stage 0 to stage 1 of 1", ...
class RecordingWorker final : public StageWorker {
 public:
  explicit RecordingWorker(Log& log) : log_(log) {}
  bool at_once = true;  // whether outcomes are there when synchronize_step() returns
  std::function<void()> tell;
  std::string failure;  // of its device
  void begin(const Program& program) override { log_.push_back(fmt::format("begin {}", program.id)); }
  void compute(const Task& task) override { log_.push_back(to_string(task)); }
  Tensor take(const Channel& channel, int micro_batch) override {
    log_.push_back(fmt::format("take {} of {}", to_string(channel), micro_batch));
    return {};
  }
  void put(const Channel& channel, int micro_batch, Tensor) override {
    log_.push_back(fmt::format("put {} of {}", to_string(channel), micro_batch));
  }
  bool synchronize_step(std::function<void()> on_outcome_ready) override {
    log_.push_back("synchronize step");
    tell = std::move(on_outcome_ready);
    return at_once;
  }
  StepOutcome outcome() override { return {7.0, 2.5}; }
  void check() override {
    if (!failure.empty()) throw RunError("{}", failure);
  }
  void update() override { log_.push_back("update"); }
  std::vector<NamedValues> loss_values() override { return {{loss_sum_name, {5.5}}}; }
  std::vector<NamedValues> sample() override { return {{tokens_name, {42.0}}}; }
  bool gives_up() const override { return true; }
  void give_up() override { log_.push_back("give up"); }
  std::vector<CheckpointSlice> snapshot() override { return std::vector<CheckpointSlice>(2); }
  Communicated so_far{};  // what it has communicated
  Communicated communicated() const override { return so_far; }
  std::vector<uint64_t> peak_bytes() const override { return {1, 2}; }
  RankSummary summary() const override {
    RankSummary summary;
    summary.weight_elements = 11;
    return summary;
  }

 private:
  Log& log_;
};

class RecordingStageOutbox final : public StageOutbox {
 public:
  std::vector<std::pair<int, Payload>> payloads;
  std::vector<std::pair<int, Credit>> credits;
  std::vector<ProgramReply> replies;
  int rings = 0;  // of the outcome_notifier
  std::vector<ProgramDone> done;
  std::vector<SnapshotPart> snapshots;
  std::vector<RankStep> measures;

  void send(int rank, Payload payload) override { payloads.emplace_back(rank, std::move(payload)); }
  void send(int rank, Credit credit) override { credits.emplace_back(rank, credit); }
  void report(ProgramReply reply) override { replies.push_back(std::move(reply)); }
  void report(ProgramDone report) override { done.push_back(std::move(report)); }
  void measured(RankStep step) override { measures.push_back(std::move(step)); }
  void deliver(SnapshotPart part) override { snapshots.push_back(std::move(part)); }
  std::function<void()> outcome_notifier() override {
    return [this] { ++rings; };
  }
};

// What the assertion said; a test fails on the words of this where none was thrown.
template <class Call>
std::string assertion_of(const Call& call) {
  try {
    call();
  } catch (const std::logic_error& error) {
    return error.what();
  }
  return "(no assertion failed)";
}

}  // namespace collie::test
