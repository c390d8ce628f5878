// A trainer's core on which tests play the ranks, the loader, the writer and the monitor.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "runtime/trainer_core.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"
#include "tests/runtime/recorders.hpp"

namespace collie::test {

constexpr RunTag tag{7, 1};

inline std::string word_for(const ProgramKind& kind) {
  if (kind == training_program) return "train";
  if (kind == estimate_program) return "estimate";
  if (kind == norm_program) return "norm";
  if (kind == evaluation_program) return "evaluate";
  if (kind == generation_program) return "generate";
  return kind == release_program ? "release" : "snapshot";
}

// Writes down what the trainer asks for: "batch 1", "train 1" (a program), "snapshot program 2", ...
class RecordingTrainerOutbox final : public TrainerOutbox {
 public:
  Log log;
  double clock = 0;
  std::vector<ProgramPtr> programs;
  std::vector<StepFinished> records;
  std::vector<SnapshotExpected> snapshots;
  std::vector<std::string> warnings;
  std::vector<RunEnded> ends;

  double now_s() override { return clock; }
  void request_batch(int64_t step) override { log.push_back(fmt::format("batch {}", step)); }
  void broadcast(ProgramPtr program) override {
    log.push_back(fmt::format("{} {}", word_for(program->kind), program->step));
    programs.push_back(std::move(program));
  }
  void give_up(uint64_t program) override { log.push_back(fmt::format("give up {}", program)); }
  void cut() override { log.push_back("cut"); }
  void evaluate(int64_t step) override { log.push_back(fmt::format("evaluation {}", step)); }
  void generate() override { log.push_back("generation"); }
  void answer(const ProgramReply& reply) override {
    for (const NamedValues& named : reply.values)
      log.push_back(fmt::format("{} {} for {} {}", named.name, static_cast<double>(named.values.at(0)),
                                reply.request.requester, reply.request.number));
  }
  void expect_snapshot(const SnapshotExpected& expected) override {
    log.push_back(
        fmt::format("expect {} at {}{}", expected.step, expected.position, expected.final ? " final" : ""));
    snapshots.push_back(expected);
  }
  void record(const StepFinished& step) override {
    log.push_back(fmt::format("record {}", step.step));
    records.push_back(step);
  }
  void trace(const ProgramDone&) override { log.push_back("trace"); }
  void announce(const EvaluationFinished& evaluation) override {
    log.push_back(fmt::format("evaluated {}", evaluation.step));
  }
  void announce(const CheckpointSaved& checkpoint) override {
    log.push_back(fmt::format("saved {}", checkpoint.step));
  }
  void warn(const std::string& what) override { warnings.push_back(what); }
  void end(RunEnded outcome) override {
    log.push_back("end");
    ends.push_back(std::move(outcome));
  }
};

struct ScriptedCallback final : Callback {
  std::function<bool(const StepFinished&)> step = [](const StepFinished&) { return false; };  // true: stop
  std::function<void(const EvaluationFinished&)> evaluation = [](const EvaluationFinished&) {};
  void on_step(const StepFinished& finished) override {
    if (step(finished)) run().stop("scripted");
  }
  void on_evaluation(const EvaluationFinished& finished) override { evaluation(finished); }
};

inline TrainerSettings two_ranks(int64_t total_steps) {
  TrainerSettings settings;
  settings.tag = tag;
  settings.layout.grid.pipeline = settings.layout.stages = 2;
  settings.layout.rank_of_stage = {0, 1};
  settings.total_steps = total_steps;
  settings.cadence.epochs_done = [](int64_t position) {
    return EpochsDone{position / 12, position % 12 == 0};
  };
  settings.learning_rate = 0.5;
  settings.schedule = [](int64_t step, int64_t total) {
    return static_cast<double>(step) / static_cast<double>(total);
  };
  return settings;
}

// A trainer core and everybody it talks to, who answer when the test says so.
struct Run {
  explicit Run(const TrainerSettings& s, std::unique_ptr<Callback> callback = nullptr)
      : settings(s), core(s, callbacks_of(std::move(callback)), outbox) {}

  static std::vector<NamedCallback> callbacks_of(std::unique_ptr<Callback> callback) {
    std::vector<NamedCallback> all;
    if (callback) all.push_back({"scripted", std::move(callback)});
    return all;
  }

  void ready(bool gives_up = false) {
    for (int rank = 0; rank < 2; ++rank) core.ready({tag, rank, gives_up});
  }
  // A step of four sequences and ten targets.
  void batch(int64_t step, const RunTag& from = tag, int64_t targets = 10) {
    auto batch = std::make_shared<StepBatch>();
    batch->step = step;
    batch->position = 4 * (step - 1);
    batch->next_position = 4 * step;
    batch->epoch = (step - 1) / 3;
    batch->global_target_tokens = targets;
    batch->micro_batches.resize(2);
    core.batch({from, 0, batch});
  }
  void stepped(double loss_sum = 25, double norm = 4, const RunTag& from = tag) {
    uint64_t program = 0;
    for (const auto& asked : outbox.programs)
      if (asked->kind == training_program) program = asked->id;
    core.reply({from, program, {}, 0, 0, {{loss_sum_name, {loss_sum}}, {gradient_norm_name, {norm}}}});
  }
  // A request of so many micro-batches.
  ProgramRequest request_of(const std::string& requester, uint64_t number, const ProgramKind& kind,
                            size_t micro_batches = 2) const {
    ProgramRequest request;
    request.tag = tag;
    request.request = {requester, number};
    request.kind = kind;
    auto batch = std::make_shared<StepBatch>();
    batch->micro_batches.resize(micro_batches);
    request.batch = std::move(batch);
    return request;
  }
  void ask(const std::string& requester, uint64_t number = 1, const ProgramKind& kind = evaluation_program) {
    core.request(request_of(requester, number, kind));
  }
  // The reply to a program that was asked for.
  void reply(const Program& program, const std::string& name, double value, const RunTag& from = tag) {
    core.reply({from, program.id, program.request, program.step, 0, {{name, {value}}}});
  }
  void done(uint64_t program, const RunTag& from = tag) {
    for (int rank = 0; rank < 2; ++rank) {
      ProgramDone report;
      report.tag = from;
      report.rank = rank;
      report.program = program;
      report.busy_s = 1.5;
      report.summary.current_total_bytes = 100;
      core.done(report);
    }
  }
  void last_done() { done(outbox.programs.back()->id); }
  void done_by(int rank, uint64_t program, bool given_up) {
    ProgramDone report;
    report.tag = tag;
    report.rank = rank;
    report.program = program;
    report.given_up = given_up;
    core.done(report);
  }
  void step(int64_t number) {
    batch(number);
    stepped();
    last_done();
    recorded(number);
  }
  void evaluated(int64_t step, double loss = 2) { core.evaluated({tag, step, 100, loss, std::exp(loss)}); }
  void recorded(int64_t step) { core.recorded({tag, step}); }
  void written(int64_t step) { core.written({tag, step, "folder"}); }
  // What has been asked for since the last call.
  Log news() { return std::exchange(outbox.log, {}); }

  TrainerSettings settings;
  RecordingTrainerOutbox outbox;
  TrainerCore core;
};

// Nine steps, each with an evaluation and a checkpoint.
inline TrainerSettings everything_every_step() {
  TrainerSettings settings = two_ranks(9);
  settings.cadence.has_evaluation = true;
  settings.cadence.evaluate_every = settings.cadence.checkpoint_every = 1;
  return settings;
}

// Answers whatever the core asks for, until it asks for nothing. What it has asked for in the log is not
// answered yet; of the programs, those from `first_program` on are not.
inline void answer_all(Run& run, size_t first_program = 0) {
  run.ready();
  for (int round = 0; round < 100 && !run.core.ended(); ++round) {
    for (; first_program < run.outbox.programs.size(); ++first_program) {
      const ProgramPtr program = run.outbox.programs[first_program];
      if (program->kind == training_program) run.stepped();
      run.done(program->id);
      if (program->kind == snapshot_program) run.written(program->step);
    }
    for (const auto& line : run.news()) {
      int64_t step = 0;
      if (std::sscanf(line.c_str(), "batch %ld", &step) == 1) run.batch(step);
      if (std::sscanf(line.c_str(), "evaluation %ld", &step) == 1) run.evaluated(step);
      if (std::sscanf(line.c_str(), "record %ld", &step) == 1) run.recorded(step);
    }
  }
}

}  // namespace collie::test
