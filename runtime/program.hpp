// A program: what every rank does next, as one list of tasks a rank. Training steps, evaluation, generation
// and snapshots are all programs; the trainer sends them to every rank in the same order, and there is no
// second way of running the model.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "io/batch.hpp"
#include "models/sampling.hpp"
#include "runtime/double_bits.hpp"
#include "runtime/grid.hpp"
#include "schedule/action.hpp"

namespace collie {

enum class TaskKind : uint8_t {
  pipeline,               // `action`: F, B, I, W, and the sends and receives between stages
  reduce_gradients,       // waits until the gradients are summed over the data group
  send_tied_gradient,     // the head's gradient of a tied matrix, to the embedding's rank
  receive_tied_gradient,  // and its arrival there
  add_tied_gradient,      // embedding's accumulator += head's accumulator
  sum_squares,            // of this rank's gradients
  synchronize_step,       // all ranks' losses and sums of squares make the step's loss, norm and clipping
  update,                 // the optimizer
  send_tied_weight,       // the updated tied matrix, to the head's rank
  receive_tied_weight,
  report_evaluation,  // losses of the program's micro-batches, to the trainer
  sample,             // next token from the last logits, to the trainer
  snapshot,           // copies of weights and optimizer states, to the checkpoint writer
};

struct Task {
  TaskKind kind = TaskKind::pipeline;
  schedule::Action action;  // of TaskKind::pipeline
  bool operator==(const Task&) const = default;
};

std::string to_string(const Task& task);  // "1F3", "update", ...
// Whether a tensor leaves for another rank, or is waited for from one.
bool sends(const Task& task);
bool receives(const Task& task);
int micro_batch_of(const Task& task);  // 0 for tasks of the whole step

using TaskLists = std::vector<std::vector<Task>>;  // [pipeline positions]

enum class ProgramKind : uint8_t { train, evaluate, generate, snapshot };
std::string_view name(ProgramKind kind);

struct Program {
  uint64_t id = 0;  // consecutive from 1, set by the trainer
  ProgramKind kind = ProgramKind::train;
  int64_t step = 0;  // train: the step it computes; else: the last one computed
  // train: how many updates the weights will have seen with this one. As many as steps but where some had no
  // targets, which update nothing.
  int64_t update = 0;
  DoubleBits lr;  // train: of the step
  std::shared_ptr<const TaskLists> lists;
  std::vector<int> activation_limits;  // [stages]: most micro-batches a stage may hold (train)
  // Of each data-parallel replica, all with as many micro-batches; empty where there are none.
  std::vector<std::shared_ptr<const StepBatch>> batches;
  // generate:
  Sampling sampling;
  uint64_t sampling_index = 0;  // number of the token being drawn
  int64_t cache_capacity = 0;   // > 0: start an empty key/value cache of that many tokens
};

using ProgramPtr = std::shared_ptr<const Program>;

// What the lists of a run depend on. Lists are by pipeline position; all ranks of a position have the same.
struct Layout {
  Grid grid;
  int stages = 1;
  std::vector<int> rank_of_stage;  // [stages] pipeline positions
  std::string schedule = "1f1b";
  int virtual_stages = 1;
  bool split_backward = false;
  bool tied = false;  // a tied embedding, whose head is on the last stage
};

// The tasks of a training step of `micro_batches`, an evaluation of as many, one token of generation, a
// snapshot. Throws UserError where the schedule does not fit (schedule/validator.hpp).
TaskLists training_tasks(const Layout& layout, int micro_batches, std::vector<int>& activation_limits);
TaskLists evaluation_tasks(const Layout& layout, int micro_batches);
TaskLists generation_tasks(const Layout& layout);
TaskLists snapshot_tasks(const Layout& layout);

}  // namespace collie
