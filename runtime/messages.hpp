// The messages between actors. They are plain structs; nothing here knows CAF.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/process_use.hpp"
#include "io/checkpoint.hpp"
#include "kernels/graph_counts.hpp"
#include "kernels/tensor.hpp"
#include "kernels/update_rule.hpp"
#include "runtime/double_bits.hpp"
#include "runtime/events.hpp"
#include "runtime/program.hpp"
#include "runtime/program_reply.hpp"
#include "runtime/run_tag.hpp"

namespace collie {

// --- between ranks

enum class Direction : uint8_t { forward, backward, tied_gradient, tied_weight };

// A channel is one bounded queue between two stages. The rank of `to_stage` receives its payloads.
struct Channel {
  Direction direction = Direction::forward;
  int from_stage = 0, to_stage = 0;
  auto operator<=>(const Channel&) const = default;
};
std::string to_string(const Channel& channel);

struct Payload {
  RunTag tag;
  Channel channel;
  uint64_t program = 0;
  int micro_batch = 0;
  Tensor tensor;
  // The tensor may travel beside the message, to another process or over NCCL. It then goes to the rank's
  // receiver, which takes it off the link or the pipe between the two ranks.
  int sender = -1;  // rank; -1: the tensor is in the message
  DType dtype = DType::f32;
  std::vector<int64_t> dims{};
  uint64_t number = 0;  // counts the tensors that the sender has sent over the pipe
};

// The receiver has taken a payload out of the channel, so there is room for one more.
struct Credit {
  RunTag tag;
  Channel channel;
};

// --- rank to trainer

struct TaskSpan {  // for the trace; seconds on the process's steady clock
  std::string task;
  DoubleBits start_s, end_s;
};

struct RankSummary {
  int64_t weight_elements = 0;
  std::vector<size_t> peak_bytes;  // [categories]
  size_t peak_total_bytes = 0, current_total_bytes = 0;
  std::vector<int> peak_activations;  // [stages of this rank]: the most micro-batches held at once
  // The next members count from the rank's start.
  DoubleBits communicating_s;  // time that its compute tasks were blocked in communication
  int64_t sent_bytes = 0;      // bytes sent to other ranks: payloads and collectives
  GraphCounts graphs;
};

struct ProgramDone {
  RunTag tag;
  int rank = 0;
  uint64_t program = 0;
  DoubleBits busy_s;            // time in compute tasks
  std::vector<TaskSpan> spans;  // empty unless tracing
  RankSummary summary;
  std::vector<TaskSpan> communication_spans{};  // communication in the background; empty unless tracing
  bool given_up = false;  // stopped before its end, because the trainer had asked for it
};

// What a rank has done since its last report of this kind, or its start, without evaluations. It reports just
// before it synchronises a step with the others, so that the report is there when the step's outcome is.
struct RankStep {
  RunTag tag;
  int rank = 0;
  DoubleBits busy_s;           // in compute tasks
  DoubleBits communicating_s;  // of these, blocked in communication
  bool timed = true;           // false: these are the times of a host that queues work for a device
  int64_t sent_bytes = 0;      // to other ranks
  int64_t network_bytes = 0;   // of these: to groups that reach into other processes, and to stages there
  std::vector<uint64_t> peak_bytes{};  // [categories] since the rank's start
  ProcessUse process{};                // of the rank's process, from its first rank; at most twice per second
};

struct RankReady {
  RunTag tag;
  int rank = 0;
  bool gives_up = false;  // whether the rank can give up a program
};

// --- checkpoints

struct SnapshotPart {
  RunTag tag;
  int64_t step = 0;
  int rank = 0;
  std::vector<CheckpointSlice> slices;
};

// The trainer tells the writer that the parts of this snapshot are on their way.
struct SnapshotExpected {
  RunTag tag;
  int64_t step = 0;
  int64_t position = 0;                   // sequences consumed so far
  int64_t steps_without_targets = 0;      // steps so far whose batch had no targets
  int64_t estimated_step = 0;             // the last step whose estimate of the curvature is in the states
  double last_norm = 0;                   // of the gradients of the last step that had some
  bool final = false;                     // also write the final model folder
  std::vector<UpdateMemory> memory = {};  // of each parameter group, after the step
  std::optional<double> evaluation = {};  // checkpoint.best_metric after the step, if it is known and finite
  std::string callbacks = {};             // JSON: what callbacks keep (Callback::save_state()), by name
  int64_t skipped_steps = 0;              // steps so far that updated nothing, by a callback's wish
};

// The writer tells the nodes' shard writers that the folder for the snapshot's shards exists.
struct SnapshotBegun {
  RunTag tag;
  int64_t step = 0;
  std::string folder;
};

// A rank's shard is on the disk.
struct ShardWritten {
  RunTag tag;
  int64_t step = 0;
  int rank = 0;
  std::string entry;  // JSON, for the manifest
};

// The writer has made a snapshot durable, and also the final model folder if that was asked for.
struct SnapshotWritten {
  RunTag tag;
  int64_t step = 0;
  std::string path;
};

// --- loader and monitor

// The trainer asks every loader for its replica's batch.
struct BatchWanted {
  RunTag tag;
  int64_t step = 0;
};

struct BatchReady {
  RunTag tag;
  int replica = 0;
  std::shared_ptr<const StepBatch> batch;
};

// The monitor has passed on the step's record.
struct StepRecorded {
  RunTag tag;
  int64_t step = 0;
};

// --- evaluator and generator

// The trainer begins an evaluation of the weights after `step`, or the generation.
struct EvaluationWanted {
  RunTag tag;
  int64_t step = 0;
};
struct GenerationWanted {
  RunTag tag;
};

// --- who asks for programs

// Asks the trainer to insert this program between steps. The answer is a ProgramReply. There is none if the
// run ends first. A requester has one request on its way (Asker).
struct ProgramRequest {
  RunTag tag;
  Request request;
  ProgramKind kind = evaluation_program;
  std::shared_ptr<const StepBatch> batch;  // of all replicas
  bool per_document = false;               // Program::per_document
  Decoding decoding;                       // Program::decoding
};

// A requester's texts are finished; nothing is kept for it.
struct GenerationFinished {
  RunTag tag;
  std::string requester;
};

// --- endings

// To nodes, and from them to their ranks: StageCore::give_up().
struct GiveUp {
  RunTag tag;
  uint64_t program = 0;
};
// From a node: all its ranks have got it.
struct RanksTold {
  RunTag tag;
  int node = 0;
};
// To nodes: their ranks' communication for the programs that are given up is aborted.
struct CutCommunication {
  RunTag tag;
};

// --- failures

enum class FailureKind : uint8_t { input, run };  // exit code 2 or 1

struct Failure {
  RunTag tag;
  FailureKind kind = FailureKind::run;
  std::string who;  // "rank 2 (stage 2)", "checkpoint writer"
  std::string cause;
};

}  // namespace collie
