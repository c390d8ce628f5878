// Every actor of a run drops the messages of another run, and of another generation of its own.
#include <filesystem>
#include <functional>

#include "actors/caf_types.hpp"
#include "actors/guard.hpp"
#include "plan/existing_run.hpp"
#include "tests/actors/virtual_system.hpp"
#include "tests/catch.hpp"
#include "tests/runtime/recorders.hpp"
#include "tests/runtime/tiny_run.hpp"

namespace collie::test {
namespace {

constexpr RunTag own_tag{7, 2};

// Counts what an actor sends to the one who stands for all others.
class Everybody {
 public:
  explicit Everybody(VirtualSystem& system) : system_(system), self_(system.system) {}
  caf::actor self() { return caf::actor_cast<caf::actor>(self_); }

  // Returns how many messages came after this one was sent.
  template <class Message>
  int answers_to(const caf::actor& actor, Message message) {
    self_->send(actor, std::move(message));
    system_.run();
    int count = 0;
    while (self_->has_next_message()) {
      self_->receive(
          [](const Failure& failure) { FAIL(failure.who << ": " << failure.cause); },
          caf::others >> [](caf::message_view&) -> caf::result<caf::message> { return caf::message{}; });
      ++count;
    }
    return count;
  }

 private:
  VirtualSystem& system_;
  caf::scoped_actor self_;
};

// A message is dropped if its tag is another's, and answered with its own.
template <class Message>
void check_tag(Everybody& everybody, const caf::actor& actor, const Message& message, int answers) {
  for (const RunTag& other : {RunTag{8, 2}, RunTag{7, 1}, RunTag{7, 3}}) {
    Message stale = message;
    stale.tag = other;
    CHECK(everybody.answers_to(actor, stale) == 0);
  }
  CHECK(everybody.answers_to(actor, message) == answers);
}

struct TaggedRun {
  TaggedRun() : everybody(system) {
    RunPlan made = plan_training(tiny_run(folder_), ExistingRun::refuse);
    made.folder = prepare_run_folder(made);
    made.prompt_tokens = {84, 104};
    made.generation.max_new_tokens = 3;
    plan = std::make_shared<const RunPlan>(std::move(made));
  }
  // `check` is given the actor, which ends after it.
  void with(const caf::actor& actor, const std::function<void(const caf::actor&)>& check) {
    check(actor);
    shut_down(actor);
    system.run();
  }

 private:
  TemporaryFolder folder_;

 public:
  std::shared_ptr<const RunPlan> plan;
  VirtualSystem system;
  Everybody everybody;
};

TEST_CASE("tags: the loader", "[actors][tags]") {
  TaggedRun run;
  run.with(spawn_loader(run.system.system, SpawnMode::scheduled, own_tag, run.plan, 0, run.everybody.self()),
           [&](const caf::actor& loader) {
             check_tag(run.everybody, loader, BatchWanted{own_tag, 1}, 1);
           });
}

TEST_CASE("tags: the evaluator, its replies too", "[actors][tags]") {
  TaggedRun run;
  run.with(spawn_evaluator(run.system.system, own_tag, run.plan, run.everybody.self()),
           [&](const caf::actor& evaluator) {
             check_tag(run.everybody, evaluator, EvaluationWanted{own_tag, 2}, 1);
             const ProgramReply reply{own_tag, 1, {evaluator_name, 1}, 0, 0, {{loss_sum_name, {3.0}}}};
             ProgramReply older = reply;
             older.request.number = 0;
             CHECK(run.everybody.answers_to(evaluator, older) == 0);
             check_tag(run.everybody, evaluator, reply, 1);
             CHECK(run.everybody.answers_to(evaluator, reply) == 0);  // it was answered already
           });
}

TEST_CASE("tags: the generator, its replies too", "[actors][tags]") {
  TaggedRun run;
  run.with(spawn_generator(run.system.system, own_tag, run.plan, run.everybody.self(), run.everybody.self()),
           [&](const caf::actor& generator) {
             check_tag(run.everybody, generator, GenerationWanted{own_tag}, 1);
             const ProgramReply reply{own_tag, 1, {generator_name, 1}, 0, 0, {{tokens_name, {65.0}}}};
             check_tag(run.everybody, generator, reply, 2);  // a token, and the next request
           });
}

TEST_CASE("tags: the monitor", "[actors][tags]") {
  TaggedRun run;
  StepFinished step;
  step.tag = own_tag;
  step.step = 1;
  step.loss = 2.0;
  run.with(spawn_monitor(run.system.system, SpawnMode::scheduled, own_tag, run.plan, run.everybody.self()),
           [&](const caf::actor& monitor) { check_tag(run.everybody, monitor, step, 1); });
}

TEST_CASE("tags: the checkpoint writer and the shard writers", "[actors][tags]") {
  TaggedRun run;
  const caf::actor everybody = run.everybody.self();
  Wiring wiring;
  wiring.tag = own_tag;
  wiring.writers = {everybody};
  std::string folder;
  run.with(spawn_checkpoint_writer(run.system.system, SpawnMode::scheduled, own_tag, run.plan, everybody),
           [&](const caf::actor& writer) {
             CHECK(run.everybody.answers_to(writer, wiring) == 0);
             Wiring stale = wiring;
             stale.tag = {8, 2};
             stale.writers.clear();
             CHECK(run.everybody.answers_to(writer, stale) == 0);
             check_tag(run.everybody, writer, SnapshotExpected{own_tag, 1, 4, 0, false}, 1);  // SnapshotBegun
             // A shard of nobody's: it would be an error.
             CHECK(run.everybody.answers_to(writer, ShardWritten{{8, 2}, 5, 0, "{}"}) == 0);
           });
  const TemporaryFolder shards;
  run.with(spawn_shard_writer(run.system.system, SpawnMode::scheduled, own_tag, 1, everybody, everybody),
           [&](const caf::actor& writer) {
             const SnapshotBegun begun{own_tag, 1, (shards / "").string()};
             CHECK(run.everybody.answers_to(writer, SnapshotBegun{{8, 2}, 2, begun.folder}) == 0);
             CHECK(run.everybody.answers_to(writer, begun) == 0);
             check_tag(run.everybody, writer, SnapshotPart{own_tag, 1, 0, {}}, 1);  // ShardWritten
           });
}

TEST_CASE("tags: a stage", "[actors][tags]") {
  TaggedRun run;
  Log log;
  RecordingWorker* worker = nullptr;
  StageSpec spec;
  spec.settings = {own_tag, 0, {0}, 1, false, {}, true};
  spec.make_worker = [&](const Wiring&) {
    auto made = std::make_unique<RecordingWorker>(log);
    worker = made.get();
    return made;
  };
  spec.status = std::make_shared<RankStatus>();
  Wiring wiring;
  wiring.tag = own_tag;
  wiring.trainer = spec.owner = run.everybody.self();
  wiring.node_of_rank = {0};
  const caf::actor stage = spawn_stage(run.system.system, SpawnMode::scheduled, std::move(spec));
  wiring.ranks = {stage};
  run.with(stage, [&](const caf::actor&) {
    check_tag(run.everybody, stage, wiring, 1);  // RankReady
    Program program;
    program.id = 1;
    program.lists = std::make_shared<const TaskLists>(TaskLists{{Task{TaskKind::sample, {}}}});
    const auto message = [&](const RunTag& tag) {
      program.tag = tag;
      return ProgramMessage{std::make_shared<const Program>(program)};
    };
    CHECK(run.everybody.answers_to(stage, message({8, 2})) == 0);
    CHECK(run.everybody.answers_to(stage, message({7, 1})) == 0);
    CHECK(run.everybody.answers_to(stage, GiveUp{{8, 2}, 1}) == 0);
    CHECK(run.everybody.answers_to(stage, message(own_tag)) == 2);  // the reply, and that it is done
    CHECK(std::count(log.begin(), log.end(), "give up") == 0);
    CHECK(run.everybody.answers_to(stage, GiveUp{own_tag, 1}) == 0);
    CHECK(std::count(log.begin(), log.end(), "give up") == 1);
  });
}

TEST_CASE("tags: a node", "[actors][tags]") {
  TaggedRun run;
  NodeSpec spec{own_tag, run.plan, 0, {0, 0}, run.everybody.self(), {}, "", {}, SpawnMode::scheduled};
  run.with(spawn_node(run.system.system, std::move(spec)), [&](const caf::actor& node) {
    run.everybody.answers_to(node, CutCommunication{{8, 2}});  // NodeRanks comes
    check_tag(run.everybody, node, GiveUp{own_tag, 1}, 1);     // RanksTold
    check_tag(run.everybody, node, CutCommunication{own_tag}, 0);
  });
}

}  // namespace
}  // namespace collie::test
