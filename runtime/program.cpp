#include "runtime/program.hpp"

#include <utility>

#include "base/error.hpp"
#include "schedule/schedules.hpp"
#include "schedule/validator.hpp"

namespace collie {

using schedule::ActionKind;

namespace {

TaskLists pipeline_tasks(const schedule::Schedule& schedule) {
  TaskLists lists(static_cast<size_t>(schedule.ranks));
  for (size_t rank = 0; rank < lists.size(); ++rank)
    for (const auto& action : schedule.lists[rank]) lists[rank].push_back({TaskKind::pipeline, action});
  return lists;
}

// Whether an action is of the backward of a stage that has none, or takes a gradient there.
bool is_of_frozen(const schedule::Action& action, int first_trained_stage) {
  switch (action.kind) {
    case ActionKind::backward:
    case ActionKind::backward_input:
    case ActionKind::backward_weight:
    case ActionKind::receive_backward:
      return action.stage < first_trained_stage;
    case ActionKind::send_backward:
      return action.stage <= first_trained_stage;
    default:
      return false;
  }
}

void check(const ProgramKind& kind) {
  const bool trains = kind.pass == Pass::train;
  COLLIE_ASSERT(trains == (kind.gradients != GradientUse::none), "gradients come from a training pass alone");
  const bool reports = kind.gradients == GradientUse::none || kind.gradients == GradientUse::norm_only;
  COLLIE_ASSERT(reports == (kind.epilogue != Epilogue::update),
                "an update needs the gradients, and nothing else does");
  COLLIE_ASSERT(trains || kind.labels == Labels::given, "labels are sampled in a training pass alone");
  COLLIE_ASSERT((kind.pass == Pass::decode) == (kind.epilogue == Epilogue::sample),
                "a sample is drawn after decoding, and always");
  COLLIE_ASSERT((kind.pass == Pass::none) ==
                    (kind.epilogue == Epilogue::snapshot || kind.epilogue == Epilogue::release),
                "a program without a batch is a snapshot or a release, and no other is");
}

// The head's rank has no state to make the average of. It gets that from the embedding's rank.
void prepend_tied_weight(const Layout& layout, TaskLists& lists) {
  const auto first = static_cast<size_t>(layout.rank_of_stage.front());
  const auto last = static_cast<size_t>(layout.rank_of_stage.back());
  if (first == last) return;
  lists[first].insert(lists[first].begin(), {TaskKind::send_tied_weight, {}});
  lists[last].insert(lists[last].begin(), {TaskKind::receive_tied_weight, {}});
}

ProgramTasks pass_tasks(Pass pass, const Layout& layout, int micro_batches) {
  if (pass == Pass::none) return {TaskLists(static_cast<size_t>(layout.grid.pipeline)), {}};
  if (pass != Pass::train) {
    TaskLists lists = pipeline_tasks(
        schedule::with_communication(schedule::forward_only(layout.rank_of_stage, micro_batches)));
    if (layout.tied_average) prepend_tied_weight(layout, lists);
    return {std::move(lists), {}};
  }
  const schedule::Schedule schedule = schedule::make_schedule(
      layout.schedule, {layout.grid.pipeline, micro_batches, layout.virtual_stages, layout.split_backward});
  TaskLists lists = pipeline_tasks(schedule::with_communication(schedule));
  for (auto& list : lists)
    std::erase_if(list,
                  [&](const Task& task) { return is_of_frozen(task.action, layout.first_trained_stage); });
  return {std::move(lists), schedule::peak_activations(schedule)};
}

void append_to_all(TaskKind kind, TaskLists& lists) {
  for (auto& list : lists) list.push_back({kind, {}});
}

// Appends the tasks after the last backward. Gradients are summed over the data group, the two halves of a
// tied gradient are added, and all ranks synchronise the step.
void append_synchronization(const Layout& layout, TaskLists& lists) {
  const auto first = static_cast<size_t>(layout.rank_of_stage.front());
  const auto last = static_cast<size_t>(layout.rank_of_stage.back());
  append_to_all(TaskKind::reduce_gradients, lists);
  if (layout.tied && first != last) {
    lists[last].push_back({TaskKind::send_tied_gradient, {}});
    lists[first].push_back({TaskKind::receive_tied_gradient, {}});
  }
  if (layout.tied) lists[first].push_back({TaskKind::add_tied_gradient, {}});
  append_to_all(TaskKind::sum_squares, lists);
  append_to_all(TaskKind::synchronize_step, lists);
}

void append_update(const Layout& layout, bool has_new_weights, TaskLists& lists) {
  const auto first = static_cast<size_t>(layout.rank_of_stage.front());
  const auto last = static_cast<size_t>(layout.rank_of_stage.back());
  append_to_all(TaskKind::update, lists);
  if (has_new_weights && layout.tied && first != last) {
    lists[first].push_back({TaskKind::send_tied_weight, {}});
    lists[last].push_back({TaskKind::receive_tied_weight, {}});
  }
}

void append_epilogue(const ProgramKind& kind, const Layout& layout, TaskLists& lists) {
  auto& of_head = lists[static_cast<size_t>(layout.rank_of_stage.back())];
  switch (kind.epilogue) {
    case Epilogue::update:
      return append_update(layout, changes_weights(kind), lists);
    case Epilogue::report:  // the synchronised step reports itself, as soon as its outcome is there
      if (kind.gradients == GradientUse::none) of_head.push_back({TaskKind::report_losses, {}});
      return;
    case Epilogue::sample:
      return of_head.push_back({TaskKind::sample, {}});
    case Epilogue::snapshot:
      return append_to_all(TaskKind::snapshot, lists);
    case Epilogue::release:  // there is nothing to do in order
      return;
  }
}

}  // namespace

bool changes_weights(const ProgramKind& kind) {
  return kind.gradients == GradientUse::update || kind.gradients == GradientUse::fused;
}

std::string to_string(const Task& task) {
  switch (task.kind) {
    case TaskKind::pipeline:
      return schedule::to_string(task.action);
    case TaskKind::reduce_gradients:
      return "reduce gradients";
    case TaskKind::send_tied_gradient:
      return "send tied gradient";
    case TaskKind::receive_tied_gradient:
      return "receive tied gradient";
    case TaskKind::add_tied_gradient:
      return "add tied gradient";
    case TaskKind::sum_squares:
      return "sum squares";
    case TaskKind::synchronize_step:
      return "synchronize step";
    case TaskKind::update:
      return "update";
    case TaskKind::send_tied_weight:
      return "send tied weight";
    case TaskKind::receive_tied_weight:
      return "receive tied weight";
    case TaskKind::report_losses:
      return "report losses";
    case TaskKind::sample:
      return "sample";
    case TaskKind::snapshot:
      return "snapshot";
  }
  COLLIE_ASSERT(false, "unknown task kind {}", static_cast<int>(task.kind));
}

bool sends(const Task& task) {
  return task.kind == TaskKind::send_tied_gradient || task.kind == TaskKind::send_tied_weight ||
         (task.kind == TaskKind::pipeline &&
          (task.action.kind == ActionKind::send_forward || task.action.kind == ActionKind::send_backward));
}

bool receives(const Task& task) {
  return task.kind == TaskKind::receive_tied_gradient || task.kind == TaskKind::receive_tied_weight ||
         (task.kind == TaskKind::pipeline && (task.action.kind == ActionKind::receive_forward ||
                                              task.action.kind == ActionKind::receive_backward));
}

int micro_batch_of(const Task& task) {
  return task.kind == TaskKind::pipeline ? task.action.micro_batch : 0;
}

ProgramTasks tasks_of(const ProgramKind& kind, const Layout& layout, int micro_batches) {
  check(kind);
  ProgramTasks tasks = pass_tasks(kind.pass, layout, micro_batches);
  if (kind.gradients != GradientUse::none) append_synchronization(layout, tasks.lists);
  append_epilogue(kind, layout, tasks.lists);
  return tasks;
}

}  // namespace collie
