#include "runtime/trainer_core.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "io/step_batches.hpp"
#include "runtime/decoding_share.hpp"

namespace collie {

TrainerCore::TrainerCore(TrainerSettings settings, std::vector<NamedCallback> callbacks,
                         TrainerOutbox& outbox)
    : settings_(std::move(settings)),
      callbacks_(std::move(callbacks)),
      outbox_(outbox),
      meter_(settings_.layout.grid, settings_.meter) {
  const auto ranks = static_cast<size_t>(settings_.layout.grid.ranks());
  step_ = settings_.done_steps;
  position_ = settings_.done_position;
  steps_without_targets_ = settings_.done_without_targets;
  skipped_steps_ = settings_.done_skipped;
  estimated_step_ = settings_.estimated_step;
  last_norm_ = settings_.last_norm;
  memory_ = settings_.memory;
  recorded_step_ = settings_.done_steps;
  saved_step_ = settings_.done_steps > 0 ? settings_.done_steps : -1;
  sent_step_ = settings_.done_steps;
  evaluation_ = settings_.last_evaluation;
  best_ = settings_.best_evaluations;
  std::sort(best_.begin(), best_.end(), [this](double a, double b) { return is_better(a, b); });
  if (settings_.last_record) record_ = *settings_.last_record;
  if (record_.evaluated) evaluated_step_ = record_.step;
  record_.tag = settings_.tag;
  record_.total_steps = settings_.total_steps;
  rank_ready_.resize(ranks, false);
  summaries_.resize(ranks);
  busy_s_.resize(ranks, 0.0);
  for (const NamedCallback& each : callbacks_) each.callback->attach(*this);
}

// --- steps

void TrainerCore::ready(const RankReady& ready) {
  if (stale(ready.tag)) return;
  initialise_callbacks();
  rank_ready_[static_cast<size_t>(ready.rank)] = true;
  ranks_give_up_ = ranks_give_up_ && ready.gives_up;
  if (phase_ != Phase::starting ||
      !std::all_of(rank_ready_.begin(), rank_ready_.end(), [](bool r) { return r; }))
    return;
  step_started_s_ = outbox_.now_s();
  started_s_ = last_saved_s_ = step_started_s_;
  insert_requests();
  switch (settings_.purpose) {
    case Purpose::train:
      if (!begin_training()) return;
      if (!stop_ && step_ < settings_.total_steps) outbox_.request_batch(step_ + 1);
      if (!evaluate_first()) begin_step();
      return;
    case Purpose::evaluate:
      phase_ = Phase::evaluating;
      return outbox_.evaluate(step_);
    case Purpose::generate:
      phase_ = Phase::generating;
      return outbox_.generate();
  }
}

// The evaluation before the first step. If the run was resumed: the evaluation during which it was
// interrupted.
bool TrainerCore::evaluate_first() {
  const bool has_record = step_ == 0 || settings_.last_record;
  if (!has_record || evaluated_step_ == step_ || !evaluation_due()) return false;
  record_.amended = step_ > 0;
  evaluate();
  return true;
}

void TrainerCore::evaluate() {
  phase_ = Phase::evaluating;
  if (!call_back([&](Callback& callback) { callback.on_evaluation_begin(step_); })) return;
  outbox_.evaluate(step_);
}

void TrainerCore::begin_step() {
  if (last_step()) {
    if (!end_callbacks_training()) return;
    if (saved_step_ != step_ || (!final_saved_ && stop_ != RunStatus::interrupted)) return save_or_continue();
    phase_ = Phase::finishing;
    return finish_if_idle();
  }
  if (step_ - recorded_step_ >= settings_.monitor_credits) {
    phase_ = Phase::recording;
    return meter_.wait(StepMeter::Wait::save, outbox_.now_s());
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
  if (!batches_of_next_step_are_there()) return meter_.wait(StepMeter::Wait::data, outbox_.now_s());
  meter_.go_on(outbox_.now_s());
  batch_ = std::move(batches_.extract(step_ + 1).mapped());
  ++step_;
  if (step_ < settings_.total_steps) outbox_.request_batch(step_ + 1);
  phase_ = Phase::computing;
  if (!begin_callbacks_step()) return;
  if (batch_.front()->global_target_tokens == 0) return pass_over_step();
  step_in_flight_ = true;
  const std::vector<ProgramKind> passes = settings_.passes.of_step(batch_.front()->micro_batches.size());
  passes_.assign(passes.begin(), passes.end());
  clip_norm_ = settings_.passes.clips_by_last ? last_norm_ : 0;
  if (estimated_step_ < step_ && settings_.estimate_due(step_ - steps_without_targets_ - skipped_steps_))
    passes_.push_front(estimate_program);
  submit_pass();
}

std::vector<ProgramKind> StepPasses::of_step(size_t micro_batches) const {
  if (!fuses) return {training_program};
  if (clip_grad_norm == 0 || clips_by_last) return {fused_program};
  if (micro_batches > 1) return {training_program};
  return {clip_program, fused_program};
}

// The next of the step's programs.
void TrainerCore::submit_pass() {
  Program program;
  program.kind = passes_.front();
  program.step = step_;
  program.update = step_ - steps_without_targets_ - skipped_steps_;
  program.lr_factor = lr_factor_of(step_);
  if (program.kind == fused_program && settings_.passes.clip_grad_norm > 0) program.clip_norm = clip_norm_;
  if (program.kind == training_program || program.kind == clip_program) {
    program.most_loss_sum = bounds().most_loss_sum;
    program.most_norm = bounds().most_norm;
  }
  next_memory_ = memory_;
  if (settings_.remember) settings_.remember(next_memory_, program.lr_factor, program.update);
  for (const UpdateMemory& of_group : next_memory_)
    program.memory.emplace_back(of_group.begin(), of_group.end());
  program.traced = step_ == traced_step();
  program.batches = batch_;
  add_tasks(program, static_cast<int>(batch_.front()->micro_batches.size()));
  submit(std::move(program));
}

// The limits of callbacks, as the ranks get them.
StepBounds TrainerCore::bounds() const {
  StepBounds bounds;
  bounds.most_loss_sum = std::min(bounds.most_loss_sum,
                                  limits_.loss * static_cast<double>(batch_.front()->global_target_tokens));
  bounds.most_norm = std::min(bounds.most_norm, limits_.grad_norm);
  return bounds;
}

// Nothing has changed (Operations::step_outcome()), unless a fused update found it on its way.
void TrainerCore::reject(const ProgramKind& kind, const ProgramReply& reply) {
  const double norm = value_of(reply, gradient_norm_name), loss_sum = value_of(reply, loss_sum_name);
  RejectedStep rejected{.step = step_,
                        .loss = loss_sum / static_cast<double>(batch_.front()->global_target_tokens),
                        .grad_norm = norm,
                        .finite = std::isfinite(loss_sum) && std::isfinite(norm),
                        .what = {},
                        .data = {}};
  const std::string whose = kind == estimate_program ? " of the estimate of the curvature" : "";
  if (!std::isfinite(loss_sum))
    rejected.what = fmt::format("loss{} is {}", whose, rejected.loss);
  else if (!std::isfinite(norm))
    rejected.what = fmt::format("gradient norm{} is {}{}", whose, norm, where(reply));
  else if (loss_sum > bounds().most_loss_sum)
    rejected.what = fmt::format("loss is {:.4g}, above {:.4g}", rejected.loss, limits_.loss);
  else
    rejected.what = fmt::format("gradient norm is {:.4g}, above {:.4g}", norm, limits_.grad_norm);
  const int64_t from = batch_.front()->position, to = batch_.front()->next_position;
  rejected.data = settings_.describe_data ? settings_.describe_data(from, to)
                                          : fmt::format("sequences {} to {} of the data", from + 1, to);
  Remedy remedy = Remedy::none;
  if (kind != fused_program &&
      !call_back([&](Callback& callback) { remedy = std::max(remedy, callback.on_rejected(rejected)); }))
    return;
  if (remedy == Remedy::none) return fail_not_finite(kind, rejected);
  if (remedy == Remedy::skip && !interrupted()) return skip_step(rejected);
  if (!stop_) stop_ = RunStatus::stopped;
  step_given_up();
}

void TrainerCore::fail_not_finite(const ProgramKind& kind, const RejectedStep& rejected) {
  const std::string state =
      kind == fused_program && std::isfinite(rejected.loss)
          ? "layers were updated before it was found, so the run can go on from a checkpoint alone"
          : fmt::format("the weights were left as they were after step {}", step_ - 1);
  fail({settings_.tag, FailureKind::run, fmt::format("step {}", step_),
        fmt::format("the {}; {}. A lower optimizer.lr or a longer warm-up usually helps", rejected.what,
                    state)});
}

// The step counts as one that has read its data and has made no update.
void TrainerCore::skip_step(const RejectedStep& rejected) {
  step_in_flight_ = false;
  passes_.clear();
  ++skipped_steps_;
  if (estimated_step_ == step_) ++estimated_step_;  // the next step makes the update that the estimate is for
  record_step(std::isfinite(rejected.loss) ? std::optional(rejected.loss) : std::nullopt, rejected.grad_norm);
  record_.skipped = true;
  insert_requests();
  finish_step();
}

// Which gradient is not finite, if that is known.
std::string TrainerCore::where(const ProgramReply& reply) const {
  for (const NamedValues& named : reply.values) {
    if (named.name != first_not_finite_name) continue;
    const auto index = static_cast<size_t>(static_cast<double>(named.values.at(0)));
    if (index < settings_.parameters.size())
      return fmt::format(", because of the gradient of {}", settings_.parameters[index]);
  }
  return "";
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

void TrainerCore::stepped(const ProgramReply& reply) {
  COLLIE_ASSERT(step_in_flight_, "program {} reports a step where none is computed", reply.program);
  if (const auto found = outstanding_.find(reply.program); found != outstanding_.end())
    found->second.counts = true;
  const ProgramKind kind = passes_.front();
  passes_.pop_front();
  const double norm = value_of(reply, gradient_norm_name), loss_sum = value_of(reply, loss_sum_name);
  const bool limited = kind == training_program || kind == clip_program;
  if (!step_counts(loss_sum, norm, limited ? bounds() : StepBounds())) return reject(kind, reply);
  // An estimate is of the weights before the step's update, as the paper has it. A run may be interrupted
  // between the two; the states then have an estimate that no update has used, and the checkpoint says so.
  if (kind == estimate_program) estimated_step_ = step_;
  if (kind == clip_program) clip_norm_ = norm;
  if (!passes_.empty()) return interrupted() ? step_given_up() : submit_pass();
  step_in_flight_ = false;
  memory_ = std::move(next_memory_);
  last_norm_ = norm;
  for (const NamedValues& named : reply.values)
    if (named.name == group_norms_name) group_norms_ = named.values;
  const double loss = loss_sum / static_cast<double>(batch_.front()->global_target_tokens);
  record_step(loss, norm);
  insert_requests();
  finish_step();
}

void TrainerCore::record_step(std::optional<double> loss, double norm) {
  const int64_t targets = batch_.front()->global_target_tokens;
  const double now = outbox_.now_s();
  record_ = {};
  record_.tag = settings_.tag;
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
  record_measures();
  step_started_s_ = now;
  position_ = batch_.front()->next_position;
  evaluation_.reset();
}

void TrainerCore::record_measures() {
  if (const auto use = outbox_.process_use()) meter_.add(*use);
  record_.measures = meter_.finish(
      {step_, record_.step_s, record_.tokens, settings_.work && record_.loss ? settings_.work(batch_) : 0});
  record_.measures.group_norms = std::exchange(group_norms_, {});
  for (const std::string& news : meter_.take_news()) outbox_.warn(news);
}

void TrainerCore::finish_step() {
  if (!call_back([&](Callback& callback) { callback.on_step(record_); }) || !end_callbacks_epoch()) return;
  if (evaluation_due() && !interrupted()) return evaluate();
  after_evaluation();
}

bool TrainerCore::evaluation_due() const {
  return settings_.cadence.evaluation_due(step_, position_, last_step());
}

// Whether a step turned out to be the last one after it was over, because somebody asked the run to stop.
bool TrainerCore::last_evaluation_due() const {
  return step_ > 0 && last_step() && !interrupted() && record_.step == step_ && evaluated_step_ != step_ &&
         evaluation_due();
}

void TrainerCore::evaluate_last() {
  record_.amended = sent_step_ == step_;
  // The monitor acknowledges steps by their number, so the record and its amendment are not on their way at
  // the same time.
  if (record_.amended && recorded_step_ < step_) {
    phase_ = Phase::recording;
    return;
  }
  evaluate();
}

bool TrainerCore::is_better(double a, double b) const {
  return settings_.higher_is_better ? a > b : a < b;
}

// Says whether the step is one of the best so far. Of two that are equal the earlier one is better.
void TrainerCore::rank_evaluation(double value) {
  if (!std::isfinite(value)) return;
  evaluation_ = value;
  const auto worse = std::upper_bound(best_.begin(), best_.end(), value,
                                      [this](double a, double b) { return is_better(a, b); });
  better_ = worse - best_.begin() < settings_.cadence.keep_best;
  best_.insert(worse, value);
  const size_t most = static_cast<size_t>(settings_.cadence.keep_best);
  if (best_.size() > most) best_.resize(most);
}

void TrainerCore::evaluated(const EvaluationFinished& evaluation) {
  if (stale(evaluation.tag) || phase_ != Phase::evaluating) return;
  outbox_.announce(evaluation);
  if (settings_.purpose == Purpose::evaluate) {
    phase_ = Phase::finishing;
    return finish_if_idle();
  }
  record_.evaluated = true;
  record_.has_eval_loss = evaluation.tokens > 0;
  record_.eval_loss = evaluation.loss;
  record_.metrics = evaluation.metrics;
  evaluated_step_ = step_;
  if (const auto value = evaluated_value(evaluation, settings_.best_metric)) rank_evaluation(*value);
  step_started_s_ = outbox_.now_s();  // the next step's time does not include the evaluation
  if (!call_back([&](Callback& callback) { callback.on_evaluation(evaluation); })) return;
  after_evaluation();
}

void TrainerCore::after_evaluation() {
  const bool is_new = step_ > 0 && !record_.amended;
  if (record_.evaluated || is_new) {
    outbox_.record(record_);
    sent_step_ = step_;
    if (!is_new) recorded_step_ = step_ - 1;  // what there is of the step is not all any more
  }
  save_or_continue();
}

bool TrainerCore::checkpoint_due() const {
  if (better_) return true;
  if (saved_step_ == step_) return last_step() && !final_saved_ && stop_ != RunStatus::interrupted;
  return last_step() || save_asked_ ||
         settings_.cadence.checkpoint_due(step_, position_, outbox_.now_s() - last_saved_s_);
}

void TrainerCore::save_or_continue() {
  meter_.go_on(outbox_.now_s());
  if (last_evaluation_due()) return evaluate_last();
  if (!checkpoint_due()) return begin_step();
  // The step's record must be in metrics.jsonl before a checkpoint of the step exists, so that a resume keeps
  // both or neither.
  if (recorded_step_ < step_) {
    phase_ = Phase::recording;
    return meter_.wait(StepMeter::Wait::save, outbox_.now_s());
  }
  if (writer_busy_) {
    phase_ = Phase::saving;
    return meter_.wait(StepMeter::Wait::save, outbox_.now_s());
  }
  snapshot(last_step() && stop_ != RunStatus::interrupted);
  begin_step();
}

void TrainerCore::snapshot(bool final) {
  if (final && !call_back([&](Callback& callback) { callback.on_save_model(step_); })) return;
  writer_busy_ = true;
  saved_step_ = step_;
  last_saved_s_ = outbox_.now_s();
  save_asked_ = better_ = false;
  final_saved_ = final_saved_ || final;
  outbox_.expect_snapshot({settings_.tag, step_, position_, steps_without_targets_, estimated_step_,
                           last_norm_, final, memory_, evaluation_, states_of_callbacks(), skipped_steps_});
  Program program;
  program.kind = snapshot_program;
  program.step = step_;
  add_tasks(program, 0);
  submit(std::move(program));
}

void TrainerCore::written(const SnapshotWritten& written) {
  if (stale(written.tag)) return;
  writer_busy_ = false;
  outbox_.announce(CheckpointSaved{settings_.tag, written.step, written.path});
  if (phase_ == Phase::saving) return save_or_continue();
  finish_if_idle();
}

void TrainerCore::recorded(const StepRecorded& recorded) {
  if (stale(recorded.tag)) return;
  recorded_step_ = std::max(recorded_step_, recorded.step);
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
  waiting_programs_.push_back(std::move(program));
  release_programs();
}

// A rank holds at most two programs. So the third waits here until every rank is done with the first.
void TrainerCore::release_programs() {
  constexpr size_t slots = 2;
  while (!waiting_programs_.empty() && outstanding_.size() < slots) {
    Program program = std::move(waiting_programs_.front());
    waiting_programs_.pop_front();
    program.tag = settings_.tag;
    program.id = next_program_++;
    outstanding_[program.id] = {settings_.layout.grid.ranks(), is_awaited(program),
                                program.kind.pass == Pass::none || program.kind == fused_program, false,
                                program.traced};
    if (is_answered(program)) asked_[program.id] = {program.kind, {}};
    outbox_.broadcast(std::make_shared<const Program>(std::move(program)));
  }
}

void TrainerCore::done(const ProgramDone& done) {
  if (stale(done.tag)) return;
  const auto rank = static_cast<size_t>(done.rank);
  summaries_[rank] = done.summary;
  busy_s_[rank] += done.busy_s;
  if (!done.spans.empty() || !done.communication_spans.empty()) outbox_.trace(done);
  const auto found = outstanding_.find(done.program);
  if (found != outstanding_.end() && found->second.traced) keep_trace(done);
  COLLIE_ASSERT(found != outstanding_.end(), "rank {} is done with program {}, which is not running",
                done.rank, done.program);
  Outstanding& program = found->second;
  program.given_up = program.given_up || done.given_up;
  const bool over = --program.ranks == 0;
  const bool step_is_lost = over && program.given_up && program.awaited;
  if (over && program.given_up) asked_.erase(done.program);
  if (over) outstanding_.erase(found);
  if (step_is_lost) return awaited_given_up();
  cut_if_due();
  release_programs();
  finish_if_idle();
}

void TrainerCore::measured(const RankStep& step) {
  if (!stale(step.tag)) meter_.add(step);
}

// The third step of the run, or its last one.
int64_t TrainerCore::traced_step() const {
  return std::min(settings_.done_steps + 3, settings_.total_steps);
}

// A step may have several programs.
void TrainerCore::keep_trace(const ProgramDone& done) {
  traced_.resize(summaries_.size());
  ProgramDone& kept = traced_[static_cast<size_t>(done.rank)];
  kept.spans.insert(kept.spans.end(), done.spans.begin(), done.spans.end());
  kept.communication_spans.insert(kept.communication_spans.end(), done.communication_spans.begin(),
                                  done.communication_spans.end());
}

// --- requests

void TrainerCore::request(ProgramRequest request) {
  if (stale(request.tag)) return;
  const std::string& requester = request.request.requester;
  COLLIE_ASSERT(!requester.empty(), "a program is asked for by nobody");
  COLLIE_ASSERT(requesters_.insert(requester).second,
                "{} asks for a program before its last request was answered", requester);
  COLLIE_ASSERT(requesters_.size() <= max_requesters, "{} ask for programs at once", requesters_.size());
  requests_.push_back(std::move(request));
  insert_requests();
}

bool TrainerCore::takes_requests() const {
  return !interrupted() && phase_ != Phase::finishing;
}

void TrainerCore::insert_requests() {
  if (!started_s_ || step_in_flight_) return;
  while (!requests_.empty()) {
    ProgramRequest request = std::move(requests_.front());
    requests_.pop_front();
    if (!takes_requests()) {
      drop_request(request.request);
      continue;
    }
    Program program;
    program.request = std::move(request.request);
    program.kind = request.kind;
    program.step = step_;
    const int replicas = settings_.layout.grid.data;
    // Replicas share the micro-batches, or the texts.
    program.batches = program.kind.pass == Pass::decode
                          ? deal_sequences(request.batch, request.decoding, replicas)
                          : deal(request.batch, replicas);
    program.per_document = request.per_document;
    program.decoding = std::move(request.decoding);
    add_tasks(program, static_cast<int>(program.batches.front()->micro_batches.size()));
    submit(std::move(program));
  }
}

void TrainerCore::drop_request(const Request& request) {
  requesters_.erase(request.requester);
  if (request.requester == evaluator_name) evaluation_given_up();
}

void TrainerCore::reply(const ProgramReply& reply) {
  if (stale(reply.tag)) return;
  if (reply.request.requester.empty()) return stepped(reply);
  const auto found = asked_.find(reply.program);
  if (found == asked_.end()) return;  // it was given up
  Asked& asked = found->second;
  asked.replies[reply.rank] = reply;
  if (static_cast<int>(asked.replies.size()) < replying_ranks(asked.kind, settings_.layout.grid)) return;
  const ProgramReply whole = merge_replies(asked.kind, asked.replies);
  asked_.erase(found);
  requesters_.erase(whole.request.requester);
  outbox_.answer(whole);
  finish_if_idle();
}

void TrainerCore::generated(const GenerationFinished& finished) {
  if (stale(finished.tag)) return;
  if (settings_.purpose == Purpose::generate) {
    phase_ = Phase::finishing;
    return finish_if_idle();
  }
  if (!started_s_ || phase_ == Phase::finishing || interrupted()) return;  // nothing is held, or not for long
  Program program;
  program.request.requester = finished.requester;
  program.kind = release_program;
  program.step = step_;
  add_tasks(program, 0);
  submit(std::move(program));
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
  if (phase_ == Phase::starting) return end(RunStatus::interrupted, 130, "");  // nothing has been computed
  give_up();
  if (phase_ == Phase::batch) begin_step();
}

void TrainerCore::save() {
  save_asked_ = true;
}

// --- giving up

// The step and the evaluation that the run waits for come to their end one way or the other. Between two
// programs of an evaluation, the evaluator's next request ends it.
void TrainerCore::give_up() {
  if (!ranks_give_up_ || giving_up_ != 0) return;
  bool step_is_lost = false;
  // No rank has received these.
  std::erase_if(waiting_programs_, [&](const Program& program) {
    if (program.kind.pass == Pass::none) return false;
    step_is_lost = step_is_lost || is_awaited(program);
    return true;
  });
  const auto first = std::find_if(outstanding_.begin(), outstanding_.end(),
                                  [](const auto& program) { return !program.second.counts; });
  if (first != outstanding_.end()) {
    giving_up_ = first->first;
    outbox_.give_up(giving_up_);
  }
  if (step_is_lost) awaited_given_up();
}

bool TrainerCore::is_answered(const Program& program) {
  return !program.request.requester.empty() && program.kind.pass != Pass::none;
}

bool TrainerCore::is_awaited(const Program& program) {
  return program.kind.epilogue == Epilogue::update || program.request.requester == evaluator_name;
}

void TrainerCore::awaited_given_up() {
  step_in_flight_ ? step_given_up() : evaluation_given_up();
}

void TrainerCore::told() {
  if (ended()) return;
  told_ = true;
  cut_if_due();
}

// The communication of a program that all ranks may finish must be over first. A rank may have given up the
// next one already.
void TrainerCore::cut_if_due() {
  if (cut_ || !told_ || outstanding_.empty() || !outstanding_.begin()->second.given_up) return;
  cut_ = true;
  outbox_.cut();
}

void TrainerCore::step_given_up() {
  step_in_flight_ = false;
  passes_.clear();
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
      !asked_.empty() || recorded_step_ < step_)
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
  if (skipped_steps_ > 0)
    outbox_.warn(
        fmt::format("{} of {} steps were skipped by callbacks and changed nothing; metrics.jsonl has "
                    "\"skipped\" in their lines",
                    skipped_steps_, step_));
  RunEnded outcome;
  outcome.tag = settings_.tag;
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
