#include "runtime/trainer_core.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "io/step_batches.hpp"

namespace collie {

TrainerCore::TrainerCore(TrainerSettings settings, std::vector<std::unique_ptr<Callback>> callbacks,
                         TrainerOutbox& outbox)
    : settings_(std::move(settings)), callbacks_(std::move(callbacks)), outbox_(outbox) {
  const auto ranks = static_cast<size_t>(settings_.layout.grid.ranks());
  step_ = settings_.done_steps;
  position_ = settings_.done_position;
  steps_without_targets_ = settings_.done_without_targets;
  recorded_step_ = settings_.done_steps;
  saved_step_ = settings_.done_steps > 0 ? settings_.done_steps : -1;
  rank_ready_.resize(ranks, false);
  summaries_.resize(ranks);
  busy_s_.resize(ranks, 0.0);
}

// --- steps

void TrainerCore::ready(const RankReady& ready) {
  if (stale(ready.tag)) return;
  rank_ready_[static_cast<size_t>(ready.rank)] = true;
  ranks_give_up_ = ranks_give_up_ && ready.gives_up;
  if (phase_ != Phase::starting ||
      !std::all_of(rank_ready_.begin(), rank_ready_.end(), [](bool r) { return r; }))
    return;
  step_started_s_ = outbox_.now_s();
  started_s_ = step_started_s_;
  switch (settings_.purpose) {
    case Purpose::train:
      if (!stop_ && step_ < settings_.total_steps) outbox_.request_batch(step_ + 1);
      if (!make_up_for_evaluation()) begin_step();
      return;
    case Purpose::evaluate:
      phase_ = Phase::evaluating;
      return outbox_.evaluate(step_);
    case Purpose::generate:
      phase_ = Phase::generating;
      return outbox_.generate();
  }
}

// Evaluates the last step of the resumed run if the run was interrupted during that evaluation.
bool TrainerCore::make_up_for_evaluation() {
  if (!settings_.unevaluated || !evaluation_due()) return false;
  record_ = *settings_.unevaluated;
  record_.total_steps = settings_.total_steps;
  record_.amended = true;
  phase_ = Phase::evaluating;
  outbox_.evaluate(step_);
  return true;
}

void TrainerCore::begin_step() {
  if (last_step()) {
    if (saved_step_ != step_ || (!final_saved_ && stop_ != RunStatus::interrupted)) return save_or_continue();
    phase_ = Phase::finishing;
    return finish_if_idle();
  }
  if (step_ - recorded_step_ >= settings_.monitor_credits) {
    phase_ = Phase::recording;
    return;
  }
  phase_ = Phase::batch;
  compute_step();
}

void TrainerCore::batch(BatchReady ready) {
  if (stale(ready.tag)) return;
  auto& batches = batches_[ready.batch->step];
  batches.resize(static_cast<size_t>(settings_.layout.grid.data));
  batches.at(static_cast<size_t>(ready.replica)) = std::move(ready.batch);
  if (phase_ == Phase::batch) compute_step();
}

bool TrainerCore::batches_of_next_step_are_there() const {
  const auto found = batches_.find(step_ + 1);
  return found != batches_.end() &&
         std::find(found->second.begin(), found->second.end(), nullptr) == found->second.end();
}

double TrainerCore::lr_factor_of(int64_t step) const {
  return settings_.schedule(step, settings_.total_steps);
}

void TrainerCore::compute_step() {
  if (!batches_of_next_step_are_there()) return;
  batch_ = std::move(batches_.extract(step_ + 1).mapped());
  ++step_;
  if (step_ < settings_.total_steps) outbox_.request_batch(step_ + 1);
  phase_ = Phase::computing;
  if (batch_.front()->global_target_tokens == 0) return pass_over_step();
  const int micro_batches = static_cast<int>(batch_.front()->micro_batches.size());
  Program program;
  program.kind = training_program;
  program.step = step_;
  program.update = step_ - steps_without_targets_;
  program.lr_factor = lr_factor_of(step_);
  program.batches = batch_;
  add_tasks(program, micro_batches);
  submit(std::move(program));
  computed_ = next_program_ - 1;
}

// Without a target there is no loss and every gradient is zero. The ranks have nothing to do, and weights and
// optimizer stay unchanged. An update would let the optimizer's momentum move the weights.
void TrainerCore::pass_over_step() {
  if (steps_without_targets_++ == 0)
    outbox_.warn(
        fmt::format("step {} has no target tokens: it has no loss (null in metrics.jsonl) and changes "
                    "nothing. Prompts fill its sequences; how many steps are such is said at the end",
                    step_));
  record_step({}, 0);
  finish_step();
}

void TrainerCore::stepped(const StepReport& report) {
  if (stale(report.tag)) return;
  COLLIE_ASSERT(phase_ == Phase::computing, "program {} reports a step where none is computed",
                report.program);
  const double norm = report.gradient_norm;
  const double loss = report.loss_sum / static_cast<double>(batch_.front()->global_target_tokens);
  if (!std::isfinite(report.loss_sum) || !std::isfinite(norm))
    return fail(
        {settings_.tag, FailureKind::run, fmt::format("step {}", step_),
         fmt::format("the {} is {}; the weights were left as they were after step {}. A lower optimizer.lr "
                     "or a longer warm-up usually helps",
                     std::isfinite(loss) ? "gradient norm" : "loss", std::isfinite(loss) ? norm : loss,
                     step_ - 1)});
  record_step(loss, norm);
  finish_step();
}

void TrainerCore::record_step(std::optional<double> loss, double norm) {
  const int64_t targets = batch_.front()->global_target_tokens;
  const double now = outbox_.now_s();
  record_ = {};
  record_.step = step_;
  record_.total_steps = settings_.total_steps;
  record_.epoch = batch_.front()->epoch;
  if (loss) record_.loss = *loss;
  record_.lr = settings_.learning_rate * lr_factor_of(step_);
  record_.grad_norm = norm;
  record_.tokens = targets;
  record_.step_s = now - step_started_s_;
  record_.tokens_per_second =
      now > step_started_s_ ? static_cast<double>(targets) / (now - step_started_s_) : 0.0;
  for (const auto& summary : summaries_) {
    record_.memory_bytes += summary.current_total_bytes;
    record_.graphs += summary.graphs;
  }
  step_started_s_ = now;
  position_ = batch_.front()->next_position;
}

// Returns false if the callback threw; the run has then ended.
bool TrainerCore::call_back(const std::function<void()>& call) {
  try {
    call();
    return true;
  } catch (const std::exception& error) {
    fail({settings_.tag, FailureKind::run, fmt::format("callback at step {}", step_), error.what()});
    return false;
  }
}

void TrainerCore::finish_step() {
  for (const auto& callback : callbacks_)
    if (!call_back([&] {
          if (callback->on_step(record_)) stop(RunStatus::stopped);
        }))
      return;
  if (evaluation_due() && !interrupted()) {
    phase_ = Phase::evaluating;
    return outbox_.evaluate(step_);
  }
  after_evaluation();
}

bool TrainerCore::evaluation_due() const {
  return settings_.cadence.evaluation_due(step_, position_);
}

void TrainerCore::evaluated(const EvaluationFinished& evaluation) {
  if (ended()) return;
  outbox_.announce(evaluation);
  if (settings_.purpose == Purpose::evaluate) {
    phase_ = Phase::finishing;
    return finish_if_idle();
  }
  record_.evaluated = true;
  record_.eval_loss = evaluation.loss;
  step_started_s_ = outbox_.now_s();  // the next step's time does not include the evaluation
  for (const auto& callback : callbacks_)
    if (!call_back([&] { callback->on_evaluation(evaluation); })) return;
  after_evaluation();
}

void TrainerCore::after_evaluation() {
  if (record_.evaluated || !record_.amended) outbox_.record(record_);
  save_or_continue();
}

bool TrainerCore::checkpoint_due() const {
  if (saved_step_ == step_) return last_step() && !final_saved_ && stop_ != RunStatus::interrupted;
  return last_step() || save_asked_ || settings_.cadence.checkpoint_due(step_);
}

void TrainerCore::save_or_continue() {
  if (!checkpoint_due()) return begin_step();
  // The step's record must be in metrics.jsonl before a checkpoint of the step exists, so that a resume keeps
  // both or neither.
  if (recorded_step_ < step_) {
    phase_ = Phase::recording;
    return;
  }
  if (writer_busy_) {
    phase_ = Phase::saving;
    return;
  }
  snapshot(last_step() && stop_ != RunStatus::interrupted);
  begin_step();
}

void TrainerCore::snapshot(bool final) {
  writer_busy_ = true;
  saved_step_ = step_;
  save_asked_ = false;
  final_saved_ = final_saved_ || final;
  outbox_.expect_snapshot({settings_.tag, step_, position_, steps_without_targets_, final});
  Program program;
  program.kind = snapshot_program;
  program.step = step_;
  add_tasks(program, 0);
  submit(std::move(program));
}

void TrainerCore::written(const SnapshotWritten& written) {
  if (stale(written.tag)) return;
  writer_busy_ = false;
  outbox_.announce(CheckpointSaved{written.step, written.path});
  if (phase_ == Phase::saving) return save_or_continue();
  finish_if_idle();
}

void TrainerCore::recorded(int64_t step) {
  if (ended()) return;
  recorded_step_ = std::max(recorded_step_, step);
  if (phase_ == Phase::recording) return save_or_continue();
  finish_if_idle();
}

// --- programs

// Programs of one kind and size share their lists.
void TrainerCore::add_tasks(Program& program, int micro_batches) {
  const auto same = [&](const MadeTasks& made) {
    return made.kind == program.kind && made.micro_batches == micro_batches;
  };
  auto found = std::find_if(made_tasks_.begin(), made_tasks_.end(), same);
  if (found == made_tasks_.end()) {
    ProgramTasks tasks = tasks_of(program.kind, settings_.layout, micro_batches);
    made_tasks_.push_back({program.kind, micro_batches,
                           std::make_shared<const TaskLists>(std::move(tasks.lists)),
                           std::move(tasks.activation_limits)});
    found = made_tasks_.end() - 1;
  }
  program.lists = found->lists;
  program.activation_limits = found->activation_limits;
}

void TrainerCore::submit(Program program) {
  program.id = next_program_++;
  waiting_programs_.push_back(std::make_shared<const Program>(std::move(program)));
  release_programs();
}

// A rank holds at most two programs. So the third waits here until every rank is done with the first.
void TrainerCore::release_programs() {
  constexpr size_t slots = 2;
  while (!waiting_programs_.empty() && outstanding_.size() < slots) {
    ProgramPtr program = std::move(waiting_programs_.front());
    waiting_programs_.pop_front();
    outstanding_[program->id] = settings_.layout.grid.ranks();
    outbox_.broadcast(std::move(program));
  }
}

void TrainerCore::done(const ProgramDone& done) {
  if (stale(done.tag)) return;
  const auto rank = static_cast<size_t>(done.rank);
  summaries_[rank] = done.summary;
  busy_s_[rank] += done.busy_s;
  if (!done.spans.empty() || !done.communication_spans.empty()) outbox_.trace(done);
  const auto found = outstanding_.find(done.program);
  COLLIE_ASSERT(found != outstanding_.end(), "rank {} is done with program {}, which is not running",
                done.rank, done.program);
  if (done.given_up) somebody_gave_up_ = true;
  const bool over = --found->second == 0;
  if (over) outstanding_.erase(found);
  if (over && done.program == giving_up_ && somebody_gave_up_)
    return phase_ == Phase::computing ? step_given_up() : evaluation_given_up();
  cut_if_due();
  release_programs();
  finish_if_idle();
}

void TrainerCore::request(const ProgramRequest& request) {
  if (stale(request.tag)) return;
  if (interrupted()) return evaluation_given_up();
  Program program;
  program.kind = request.kind;
  program.step = step_;
  program.batches = deal(request.batch, settings_.layout.grid.data);
  program.sampling = request.sampling;
  program.sampling_index = request.sampling_index;
  program.cache_capacity = request.cache_capacity;
  add_tasks(program, static_cast<int>(program.batches.front()->micro_batches.size()));
  submit(std::move(program));
  computed_ = next_program_ - 1;
}

// There is one report per data rank; the losses are added in rank order.
void TrainerCore::evaluation(const EvaluationReport& report) {
  if (stale(report.tag)) return;
  auto& losses = evaluation_reports_[report.program];
  losses[report.rank] = report.loss_sum;
  if (static_cast<int>(losses.size()) < settings_.layout.grid.data_ranks()) return;
  double sum = 0;
  for (const auto& [rank, loss] : losses) sum += loss;
  evaluation_reports_.erase(report.program);
  EvaluationReport whole = report;
  whole.loss_sum = sum;
  outbox_.forward(whole);
}

void TrainerCore::token(const TokenReport& report) {
  if (!stale(report.tag)) outbox_.forward(report);
}

void TrainerCore::generated(const GenerationFinished& finished) {
  if (stale(finished.tag)) return;
  phase_ = Phase::finishing;
  finish_if_idle();
}

// --- endings

void TrainerCore::stop(RunStatus why) {
  if (ended()) return;
  // Ctrl-C overrides an earlier request to stop, and does not write the final model.
  if (!stop_ || why == RunStatus::interrupted) stop_ = why;
  if (settings_.purpose != Purpose::train) return end(why, why == RunStatus::interrupted ? 130 : 0, "");
  if (why == RunStatus::interrupted) return interrupt();
  if (phase_ == Phase::batch) begin_step();  // nothing is being computed
}

void TrainerCore::interrupt() {
  switch (phase_) {
    case Phase::starting:  // nothing has been computed
      return end(RunStatus::interrupted, 130, "");
    case Phase::batch:
      return begin_step();
    case Phase::computing:
    case Phase::evaluating:
      return give_up();
    default:
      return;
  }
}

void TrainerCore::save() {
  save_asked_ = true;
}

// --- giving up

void TrainerCore::give_up() {
  if (!ranks_give_up_ || giving_up_ != 0) return;
  // Between two programs of an evaluation there is nothing to give up, because the next one has not begun.
  const bool waits = !waiting_programs_.empty() && waiting_programs_.back()->id == computed_;
  if (!waits && outstanding_.count(computed_) == 0) return;
  giving_up_ = computed_;
  if (!waits) return outbox_.give_up(giving_up_);
  waiting_programs_.pop_back();  // no rank has received it
  --next_program_;
  phase_ == Phase::computing ? step_given_up() : evaluation_given_up();
}

void TrainerCore::told() {
  if (ended()) return;
  told_ = true;
  cut_if_due();
}

// The ranks' communication for earlier programs must be over first, because those programs count.
void TrainerCore::cut_if_due() {
  if (cut_ || !told_ || !somebody_gave_up_ || outstanding_.empty()) return;
  if (outstanding_.begin()->first != giving_up_) return;
  cut_ = true;
  outbox_.cut();
}

void TrainerCore::step_given_up() {
  --step_;
  save_or_continue();
}

void TrainerCore::evaluation_given_up() {
  if (phase_ == Phase::evaluating) after_evaluation();
}

bool TrainerCore::ranks_at_work() const {
  return !outstanding_.empty() ||
         std::find(rank_ready_.begin(), rank_ready_.end(), false) != rank_ready_.end();
}

void TrainerCore::fail(const Failure& failure) {
  if (stale(failure.tag)) return;
  end(RunStatus::failed, failure.kind == FailureKind::input ? 2 : 1,
      failure.who.empty() ? failure.cause : failure.who + ": " + failure.cause);
}

void TrainerCore::finish_if_idle() {
  if (phase_ != Phase::finishing || writer_busy_ || !outstanding_.empty() || !waiting_programs_.empty() ||
      recorded_step_ < step_)
    return;
  const RunStatus status = stop_.value_or(RunStatus::completed);
  end(status, status == RunStatus::interrupted ? 130 : 0, "");
}

void TrainerCore::end(RunStatus status, int exit_code, const std::string& message) {
  if (ended()) return;
  phase_ = Phase::ended;
  if (steps_without_targets_ > 0)
    outbox_.warn(
        fmt::format("{} of {} steps had no target tokens and changed nothing: prompts fill their "
                    "sequences. A larger data.sequence_length, or shorter prompts, would help",
                    steps_without_targets_, step_));
  RunEnded outcome;
  outcome.status = status;
  outcome.exit_code = exit_code;
  outcome.step = step_;
  outcome.message = message;
  outbox_.end(std::move(outcome));
}

std::string TrainerCore::waiting_for() const {
  switch (phase_) {
    case Phase::starting: {
      const auto first = std::find(rank_ready_.begin(), rank_ready_.end(), false);
      return fmt::format("rank {} to get ready ({} of {} are)", first - rank_ready_.begin(),
                         std::count(rank_ready_.begin(), rank_ready_.end(), true), rank_ready_.size());
    }
    case Phase::batch:
      return fmt::format("the batch of step {} from the loader", step_ + 1);
    case Phase::recording:
      return fmt::format("the monitor to write the record of step {}", step_);
    case Phase::saving:
      return fmt::format("the checkpoint writer to finish before the snapshot of step {}", step_);
    case Phase::finishing:
      return writer_busy_ ? fmt::format("the checkpoint writer to finish step {}", saved_step_) : "";
    default:
      return "";
  }
}

}  // namespace collie
