#include "runtime/program.hpp"

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

TaskLists forward_tasks(const Layout& layout, int micro_batches) {
  return pipeline_tasks(
      schedule::with_communication(schedule::forward_only(layout.rank_of_stage, micro_batches)));
}

// Appends the tasks after the last backward. Gradients are summed over the data group, the two halves of a
// tied gradient are added, all ranks synchronise the step, and the weights are updated.
void append_update(const Layout& layout, TaskLists& lists) {
  const auto first = static_cast<size_t>(layout.rank_of_stage.front());
  const auto last = static_cast<size_t>(layout.rank_of_stage.back());
  for (auto& list : lists) list.push_back({TaskKind::reduce_gradients, {}});
  if (layout.tied && first != last) {
    lists[last].push_back({TaskKind::send_tied_gradient, {}});
    lists[first].push_back({TaskKind::receive_tied_gradient, {}});
  }
  if (layout.tied) lists[first].push_back({TaskKind::add_tied_gradient, {}});
  for (auto& list : lists) {
    for (const TaskKind kind : {TaskKind::sum_squares, TaskKind::synchronize_step, TaskKind::update})
      list.push_back({kind, {}});
  }
  if (layout.tied && first != last) {
    lists[first].push_back({TaskKind::send_tied_weight, {}});
    lists[last].push_back({TaskKind::receive_tied_weight, {}});
  }
}

}  // namespace

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
    case TaskKind::report_evaluation:
      return "report evaluation";
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

std::string_view name(ProgramKind kind) {
  switch (kind) {
    case ProgramKind::train:
      return "train";
    case ProgramKind::evaluate:
      return "evaluate";
    case ProgramKind::generate:
      return "generate";
    case ProgramKind::snapshot:
      return "snapshot";
  }
  COLLIE_ASSERT(false, "unknown program kind {}", static_cast<int>(kind));
}

TaskLists training_tasks(const Layout& layout, int micro_batches, std::vector<int>& activation_limits) {
  const schedule::Schedule schedule = schedule::make_schedule(
      layout.schedule, {layout.grid.pipeline, micro_batches, layout.virtual_stages, layout.split_backward});
  activation_limits = schedule::peak_activations(schedule);
  TaskLists lists = pipeline_tasks(schedule::with_communication(schedule));
  append_update(layout, lists);
  return lists;
}

TaskLists evaluation_tasks(const Layout& layout, int micro_batches) {
  TaskLists lists = forward_tasks(layout, micro_batches);
  lists[static_cast<size_t>(layout.rank_of_stage.back())].push_back({TaskKind::report_evaluation, {}});
  return lists;
}

TaskLists generation_tasks(const Layout& layout) {
  TaskLists lists = forward_tasks(layout, 1);
  lists[static_cast<size_t>(layout.rank_of_stage.back())].push_back({TaskKind::sample, {}});
  return lists;
}

TaskLists snapshot_tasks(const Layout& layout) {
  return TaskLists(static_cast<size_t>(layout.grid.pipeline), {Task{TaskKind::snapshot, {}}});
}

}  // namespace collie
