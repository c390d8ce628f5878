// The rules of a stage: tasks run in static order, and each runs as soon as its inputs are there. This file
// uses no CAF, no threads and no maths.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <utility>

#include "runtime/messages.hpp"
#include "runtime/rank_status.hpp"
#include "runtime/stage_worker.hpp"

namespace collie {

// The outbox sends a stage's messages.
class StageOutbox {
 public:
  virtual ~StageOutbox() = default;
  virtual void send(int rank, Payload payload) = 0;
  virtual void send(int rank, Credit credit) = 0;
  virtual void report(ProgramReply reply) = 0;
  virtual void report(ProgramDone done) = 0;
  virtual void measured(RankStep /*step*/) {}   // for the monitor
  virtual void deliver(SnapshotPart part) = 0;  // to the checkpoint writer
  // Returns a function that makes the core's owner call on_outcome_ready() soon. Any thread may call it.
  virtual std::function<void()> outcome_notifier() = 0;
};

struct StageSettings {
  RunTag tag;
  int rank = 0;
  std::vector<int> rank_of_stage;  // [stages] pipeline positions
  int credits = 1;                 // of each channel; the receiver's slots
  bool trace = false;
  std::vector<int> pipeline{};  // [positions] the ranks of this pipeline; empty: rank i is at position i
  bool is_reporter = true;      // reports for its tensor group the values that all ranks of the group know
};

class StageCore {
 public:
  // At most two programs are outstanding at any time: the running one and the next.
  static constexpr size_t max_queued_programs = 2;

  // The core writes `status` for the watchdog. Worker, outbox and status must outlive the core.
  StageCore(StageSettings settings, StageWorker& worker, StageOutbox& outbox, RankStatus& status);

  // Inputs. The core drops inputs of another run or generation.
  void enqueue(ProgramPtr program);
  void arrive(Payload payload);
  void credit(const Credit& credit);
  // The outcome of the synchronised step is there.
  void on_outcome_ready();
  // Whether on_outcome_ready() is still to be called. Until then check() throws any failure that would keep
  // the call from ever coming.
  bool awaits_outcome() const { return awaited_ != nullptr; }
  void check() { worker_.check(); }

  // The rank stops before its next task of this program and of those behind it, now or when they start, and
  // drops what it has computed for them. But if all ranks have synchronised a program's step, the step is
  // finished; and snapshots, which need no other rank, are always made.
  void give_up(uint64_t program);
  // Does the same after a task of the running program has thrown. Returns false if the running program is not
  // `program` or behind it, or is not given up.
  bool give_up_running(uint64_t program);

  // Returns the next task of the list if its inputs are there.
  std::optional<Task> ready();
  // Executes the task that ready() returned.
  void execute();

 private:
  struct ArrivalKey {
    uint64_t program;
    Channel channel;
    int micro_batch;
    auto operator<=>(const ArrivalKey&) const = default;
  };

  const Task& current() const;
  const std::vector<Task>& list() const;
  int rank_of(int stage) const;
  Channel channel_of(const Task& task) const;
  bool inputs_present(const Task& task) const;
  RankStatus::Activity activity_of(RankStatus::Phase phase, const Task& task) const;
  void start_next_program();
  void run(const Task& task);
  bool is_measured() const;
  void report_measures();
  void synchronize_step();
  void report_outcome();
  void reply(const Program& program, std::vector<NamedValues> values);
  void send_payload(const Task& task);
  void receive_payload(const Task& task);
  bool given_up_with(uint64_t program) const;
  void drop_running();
  void finish_program(bool given_up = false);
  bool stale(const RunTag& tag) const { return !(tag == settings_.tag); }

  StageSettings settings_;
  size_t position_in_pipeline_ = 0;
  StageWorker& worker_;
  StageOutbox& outbox_;
  RankStatus& status_;

  std::deque<ProgramPtr> programs_;  // front: the running program
  size_t position_ = 0;              // index in the front program's list
  bool begun_ = false;
  bool synchronized_ = false;  // all ranks have synchronised the running program's step
  uint64_t to_give_up_ = 0, dropped_ = 0, finished_ = 0;  // program ids; 0: none
  std::map<ArrivalKey, Tensor> arrived_;
  std::map<Channel, int> credits_;  // of outgoing channels, from their first use
  ProgramPtr awaited_;  // the program whose outcome this rank's device still has to compute; null: none
  double busy_s_ = 0;
  int64_t sent_bytes_ = 0;
  std::vector<TaskSpan> spans_;
  RankStep measures_;  // since the last report of it
  // What the worker had communicated when the running program began, or at that report.
  Communicated communicated_;
};

}  // namespace collie
