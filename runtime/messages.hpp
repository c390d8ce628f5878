// What actors say to each other. Plain structs; nothing here knows CAF.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "io/checkpoint.hpp"
#include "kernels/graph_counts.hpp"
#include "kernels/tensor.hpp"
#include "runtime/double_bits.hpp"
#include "runtime/events.hpp"
#include "runtime/program.hpp"

namespace collie {

// On every message: which run, and which incarnation of its ranks. Receivers drop what is stale.
struct RunTag {
  uint64_t run = 0;
  uint32_t generation = 0;
  bool operator==(const RunTag&) const = default;
};

// --- between ranks

enum class Direction : uint8_t { forward, backward, tied_gradient, tied_weight };

// One bounded queue between two stages; the receiver of payloads on it is the rank of `to_stage`.
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
  // Where the tensor travels beside the message, to another process or over NCCL: to the rank's receiver,
  // which takes it off the link or the pipe between them.
  int sender = -1;  // rank; -1: the tensor is in the message
  DType dtype = DType::f32;
  std::vector<int64_t> dims{};
  uint64_t number = 0;  // of the tensors that the sender has sent over the pipe
};

// The receiver has taken a payload out of the channel: there is room for one more.
struct Credit {
  RunTag tag;
  Channel channel;
};

// --- rank to trainer

// What all ranks have agreed on (optim/gradient_norm.hpp), from the first of them. Where it is not finite no
// weight has changed.
struct StepReport {
  RunTag tag;
  uint64_t program = 0;
  DoubleBits loss_sum, gradient_norm;
};

struct EvaluationReport {
  RunTag tag;
  int rank = 0;
  uint64_t program = 0;
  DoubleBits loss_sum;
};

struct TokenReport {
  RunTag tag;
  uint64_t program = 0;
  int32_t token = 0;
};

struct TaskSpan {  // for the trace; seconds on the process's steady clock
  std::string task;
  DoubleBits start_s, end_s;
};

struct RankSummary {
  int64_t weight_elements = 0;
  std::vector<size_t> peak_bytes;  // by category
  size_t peak_total_bytes = 0, current_total_bytes = 0;
  std::vector<int> peak_activations;  // [stages of this rank]: most micro-batches held at once
  // Since the rank's start:
  DoubleBits communicating_s;  // of its compute tasks, blocked in communication
  int64_t sent_bytes = 0;      // to other ranks: payloads and collectives
  GraphCounts graphs;
};

struct ProgramDone {
  RunTag tag;
  int rank = 0;
  uint64_t program = 0;
  DoubleBits busy_s;            // in compute tasks
  std::vector<TaskSpan> spans;  // empty unless tracing
  RankSummary summary;
  std::vector<TaskSpan> communication_spans{};  // in the background; empty unless tracing
  bool given_up = false;                        // before its end, as the trainer had asked
};

struct RankReady {
  RunTag tag;
  int rank = 0;
  bool gives_up = false;  // whether it can give a program up
};

// --- checkpoints

struct SnapshotPart {
  RunTag tag;
  int64_t step = 0;
  int rank = 0;
  std::vector<CheckpointSlice> slices;
};

// Trainer to writer: the parts of this snapshot are on their way.
struct SnapshotExpected {
  RunTag tag;
  int64_t step = 0;
  int64_t position = 0;               // sequences consumed so far
  int64_t steps_without_targets = 0;  // so far
  bool final = false;                 // also write the final model folder
};

// Writer to the nodes' shard writers: the folder for the snapshot's shards is there.
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

// The writer has made a snapshot durable (and, where asked, the final model folder).
struct SnapshotWritten {
  RunTag tag;
  int64_t step = 0;
  std::string path;
};

// --- loader

struct BatchReady {
  RunTag tag;
  int replica = 0;
  std::shared_ptr<const StepBatch> batch;
};

// --- evaluator and generator

// What one of them asks the trainer to insert between steps.
struct ProgramRequest {
  RunTag tag;
  ProgramKind kind = ProgramKind::evaluate;
  std::shared_ptr<const StepBatch> batch;
  Sampling sampling;
  uint64_t sampling_index = 0;
  int64_t cache_capacity = 0;
};

struct GenerationFinished {
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
