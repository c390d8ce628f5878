// A program is the next work of every rank, as one list of tasks per rank. Training steps, evaluation,
// generation and snapshots are all programs. The trainer sends them to every rank in the same order, and
// there is no second way to run the model.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "io/batch.hpp"
#include "models/sampling.hpp"
#include "runtime/double_bits.hpp"
#include "runtime/grid.hpp"
#include "runtime/run_tag.hpp"
#include "schedule/action.hpp"

namespace collie {

enum class TaskKind : uint8_t {
  pipeline,               // does `action`: F, B, I, W, and the sends and receives between stages
  reduce_gradients,       // waits until the gradients are summed over the data group
  send_tied_gradient,     // sends the head's gradient of a tied matrix to the embedding's rank
  receive_tied_gradient,  // receives it there
  add_tied_gradient,      // adds the head's accumulator to the embedding's
  sum_squares,            // over this rank's gradients
  synchronize_step,  // reduces all ranks' losses and sums of squares to the step's loss, norm and clipping
  update,            // runs the optimizer
  send_tied_weight,  // sends the updated tied matrix to the head's rank
  receive_tied_weight,
  report_losses,  // sends the losses of the program's micro-batches to the trainer
  sample,         // samples the next token from the last logits and sends it to the trainer
  snapshot,       // sends copies of weights and optimizer states to the checkpoint writer
};

struct Task {
  TaskKind kind = TaskKind::pipeline;
  schedule::Action action;  // if kind is TaskKind::pipeline
  bool operator==(const Task&) const = default;
};

std::string to_string(const Task& task);  // "1F3", "update", ...
// Whether the task sends a tensor to another rank, or waits for a tensor from one.
bool sends(const Task& task);
bool receives(const Task& task);
int micro_batch_of(const Task& task);  // 0 for tasks of the whole step

using TaskLists = std::vector<std::vector<Task>>;  // [pipeline positions]

// What a program does with its batch.
enum class Pass : uint8_t {
  none,    // it has no batch
  train,   // forward and backward
  loss,    // forward: the losses of the labels
  decode,  // forward over a key/value cache: the logits of the last token
};

// The labels of Pass::train.
enum class Labels : uint8_t {
  given,    // the batch's own
  sampled,  // those that the model samples from its softmax, where the batch has one
};

// What becomes of the gradients of Pass::train.
enum class GradientUse : uint8_t {
  none,       // there are no gradients
  update,     // they are accumulated for the optimizer
  estimate,   // the optimizer estimates the loss's curvature from them; no weight changes
  fused,      // layers are updated inside the pass, as soon as their gradients are complete
  clip,       // loss and norm are computed, by which the fused update that follows clips
  norm_only,  // loss and norm are computed as in a step; then the gradients are dropped
};

// The end of a program, after its pass.
enum class Epilogue : uint8_t {
  update,    // runs the optimizer, or its estimate, or what a fused pass has left of it
  report,    // sends losses, and the norm if there are gradients, to who asked
  sample,    // samples the next token and sends it to who asked
  snapshot,  // sends weights and optimizer states to the checkpoint writer
  release,   // frees all that the requester's sequences hold
};

struct ProgramKind {
  Pass pass = Pass::train;
  GradientUse gradients = GradientUse::update;
  Epilogue epilogue = Epilogue::update;
  Labels labels = Labels::given;
  bool operator==(const ProgramKind&) const = default;
};

// Whether the optimizer changes weights.
bool changes_weights(const ProgramKind& kind);

inline constexpr ProgramKind training_program{};
inline constexpr ProgramKind estimate_program{Pass::train, GradientUse::estimate, Epilogue::update,
                                              Labels::sampled};
inline constexpr ProgramKind fused_program{Pass::train, GradientUse::fused, Epilogue::update};
inline constexpr ProgramKind clip_program{Pass::train, GradientUse::clip, Epilogue::update};
inline constexpr ProgramKind norm_program{Pass::train, GradientUse::norm_only, Epilogue::report};
inline constexpr ProgramKind evaluation_program{Pass::loss, GradientUse::none, Epilogue::report};
inline constexpr ProgramKind generation_program{Pass::decode, GradientUse::none, Epilogue::sample};
inline constexpr ProgramKind snapshot_program{Pass::none, GradientUse::none, Epilogue::snapshot};
inline constexpr ProgramKind release_program{Pass::none, GradientUse::none, Epilogue::release};

// The sequences of a decoding program. The caches of a requester's sequences are its own; they stay until it
// ends them.
struct Decoding {
  struct Sequence {
    int64_t number = 0;    // of the requester's sequences
    int64_t capacity = 0;  // > 0: it starts, with room for so many tokens
    Sampling sampling;
    uint64_t index = 0;         // of the token that is drawn
    std::vector<int32_t> seen;  // the text's tokens, each once, where sampling asks for them
  };
  std::vector<Sequence> next;  // document i of the batch's one micro-batch has the next tokens of next[i]
  std::vector<int64_t> ended;  // whose caches are freed before
  bool afresh = false;         // all others that are held are, too
};

struct Program {
  RunTag tag;
  uint64_t id = 0;  // consecutive from 1; set by the trainer
  Request request;  // who asked, and gets the values
  ProgramKind kind;
  // Of a training step, or the estimate before its update: the one that is computed; otherwise: the last one
  // computed.
  int64_t step = 0;
  // Of a training step: the number of updates that the weights have had after this program. It equals the
  // number of steps minus the steps without targets, because those update nothing. Of an estimate: that of
  // the update that follows.
  int64_t update = 0;
  DoubleBits lr_factor;  // of a training step: what the schedule makes of every learning rate in this step
  // Of a fused pass: the gradient's norm by which it clips; 0: it does not.
  DoubleBits clip_norm;
  // Of a training step: above one of these it updates nothing. A fused pass has none.
  DoubleBits most_loss_sum{std::numeric_limits<double>::max()}, most_norm{std::numeric_limits<double>::max()};
  std::vector<std::vector<DoubleBits>> memory;  // of a training step: UpdateMemory of each parameter group
  std::shared_ptr<const TaskLists> lists;
  std::vector<int> activation_limits;  // ProgramTasks::activation_limits
  // One batch per data-parallel replica, all with the same number of micro-batches. Empty if the program has
  // no batch.
  std::vector<std::shared_ptr<const StepBatch>> batches;
  bool traced = false;        // ranks report when each task ran, also without a trace of the run
  bool per_document = false;  // Pass::loss: reports the losses of each document as well
  Decoding decoding;          // Pass::decode
};

using ProgramPtr = std::shared_ptr<const Program>;

// The layout holds everything that a run's lists depend on. Lists are per pipeline position; all ranks at one
// position have the same list.
struct Layout {
  Grid grid;
  int stages = 1;
  std::vector<int> rank_of_stage;  // [stages] pipeline positions
  std::string schedule = "1f1b";
  int virtual_stages = 1;
  bool split_backward = false;
  bool tied = false;  // the embedding is tied; its head is on the last stage
  // Stages before it have nothing that is trained, and no backward.
  int first_trained_stage = 0;
  bool tied_average = false;  // what is tied is evaluated with other weights than those that are trained
};

struct ProgramTasks {
  TaskLists lists;
  // [stages]: the most micro-batches that a stage may hold activations of. Empty unless Pass::train.
  std::vector<int> activation_limits;
};

// Returns the tasks of a program of `micro_batches` (0 with Pass::none). Throws UserError if the schedule
// does not fit (schedule/validator.hpp). The parts of `kind` must fit together.
ProgramTasks tasks_of(const ProgramKind& kind, const Layout& layout, int micro_batches);

}  // namespace collie
