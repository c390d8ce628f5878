// The stage actor while a device computes what all have agreed on, in virtual time.
#include "actors/caf_types.hpp"
#include "actors/spawn.hpp"
#include "tests/actors/virtual_system.hpp"
#include "tests/catch.hpp"
#include "tests/runtime/recorders.hpp"

namespace collie::test {
namespace {

constexpr RunTag outcome_tag{7, 1};

// The only rank, whose device has not computed the outcome of a step; the test is its trainer and node.
class LoneStage {
 public:
  LoneStage() {
    StageSpec spec;
    spec.settings = {outcome_tag, 0, {0}, 1, false, {}, true};
    spec.make_worker = [this](const Wiring&) {
      auto made = std::make_unique<RecordingWorker>(log_);
      made->at_once = false;
      worker = made.get();
      return made;
    };
    spec.status = std::make_shared<RankStatus>();
    Wiring wiring;
    wiring.tag = outcome_tag;
    wiring.trainer = spec.owner = caf::actor_cast<caf::actor>(self_);
    wiring.node_of_rank = {0};
    stage_ = spawn_stage(virtual_.system, SpawnMode::scheduled, std::move(spec));
    wiring.ranks = {stage_};
    self_->send(stage_, wiring);
    Program program;
    program.tag = outcome_tag;
    program.id = 1;
    program.lists = std::make_shared<const TaskLists>(
        TaskLists{{Task{TaskKind::synchronize_step, {}}, Task{TaskKind::update, {}}}});
    self_->send(stage_, ProgramMessage{std::make_shared<const Program>(std::move(program))});
    receive();
  }
  ~LoneStage() {
    self_->send_exit(stage_, caf::exit_reason::user_shutdown);
    virtual_.run();
  }

  // What came since the last call.
  void receive() {
    virtual_.run();
    while (self_->has_next_message())
      self_->receive([](const RankReady&) {}, [](const ProgramDone&) {}, [](const RankStep&) {},
                     [&](const ProgramReply& reply) { reports.push_back(reply); },
                     [&](const Failure& failure) { failures.push_back(failure.cause); });
  }
  // Whether somebody has asked to be woken.
  bool pass_a_second() {
    const bool asked = virtual_.coordinator.has_pending_timeout();
    virtual_.coordinator.advance_time(std::chrono::seconds(1));
    receive();
    return asked;
  }

  RecordingWorker* worker = nullptr;
  std::vector<ProgramReply> reports;
  std::vector<std::string> failures;

 private:
  Log log_;
  VirtualSystem virtual_;
  caf::scoped_actor self_{virtual_.system};
  caf::actor stage_;
};

TEST_CASE("a stage reports the step's outcome when its device tells it, from whatever thread",
          "[actors][stage]") {
  LoneStage stage;
  CHECK(stage.pass_a_second());
  CHECK(stage.reports.empty());
  std::thread(stage.worker->tell).join();
  stage.receive();
  REQUIRE(stage.reports.size() == 1);
  CHECK(value_of(stage.reports[0], loss_sum_name) == 7.0);
  CHECK(stage.failures.empty());
  stage.pass_a_second();
  CHECK_FALSE(stage.pass_a_second());  // nobody looks after it any more
}

TEST_CASE("a device that fails before it tells the outcome ends its rank within a second",
          "[actors][stage]") {
  LoneStage stage;
  CHECK(stage.pass_a_second());
  CHECK(stage.failures.empty());
  stage.worker->failure = "GPU 0: it has caught fire";
  stage.pass_a_second();
  CHECK(stage.failures == std::vector<std::string>{"GPU 0: it has caught fire"});
}

}  // namespace
}  // namespace collie::test
