// The serialisation of messages between processes. Numbers are integers, because CAF 0.17 cannot carry every
// double. Only caf_types.hpp needs to include this file.
#pragma once

#include <caf/all.hpp>
#include <memory>
#include <type_traits>
#include <vector>

#include "actors/spawn.hpp"
#include "runtime/message_link.hpp"
#include "runtime/messages.hpp"

namespace collie {

// A program. The ranks of one process share it, and other processes get a copy.
struct ProgramMessage {
  ProgramPtr program;
};

namespace wire {

// The largest count that a peer may announce, because its message is not trusted yet.
inline constexpr uint64_t most_elements = uint64_t{1} << 31;

// Serialises a vector of plain numbers as raw bytes, which is ten times as fast as element by element.
template <class Number>
struct Raw {
  std::vector<Number>& values;
};
template <class Inspector, class Number>
typename Inspector::result_type inspect(Inspector& f, Raw<Number>& x) {
  static_assert(std::is_trivially_copyable_v<Number>);
  uint64_t count = x.values.size();
  if constexpr (std::is_base_of_v<caf::serializer, Inspector>) {
    if (auto error = f(count)) return error;
    return count ? f.apply_raw(count * sizeof(Number), x.values.data()) : caf::error{};
  } else if constexpr (std::is_base_of_v<caf::deserializer, Inspector>) {
    if (auto error = f(count)) return error;
    if (count > most_elements) return caf::sec::invalid_argument;
    x.values.resize(count);
    return count ? f.apply_raw(count * sizeof(Number), x.values.data()) : caf::error{};
  } else {
    return f(count);
  }
}
template <class Number>
Raw<Number> raw(std::vector<Number>& values) {
  return {values};
}

}  // namespace wire

template <class Inspector>
auto inspect(Inspector& f, Request& x) {
  return f(x.requester, x.number);
}
template <class Inspector>
auto inspect(Inspector& f, NamedValues& x) {
  return f(x.name, x.values);
}
template <class Inspector>
auto inspect(Inspector& f, ProgramReply& x) {
  return f(x.tag, x.program, x.request, x.step, x.rank, x.values);
}
template <class Inspector>
auto inspect(Inspector& f, Channel& x) {
  return f(x.direction, x.from_stage, x.to_stage);
}
// The tensor itself goes over the link between the ranks; the message describes it.
template <class Inspector>
auto inspect(Inspector& f, Payload& x) {
  return f(x.tag, x.channel, x.program, x.micro_batch, x.sender, x.dtype, x.dims, x.number);
}
template <class Inspector>
auto inspect(Inspector& f, Credit& x) {
  return f(x.tag, x.channel);
}
template <class Inspector>
auto inspect(Inspector& f, TaskSpan& x) {
  return f(x.task, x.start_s, x.end_s);
}
template <class Inspector>
auto inspect(Inspector& f, RankSummary& x) {
  return f(x.weight_elements, x.peak_bytes, x.peak_total_bytes, x.current_total_bytes, x.peak_activations,
           x.communicating_s, x.sent_bytes, x.graphs);
}
template <class Inspector>
auto inspect(Inspector& f, ProgramDone& x) {
  return f(x.tag, x.rank, x.program, x.busy_s, x.spans, x.summary, x.communication_spans, x.given_up);
}
template <class Inspector>
auto inspect(Inspector& f, ProcessUse& x) {
  return f(x.process, x.at_ns, x.resident_bytes, x.most_resident_bytes, x.read_bytes, x.written_bytes);
}
template <class Inspector>
auto inspect(Inspector& f, RankStep& x) {
  return f(x.tag, x.rank, x.busy_s, x.communicating_s, x.timed, x.sent_bytes, x.network_bytes, x.peak_bytes,
           x.process);
}
template <class Inspector>
auto inspect(Inspector& f, RankReady& x) {
  return f(x.tag, x.rank, x.gives_up);
}
template <class Inspector>
auto inspect(Inspector& f, GiveUp& x) {
  return f(x.tag, x.program);
}
template <class Inspector>
auto inspect(Inspector& f, RanksTold& x) {
  return f(x.tag, x.node);
}
template <class Inspector>
auto inspect(Inspector& f, CutCommunication& x) {
  return f(x.tag);
}
template <class Inspector>
auto inspect(Inspector& f, Failure& x) {
  return f(x.tag, x.kind, x.who, x.cause);
}
template <class Inspector>
auto inspect(Inspector& f, Wiring& x) {
  return f(x.tag, x.ranks, x.receivers, x.node_of_rank, x.trainer, x.writers, x.directory, x.link_ends);
}
template <class Inspector>
auto inspect(Inspector& f, NodeRanks& x) {
  return f(x.tag, x.node, x.self, x.ranks, x.receivers, x.writer, x.link_ends);
}
template <class Inspector>
auto inspect(Inspector& f, NodeOrder& x) {
  return f(x.tag, x.node, x.node_of_rank, x.plan, x.trainer, x.writer, x.endpoints);
}
template <class Inspector>
auto inspect(Inspector& f, RemoteNode& x) {
  return f(x.address, x.host, x.endpoint);
}
template <class Inspector>
auto inspect(Inspector& f, SnapshotBegun& x) {
  return f(x.tag, x.step, x.folder);
}
template <class Inspector>
auto inspect(Inspector& f, ShardWritten& x) {
  return f(x.tag, x.step, x.rank, x.entry);
}

// A write reads straight from the sender's memory; a read allocates its own memory.
template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, LinkMessage& x) {
  uint64_t count = x.bytes.size();
  if constexpr (std::is_base_of_v<caf::serializer, Inspector>) {
    if (auto error = f(x.kind, x.from, x.tag, count)) return error;
    return count ? f.apply_raw(count, const_cast<std::byte*>(x.bytes.data())) : caf::error{};
  } else if constexpr (std::is_base_of_v<caf::deserializer, Inspector>) {
    if (auto error = f(x.kind, x.from, x.tag, count)) return error;
    if (count > most_link_bytes) return caf::sec::invalid_argument;
    const std::shared_ptr<std::byte[]> bytes(new std::byte[count]);  // not set to zero
    x.bytes = {bytes.get(), count};
    x.owner = bytes;
    return count ? f.apply_raw(count, bytes.get()) : caf::error{};
  } else {
    return f(x.kind, x.from, x.tag, count);
  }
}

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, Sampling& x) {
  DoubleBits penalty = x.repetition_penalty, temperature = x.temperature, top_p = x.top_p, min_p = x.min_p,
             typical_p = x.typical_p;
  if constexpr (Inspector::reads_state) {
    return f(penalty, temperature, x.top_k, top_p, min_p, typical_p, x.seed);
  } else {
    auto result = f(penalty, temperature, x.top_k, top_p, min_p, typical_p, x.seed);
    x.repetition_penalty = penalty;
    x.temperature = temperature;
    x.top_p = top_p;
    x.min_p = min_p;
    x.typical_p = typical_p;
    return result;
  }
}
template <class Inspector>
auto inspect(Inspector& f, MicroBatch& x) {
  auto tokens = wire::raw(x.tokens), labels = wire::raw(x.labels), positions = wire::raw(x.positions),
       starts = wire::raw(x.document_starts);
  auto first_tokens = wire::raw(x.first_tokens);
  return f(tokens, labels, positions, starts, first_tokens, x.target_tokens);
}
template <class Inspector>
auto inspect(Inspector& f, StepBatch& x) {
  return f(x.step, x.position, x.next_position, x.epoch, x.global_target_tokens, x.micro_batches);
}
namespace schedule {
template <class Inspector>
auto inspect(Inspector& f, Action& x) {
  return f(x.kind, x.stage, x.micro_batch);
}
}  // namespace schedule
template <class Inspector>
auto inspect(Inspector& f, Task& x) {
  return f(x.kind, x.action);
}

template <class Inspector>
auto inspect(Inspector& f, Decoding::Sequence& x) {
  return f(x.number, x.capacity, x.sampling, x.index, x.seen);
}
template <class Inspector>
auto inspect(Inspector& f, Decoding& x) {
  return f(x.next, x.ended, x.afresh);
}
template <class Inspector>
auto inspect(Inspector& f, ProgramKind& x) {
  return f(x.pass, x.gradients, x.epilogue, x.labels);
}

// Shared parts are written in full; a null is written as an empty part.
template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, ProgramMessage& x) {
  if constexpr (Inspector::reads_state) {
    Program program = *x.program;
    TaskLists lists = program.lists ? *program.lists : TaskLists{};
    std::vector<StepBatch> batches;
    for (const auto& batch : program.batches) batches.push_back(batch ? *batch : StepBatch{});
    return f(program.tag, program.id, program.request, program.kind, program.step, program.update,
             program.lr_factor, program.clip_norm, program.most_loss_sum, program.most_norm, program.traced,
             program.memory, lists, program.activation_limits, batches, program.per_document,
             program.decoding);
  } else {
    auto program = std::make_shared<Program>();
    TaskLists lists;
    std::vector<StepBatch> batches;
    auto result = f(program->tag, program->id, program->request, program->kind, program->step,
                    program->update, program->lr_factor, program->clip_norm, program->most_loss_sum,
                    program->most_norm, program->traced, program->memory, lists, program->activation_limits,
                    batches, program->per_document, program->decoding);
    program->lists = std::make_shared<const TaskLists>(std::move(lists));
    for (auto& batch : batches)
      program->batches.push_back(std::make_shared<const StepBatch>(std::move(batch)));
    x.program = std::move(program);
    return result;
  }
}

}  // namespace collie
