// The rules of a run: which program comes next, and how each step ends. This file uses no CAF, no clocks and
// no files.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "optim/optimizer.hpp"
#include "runtime/cadence.hpp"
#include "runtime/callback.hpp"
#include "runtime/events.hpp"
#include "runtime/messages.hpp"
#include "runtime/step_meter.hpp"

namespace collie {

enum class Purpose : uint8_t { train, evaluate, generate };

// How a run's steps are made of programs.
struct StepPasses {
  bool fuses = false;          // layers are updated inside backward (optimizer.fused_update)
  double clip_grad_norm = 0;   // 0: no clipping
  bool clips_by_last = false;  // a fused update clips by the norm of the step before, not by its own

  // The programs of a step, but for an estimate. With several micro-batches gradients stand whole anyway, and
  // the norm is known before the update.
  std::vector<ProgramKind> of_step(size_t micro_batches) const;
};

struct TrainerSettings {
  RunTag tag;
  Purpose purpose = Purpose::train;
  Layout layout;
  int64_t done_steps = 0, total_steps = 0;  // a resumed run starts after its checkpoint's step
  int64_t done_position = 0;                // sequences that those steps consumed
  int64_t done_without_targets = 0;         // those of the steps whose batch had no targets
  int64_t done_skipped = 0;                 // those that updated nothing, by a callback's wish
  nlohmann::json callback_states = {};      // of the checkpoint: what callbacks have kept, by name
  // Says which data sequences [from, to) of the run are, for people.
  std::function<std::string(int64_t from, int64_t to)> describe_data = {};
  // Whether the optimizer estimates the curvature before the update of that number, from 1.
  std::function<bool(int64_t update)> estimate_due = [](int64_t) { return false; };
  // The last step whose estimate the states have. It is the one after done_steps if the run was interrupted
  // between a step's estimate and its update; the estimate is not made again then.
  int64_t estimated_step = 0;
  StepPasses passes;
  std::vector<std::string> parameters;  // trained ones in canonical order, for messages
  double last_norm = 0;                 // of the last of done_steps; 0: of none
  Cadence cadence;
  // The record of the last of `done_steps`, if there is one. If it has no evaluation although one is due, the
  // run makes up for it.
  std::optional<StepFinished> last_record;
  std::string best_metric = "eval_loss";  // what checkpoints are compared by (evaluated_value())
  bool higher_is_better = false;          // of its values
  std::optional<double> last_evaluation;  // its value after done_steps, as the checkpoint has it
  std::vector<double> best_evaluations;   // of the checkpoints that exist, comparable with those to come
  double learning_rate = 0;               // at its highest, for the records
  LearningRateSchedule schedule;
  std::vector<UpdateMemory> memory;  // of each parameter group, after done_steps
  // What update `update` adds to it.
  std::function<void(std::vector<UpdateMemory>& memory, double lr_factor, int64_t update)> remember;
  int monitor_credits = 64;  // how many step records the monitor may lag behind
  MeterSettings meter{};
  // The floating-point operations that the model needs for a step on these batches of its replicas, where
  // that is known (plan/model_work.hpp).
  std::function<double(const std::vector<std::shared_ptr<const StepBatch>>&)> work = {};
};

class TrainerOutbox {
 public:
  virtual ~TrainerOutbox() = default;
  virtual double now_s() = 0;
  // What this process takes of its machine; nothing if it was said a moment ago.
  virtual std::optional<ProcessUse> process_use() { return std::nullopt; }
  virtual void request_batch(int64_t step) = 0;
  virtual void broadcast(ProgramPtr program) = 0;
  // Tells all ranks to give up `program` and those behind it (StageCore::give_up). told() is called when all
  // ranks have heard it.
  virtual void give_up(uint64_t program) = 0;
  // Aborts the ranks' communication, because some ranks may wait for others that have given up.
  virtual void cut() = 0;
  virtual void evaluate(int64_t step) = 0;
  virtual void generate() = 0;
  virtual void answer(const ProgramReply& reply) = 0;  // to its requester
  // The snapshot's parts are about to reach the writer.
  virtual void expect_snapshot(const SnapshotExpected& expected) = 0;
  virtual void record(const StepFinished& step) = 0;  // to the monitor, which acknowledges
  virtual void trace(const ProgramDone& done) = 0;
  virtual void announce(const EvaluationFinished& evaluation) = 0;
  virtual void announce(const CheckpointSaved& checkpoint) = 0;
  virtual void warn(const std::string& what) = 0;  // message for people
  virtual void end(RunEnded outcome) = 0;          // called once
};

class TrainerCore final : private RunControl {
 public:
  TrainerCore(TrainerSettings settings, std::vector<NamedCallback> callbacks, TrainerOutbox& outbox);
  // Callbacks know its place.
  TrainerCore(const TrainerCore&) = delete;
  TrainerCore& operator=(const TrainerCore&) = delete;

  // Inputs. The core drops inputs of another run or generation, and drops all inputs once the run has ended.
  void ready(const RankReady& ready);
  void batch(BatchReady ready);
  void reply(const ProgramReply& reply);
  void done(const ProgramDone& done);
  void measured(const RankStep& step);
  // Programs that others ask for are inserted between steps, in the order in which the requests came. While a
  // step is computed they wait, because what follows a step that was given up cannot run. Each requester has
  // one request until it is answered, so all of them get their turn between two steps. A request is dropped
  // if the run is about to end.
  void request(ProgramRequest request);
  void evaluated(const EvaluationFinished& evaluation);
  void generated(const GenerationFinished& finished);
  void written(const SnapshotWritten& written);
  void recorded(const StepRecorded& recorded);
  void fail(const Failure& failure);
  // stopped: the run ends after the step that is being computed. interrupted: it ends at once, and the ranks
  // give up the running step or evaluation if they can.
  void stop(RunStatus why);
  void told();  // all ranks have heard of TrainerOutbox::give_up()
  void save();  // writes a checkpoint after the step that is being computed

  bool ended() const { return phase_ == Phase::ended; }
  // Whether ranks are at work, or are not ready for work yet. To end them now is to interrupt them.
  bool ranks_at_work() const;
  int64_t step() const { return step_; }
  // What the run is waiting for outside its ranks, for the watchdog. Empty while ranks are at work.
  std::string waiting_for() const;
  const std::vector<RankSummary>& summaries() const { return summaries_; }
  const std::vector<double>& busy_seconds() const { return busy_s_; }
  // What ranks did in one step that is no longer the first; [ranks], empty before that step.
  const std::vector<ProgramDone>& traced() const { return traced_; }
  int64_t traced_step() const;
  // Seconds since all ranks were ready; 0 before that.
  double running_seconds() const { return started_s_ ? outbox_.now_s() - *started_s_ : 0.0; }

 private:
  struct MadeTasks {
    ProgramKind kind;
    int micro_batches = 0;
    std::shared_ptr<const TaskLists> lists;
    std::vector<int> activation_limits;
  };
  enum class Phase {
    starting,   // waits until every rank is ready
    batch,      // waits for the step's batch
    computing,  // waits for the step's report
    evaluating,
    recording,  // waits for the monitor, before a snapshot or when the monitor lags too far behind
    saving,     // waits until the writer is free for the next snapshot
    finishing,  // waits for the last snapshot and the ranks
    generating,
    ended,
  };

  // A program that ranks have and that not all are done with.
  struct Outstanding {
    int ranks = 0;         // that are not done
    bool awaited = false;  // the program of a step, or of the evaluation that the run waits for
    bool counts = false;   // it is not given up: a snapshot, or a step that has been synchronised
    bool given_up = false;
    bool traced = false;
  };
  // A program of a requester that has not been answered.
  struct Asked {
    ProgramKind kind;
    std::map<int, ProgramReply> replies;  // by rank
  };

  bool evaluate_first();
  void evaluate();
  bool last_evaluation_due() const;
  void evaluate_last();
  bool is_better(double a, double b) const;
  void rank_evaluation(double value);
  void begin_step();
  void compute_step();
  void submit_pass();
  StepBounds bounds() const;
  void reject(const ProgramKind& kind, const ProgramReply& reply);
  void fail_not_finite(const ProgramKind& kind, const RejectedStep& rejected);
  std::string where(const ProgramReply& reply) const;
  void skip_step(const RejectedStep& rejected);
  void pass_over_step();
  double lr_factor_of(int64_t step) const;
  bool call_back(const std::function<void(Callback& callback)>& call);
  void initialise_callbacks();
  bool begin_training();
  bool begin_callbacks_step();
  bool end_callbacks_epoch();
  bool end_callbacks_training();
  std::string states_of_callbacks() const;
  // RunControl
  void stop(const std::string& why) override;
  void save_checkpoint() override { save(); }
  void warn(const std::string& what) override { outbox_.warn(what); }
  double running_s() const override { return running_seconds(); }

  void record_step(std::optional<double> loss, double norm);
  void record_measures();
  void finish_step();
  void after_evaluation();
  void save_or_continue();
  void snapshot(bool final);
  void finish_if_idle();
  void end(RunStatus status, int exit_code, const std::string& message);

  void interrupt();
  void give_up();
  void cut_if_due();
  void awaited_given_up();
  void step_given_up();
  void evaluation_given_up();
  static bool is_awaited(const Program& program);
  static bool is_answered(const Program& program);
  void stepped(const ProgramReply& reply);
  bool takes_requests() const;
  void insert_requests();
  void drop_request(const Request& request);
  bool interrupted() const { return stop_ == RunStatus::interrupted; }
  bool last_step() const { return step_ >= settings_.total_steps || stop_.has_value(); }
  bool evaluation_due() const;
  bool checkpoint_due() const;
  void submit(Program program);
  void release_programs();
  void keep_trace(const ProgramDone& done);
  void add_tasks(Program& program, int micro_batches);
  bool stale(const RunTag& tag) const { return ended() || !(tag == settings_.tag); }

  TrainerSettings settings_;
  std::vector<NamedCallback> callbacks_;
  TrainerOutbox& outbox_;
  bool initialised_ = false, training_ended_ = false;  // whether callbacks know
  int64_t epoch_begun_ = -1;
  StepLimits limits_;  // of the step that is being computed

  Phase phase_ = Phase::starting;
  int64_t step_ = 0;                       // the step that is being computed, or the last one computed
  int64_t position_ = 0;                   // sequences consumed after step_
  int64_t steps_without_targets_ = 0;      // up to step_
  int64_t skipped_steps_ = 0;              // up to step_: those that updated nothing, by a callback's wish
  int64_t estimated_step_ = 0;             // the last step whose estimate the states have
  std::vector<UpdateMemory> memory_;       // after the last step whose outcome is known
  std::vector<UpdateMemory> next_memory_;  // after the step that is being computed
  std::optional<RunStatus> stop_;
  using ReplicaBatches = std::vector<std::shared_ptr<const StepBatch>>;  // [replicas]; null: not arrived
  bool batches_of_next_step_are_there() const;
  std::map<int64_t, ReplicaBatches> batches_;  // by step; at most two
  ReplicaBatches batch_;                       // of step_
  std::optional<double> started_s_;
  double step_started_s_ = 0;

  std::vector<bool> rank_ready_;
  bool ranks_give_up_ = true;
  StepMeter meter_;
  std::vector<DoubleBits> group_norms_;  // of the step that is being recorded; empty: there are no groups
  StepFinished record_;
  int64_t recorded_step_ = 0;
  int64_t saved_step_ = -1;  // the last snapshot that was requested
  double last_saved_s_ = 0;  // when that was, or the start
  bool writer_busy_ = false;
  bool final_saved_ = false;
  bool save_asked_ = false;
  int64_t sent_step_ = 0;             // the last step whose record is on its way to the monitor
  int64_t evaluated_step_ = -1;       // the last step that was evaluated; 0: before the first
  std::optional<double> evaluation_;  // settings_.best_metric after step_, if it is known and finite
  std::vector<double> best_;          // of the best checkpoints, the best first; at most as many as are kept
  bool better_ = false;               // step_ is one of the best, and is not saved yet

  uint64_t next_program_ = 1;
  std::deque<Program> waiting_programs_;  // wait until a rank has room, and get their id then
  std::map<uint64_t, Outstanding> outstanding_;
  bool step_in_flight_ = false;     // the program of a step is submitted and its outcome is not known
  std::deque<ProgramKind> passes_;  // of the step, from the one that is computed on
  double last_norm_ = 0;            // of the last step that had one
  double clip_norm_ = 0;            // by which the step's fused update clips; 0: it does not
  // The first program that the ranks were told to give up; 0: none. Once one rank has given up before the
  // step is synchronised, no rank can get past the synchronisation. So either all ranks finish the step or
  // none does.
  uint64_t giving_up_ = 0;
  bool told_ = false, cut_ = false;

  static constexpr size_t max_requesters = 64;
  std::deque<ProgramRequest> requests_;  // wait for the end of the step
  std::set<std::string> requesters_;     // those with a request that is not answered
  std::map<uint64_t, Asked> asked_;      // by program

  std::vector<MadeTasks> made_tasks_;  // a few: the last batch of an epoch or an evaluation may be smaller

  std::vector<RankSummary> summaries_;
  std::vector<double> busy_s_;
  std::vector<ProgramDone> traced_;
};

}  // namespace collie
