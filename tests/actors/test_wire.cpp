// What a process writes of a message is what another one reads of it.
#include "actors/caf_types.hpp"
#include "actors/engine.hpp"
#include "tests/catch.hpp"

namespace collie::test {
namespace {

struct WireConfig : caf::actor_system_config {
  WireConfig() { collie::add_message_types(*this); }
};

std::vector<char> written(caf::actor_system& system, const caf::message& message) {
  std::vector<char> bytes;
  caf::binary_serializer sink{system, bytes};
  REQUIRE_FALSE(sink(message));
  return bytes;
}

// Written, read, and written again.
template <class Message>
Message round_trip(caf::actor_system& system, const Message& message) {
  const std::vector<char> bytes = written(system, caf::make_message(message));
  caf::message read;
  caf::binary_deserializer source{system, bytes};
  REQUIRE_FALSE(source(read));
  REQUIRE(read.match_elements<Message>());
  CHECK(source.remaining() == 0);
  CHECK((written(system, read) == bytes));
  return read.get_as<Message>(0);
}

constexpr RunTag wire_tag{7, 2};

Program full_program() {
  Program program;
  program.tag = wire_tag;
  program.id = 11;
  program.request = {"speaker", 3};
  program.kind = generation_program;
  program.step = 5;
  program.update = 4;
  program.lr_factor = 0.25;
  program.memory = {{}, {1.0 / 3, 0.5}};
  program.lists = std::make_shared<const TaskLists>(TaskLists{
      {Task{TaskKind::pipeline, {schedule::ActionKind::forward, 1, 2}}}, {Task{TaskKind::sample, {}}}});
  program.activation_limits = {2, 1};
  StepBatch batch;
  batch.step = 6;
  batch.global_target_tokens = 9;
  batch.micro_batches = {{{1, 2, 3}, {2, 3, -100}, {0, 1, 2}, {0, 3}, {40}, 2}};
  program.batches = {std::make_shared<const StepBatch>(batch)};
  program.per_document = true;
  Sampling sampling;
  sampling.temperature = 0.5;
  sampling.top_k = 4;
  sampling.top_p = 0.75;
  sampling.min_p = 0.125;
  sampling.typical_p = 0.875;
  sampling.repetition_penalty = 1.25;
  sampling.seed = 99;
  program.decoding = {{{8, 30, sampling, 12, {1, 70000}}}, {5, 6}};
  return program;
}

TEST_CASE("wire: a program is read as it was written", "[actors][wire]") {
  WireConfig config;
  caf::actor_system system{config};
  const Program program = full_program();
  const Program read = *round_trip(system, ProgramMessage{std::make_shared<const Program>(program)}).program;
  CHECK(read.tag == wire_tag);
  CHECK(read.id == 11);
  CHECK(read.request == program.request);
  CHECK(read.kind == generation_program);
  CHECK(read.step == 5);
  CHECK(read.update == 4);
  CHECK(read.lr_factor == 0.25);
  REQUIRE(read.memory.size() == 2);
  CHECK(read.memory[0].empty());
  CHECK(std::vector<double>(read.memory[1].begin(), read.memory[1].end()) ==
        std::vector<double>{1.0 / 3, 0.5});
  CHECK(*read.lists == *program.lists);
  CHECK(read.activation_limits == program.activation_limits);
  CHECK(read.batches.at(0)->micro_batches.at(0).first_tokens == std::vector<int64_t>{40});
  CHECK(read.batches.at(0)->global_target_tokens == 9);
  CHECK(read.per_document);
  REQUIRE(read.decoding.next.size() == 1);
  CHECK(read.decoding.next[0].number == 8);
  CHECK(read.decoding.next[0].capacity == 30);
  CHECK(read.decoding.next[0].sampling == program.decoding.next[0].sampling);
  CHECK(read.decoding.next[0].seen == std::vector<int32_t>{1, 70000});
  CHECK(read.decoding.next[0].index == 12);
  CHECK(read.decoding.ended == std::vector<int64_t>{5, 6});
}

TEST_CASE("wire: every kind of program is read as it was written", "[actors][wire]") {
  WireConfig config;
  caf::actor_system system{config};
  for (const ProgramKind& kind : {training_program, estimate_program, norm_program, evaluation_program,
                                  generation_program, snapshot_program, release_program}) {
    Program program = full_program();
    program.kind = kind;
    CHECK(round_trip(system, ProgramMessage{std::make_shared<const Program>(program)}).program->kind == kind);
  }
}

TEST_CASE("wire: replies and what ends a program are read as they were written", "[actors][wire]") {
  WireConfig config;
  caf::actor_system system{config};
  const ProgramReply reply{wire_tag, 4, {"reader", 2}, 9, 3, {{documents_name, {1.0, 1e300}}, {"x", {}}}};
  const ProgramReply read = round_trip(system, reply);
  CHECK(read.tag == wire_tag);
  CHECK(read.program == 4);
  CHECK(read.request == reply.request);
  CHECK(read.step == 9);
  CHECK(read.rank == 3);
  CHECK(read.values == reply.values);
  CHECK(round_trip(system, GiveUp{wire_tag, 8}).program == 8);
  CHECK(round_trip(system, RanksTold{wire_tag, 2}).node == 2);
  CHECK(round_trip(system, CutCommunication{wire_tag}).tag == wire_tag);
  Wiring wiring;
  wiring.tag = wire_tag;
  wiring.node_of_rank = {0, 1};
  CHECK(round_trip(system, wiring).tag == wire_tag);
}

}  // namespace
}  // namespace collie::test
