#include "runtime/stage_core.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/clock.hpp"

namespace collie {

using schedule::ActionKind;

std::string to_string(const Channel& channel) {
  static constexpr const char* names[] = {"activation", "gradient", "tied gradient", "tied weight"};
  return fmt::format("{} from stage {} to stage {}", names[static_cast<int>(channel.direction)],
                     channel.from_stage, channel.to_stage);
}

namespace {

void add_communicated(const Communicated& before, const Communicated& now, RankStep& step) {
  step.communicating_s = step.communicating_s + now.blocked_s - before.blocked_s;
  step.sent_bytes += now.sent_bytes - before.sent_bytes;
  step.network_bytes += now.network_bytes - before.network_bytes;
}

}  // namespace

StageCore::StageCore(StageSettings settings, StageWorker& worker, StageOutbox& outbox, RankStatus& status)
    : settings_(std::move(settings)), worker_(worker), outbox_(outbox), status_(status) {
  COLLIE_ASSERT(settings_.credits > 0, "rank {} has channels without credits", settings_.rank);
  std::vector<int>& pipeline = settings_.pipeline;
  if (pipeline.empty())
    for (int position = 0;
         position <= *std::max_element(settings_.rank_of_stage.begin(), settings_.rank_of_stage.end());
         ++position)
      pipeline.push_back(position);
  const auto self = std::find(pipeline.begin(), pipeline.end(), settings_.rank);
  COLLIE_ASSERT(self != pipeline.end(), "rank {} is not in its own pipeline", settings_.rank);
  position_in_pipeline_ = static_cast<size_t>(self - pipeline.begin());
}

void StageCore::enqueue(ProgramPtr program) {
  if (stale(program->tag)) return;
  COLLIE_ASSERT(programs_.size() < max_queued_programs, "rank {} already holds {} programs", settings_.rank,
                programs_.size());
  COLLIE_ASSERT(programs_.empty() || program->id == programs_.back()->id + 1,
                "rank {} got program {} after program {}", settings_.rank, program->id, programs_.back()->id);
  programs_.push_back(std::move(program));
}

void StageCore::arrive(Payload payload) {
  if (stale(payload.tag) || payload.program <= dropped_) return;
  const ArrivalKey key{payload.program, payload.channel, payload.micro_batch};
  const bool fresh = arrived_.emplace(key, std::move(payload.tensor)).second;
  COLLIE_ASSERT(fresh, "rank {} got {} of micro-batch {} twice", settings_.rank, to_string(key.channel),
                key.micro_batch);
}

void StageCore::credit(const Credit& credit) {
  if (stale(credit.tag)) return;
  const auto found = credits_.find(credit.channel);
  COLLIE_ASSERT(found != credits_.end() && found->second < settings_.credits,
                "rank {} got a credit it had not spent: {}", settings_.rank, to_string(credit.channel));
  ++found->second;
}

// An evaluation is no part of a step's time.
bool StageCore::is_measured() const {
  return programs_.front()->request.requester != evaluator_name;
}

void StageCore::report_measures() {
  if (!programs_.front()->request.requester.empty()) return;
  const Communicated now = worker_.communicated();
  add_communicated(communicated_, now, measures_);
  communicated_ = now;
  measures_.tag = settings_.tag;
  measures_.rank = settings_.rank;
  measures_.timed = worker_.is_timed();
  measures_.peak_bytes = worker_.peak_bytes();
  outbox_.measured(std::exchange(measures_, {}));
}

void StageCore::synchronize_step() {
  report_measures();
  awaited_ = programs_.front();
  const bool there = worker_.synchronize_step(outbox_.outcome_notifier());
  synchronized_ = true;
  if (there) report_outcome();
}

void StageCore::on_outcome_ready() {
  COLLIE_ASSERT(awaited_, "rank {} knows the outcome of no step", settings_.rank);
  report_outcome();
}

// The first rank reports for all ranks.
void StageCore::report_outcome() {
  const StepOutcome outcome = worker_.outcome();
  const ProgramPtr program = std::exchange(awaited_, nullptr);
  if (settings_.rank != 0) return;
  std::vector<NamedValues> values{{loss_sum_name, {outcome.loss_sum}},
                                  {gradient_norm_name, {outcome.gradient_norm}}};
  if (outcome.first_not_finite >= 0)
    values.push_back({first_not_finite_name, {static_cast<double>(outcome.first_not_finite)}});
  if (!outcome.group_norms.empty())
    values.push_back({group_norms_name, {outcome.group_norms.begin(), outcome.group_norms.end()}});
  reply(*program, std::move(values));
}

void StageCore::reply(const Program& program, std::vector<NamedValues> values) {
  outbox_.report(ProgramReply{settings_.tag, program.id, program.request, program.step, settings_.rank,
                              std::move(values)});
}

const std::vector<Task>& StageCore::list() const {
  return (*programs_.front()->lists)[position_in_pipeline_];
}

const Task& StageCore::current() const {
  return list()[position_];
}

int StageCore::rank_of(int stage) const {
  return settings_.pipeline[static_cast<size_t>(settings_.rank_of_stage[static_cast<size_t>(stage)])];
}

Channel StageCore::channel_of(const Task& task) const {
  const int last = static_cast<int>(settings_.rank_of_stage.size()) - 1;
  switch (task.kind) {
    case TaskKind::send_tied_gradient:
    case TaskKind::receive_tied_gradient:
      return {Direction::tied_gradient, last, 0};
    case TaskKind::send_tied_weight:
    case TaskKind::receive_tied_weight:
      return {Direction::tied_weight, 0, last};
    default:
      break;
  }
  const int stage = task.action.stage;
  switch (task.action.kind) {
    case ActionKind::send_forward:
      return {Direction::forward, stage, stage + 1};
    case ActionKind::receive_forward:
      return {Direction::forward, stage - 1, stage};
    case ActionKind::send_backward:
      return {Direction::backward, stage, stage - 1};
    case ActionKind::receive_backward:
      return {Direction::backward, stage + 1, stage};
    default:
      COLLIE_ASSERT(false, "{} has no channel", to_string(task));
  }
}

bool StageCore::inputs_present(const Task& task) const {
  if (receives(task))
    return arrived_.count({programs_.front()->id, channel_of(task), micro_batch_of(task)}) > 0;
  if (sends(task)) {
    const auto found = credits_.find(channel_of(task));
    return found == credits_.end() || found->second > 0;
  }
  // The input is the outcome of the previous step. This rank's device may have it a moment after the first
  // rank's device.
  if (task.kind == TaskKind::synchronize_step) return !awaited_;
  return true;
}

// The watchdog's view of a task that is about to be computed, or whose input is missing.
RankStatus::Activity StageCore::activity_of(RankStatus::Phase phase, const Task& task) const {
  RankStatus::Activity activity;
  activity.phase = phase;
  activity.task = task;
  if (!sends(task) && !receives(task)) return activity;
  activity.channel = channel_of(task);
  const int other = sends(task) ? activity.channel.to_stage : activity.channel.from_stage;
  activity.peer = rank_of(other);
  activity.credits = settings_.credits;
  return activity;
}

void StageCore::give_up(uint64_t program) {
  to_give_up_ = program;
  // The program is finished here, but other ranks give it up, and this rank's communication is aborted as
  // well.
  if (program <= finished_) worker_.give_up();
}

bool StageCore::give_up_running(uint64_t program) {
  if (!given_up_with(program)) return false;
  to_give_up_ = program;
  drop_running();
  return true;
}

// Whether the running program is given up when `program` is.
bool StageCore::given_up_with(uint64_t program) const {
  if (program == 0 || programs_.empty() || synchronized_) return false;
  const Program& running = *programs_.front();
  return running.id >= program && running.kind.pass != Pass::none;
}

void StageCore::drop_running() {
  const uint64_t program = programs_.front()->id;
  if (awaited_ == programs_.front()) awaited_.reset();
  std::erase_if(arrived_, [&](const auto& arrival) { return arrival.first.program == program; });
  dropped_ = program;
  worker_.give_up();
  finish_program(true);
}

void StageCore::start_next_program() {
  position_ = 0;
  begun_ = true;
  busy_s_ = 0;
  spans_.clear();
  communicated_ = worker_.communicated();
  worker_.begin(*programs_.front());
}

std::optional<Task> StageCore::ready() {
  while (given_up_with(to_give_up_)) drop_running();
  if (programs_.empty()) {
    RankStatus::Activity activity;
    if (awaited_) {
      activity.phase = RankStatus::Phase::waiting;
      activity.task.kind = TaskKind::synchronize_step;
    }
    status_.set(activity, steady_seconds());
    return std::nullopt;
  }
  if (!begun_) {
    start_next_program();
    // A program with an empty list must still be reported as done.
    if (list().empty()) {
      finish_program();
      return ready();
    }
  }
  if (inputs_present(current())) return current();
  status_.set(activity_of(RankStatus::Phase::waiting, current()), steady_seconds());
  return std::nullopt;
}

void StageCore::execute() {
  if (given_up_with(to_give_up_)) return drop_running();
  const Task task = current();
  const double start = steady_seconds();
  // Synchronising the step consists almost only of waiting for the last rank.
  const bool computes = !sends(task) && !receives(task) && task.kind != TaskKind::synchronize_step;
  const auto phase =
      task.kind == TaskKind::synchronize_step ? RankStatus::Phase::waiting : RankStatus::Phase::computing;
  status_.set(activity_of(phase, task), start);
  run(task);
  const double end = steady_seconds();
  if (computes) {
    busy_s_ += end - start;
    if (is_measured()) measures_.busy_s = measures_.busy_s + (end - start);
    if (settings_.trace || programs_.front()->traced) spans_.push_back({to_string(task), start, end});
  }
  ++position_;
  if (position_ == list().size()) finish_program();
}

void StageCore::run(const Task& task) {
  const Program& program = *programs_.front();
  if (sends(task)) return send_payload(task);
  if (receives(task)) return receive_payload(task);
  switch (task.kind) {
    case TaskKind::synchronize_step:
      return synchronize_step();
    case TaskKind::update:
      return worker_.update();
    case TaskKind::report_losses:
      if (!settings_.is_reporter) return;
      return reply(program, worker_.loss_values());
    case TaskKind::sample: {
      std::vector<NamedValues> tokens = worker_.sample();
      if (!settings_.is_reporter) return;
      return reply(program, std::move(tokens));
    }
    case TaskKind::snapshot:
      return outbox_.deliver(SnapshotPart{settings_.tag, program.step, settings_.rank, worker_.snapshot()});
    default:
      return worker_.compute(task);
  }
}

void StageCore::send_payload(const Task& task) {
  const Channel channel = channel_of(task);
  --credits_.try_emplace(channel, settings_.credits).first->second;
  const int micro_batch = micro_batch_of(task);
  Tensor tensor = worker_.take(channel, micro_batch);
  if (tensor.defined()) {
    sent_bytes_ += static_cast<int64_t>(tensor.bytes());
    if (is_measured()) measures_.sent_bytes += static_cast<int64_t>(tensor.bytes());
  }
  outbox_.send(rank_of(channel.to_stage),
               Payload{settings_.tag, channel, programs_.front()->id, micro_batch, std::move(tensor)});
}

void StageCore::receive_payload(const Task& task) {
  const Channel channel = channel_of(task);
  const int micro_batch = micro_batch_of(task);
  auto node = arrived_.extract({programs_.front()->id, channel, micro_batch});
  worker_.put(channel, micro_batch, std::move(node.mapped()));
  outbox_.send(rank_of(channel.from_stage), Credit{settings_.tag, channel});
}

void StageCore::finish_program(bool given_up) {
  if (!given_up) worker_.end();
  if (begun_ && is_measured()) add_communicated(communicated_, worker_.communicated(), measures_);
  ProgramDone done;
  done.tag = settings_.tag;
  done.rank = settings_.rank;
  done.program = programs_.front()->id;
  done.busy_s = busy_s_;
  done.spans = std::move(spans_);
  done.summary = worker_.summary();
  done.summary.sent_bytes += sent_bytes_;
  for (TaskSpan& span : worker_.take_communication_spans())
    if (settings_.trace || programs_.front()->traced) done.communication_spans.push_back(std::move(span));
  done.given_up = given_up;
  finished_ = done.program;
  programs_.pop_front();
  begun_ = synchronized_ = false;
  outbox_.report(std::move(done));
}

}  // namespace collie
