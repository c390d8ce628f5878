#include <sstream>

#include "schedule/schedules.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"
#include "tests/runtime/recorders.hpp"

namespace collie::test {
namespace {

using schedule::parse_action;

constexpr RunTag stage_tag{7, 1};

// "0F0 0SEND_F0 update": pipeline actions by their names, the rest by kind.
std::vector<Task> tasks(const std::string& text) {
  static const std::map<std::string, TaskKind> others = {
      {"sum_squares", TaskKind::sum_squares},
      {"agree", TaskKind::synchronize_step},
      {"update", TaskKind::update},
      {"send_tied_gradient", TaskKind::send_tied_gradient},
      {"receive_tied_gradient", TaskKind::receive_tied_gradient},
      {"add_tied_gradient", TaskKind::add_tied_gradient},
      {"send_tied_weight", TaskKind::send_tied_weight},
      {"receive_tied_weight", TaskKind::receive_tied_weight},
      {"report_losses", TaskKind::report_losses},
      {"sample", TaskKind::sample},
      {"snapshot", TaskKind::snapshot}};
  std::vector<Task> list;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    const auto other = others.find(word);
    list.push_back(other != others.end() ? Task{other->second, {}}
                                         : Task{TaskKind::pipeline, parse_action(word, "test")});
  }
  return list;
}

// Rank `rank` of three stages on three ranks.
struct Stage {
  explicit Stage(int rank, bool trace = false, int credits = 2)
      : worker(log),
        core({stage_tag, rank, {0, 1, 2}, credits, trace}, worker, outbox, status),
        rank_(rank) {}

  void enqueue(uint64_t id, const std::string& list, const std::string& requester = "") {
    auto lists = std::make_shared<TaskLists>(3);
    (*lists)[static_cast<size_t>(rank_)] = tasks(list);
    Program program;
    program.tag = stage_tag;
    program.id = id;
    program.step = 10 + static_cast<int64_t>(id);
    program.lists = lists;
    program.request.requester = requester;
    if (list == "snapshot") program.kind = snapshot_program;
    core.enqueue(std::make_shared<const Program>(program));
  }
  void arrive(uint64_t program, const Channel& channel, int micro_batch, const RunTag& from = stage_tag) {
    core.arrive({from, channel, program, micro_batch, {}});
  }
  // Everything that can be done now; the number of tasks.
  int run() {
    int count = 0;
    for (; core.ready(); ++count) core.execute();
    return count;
  }
  std::string waits() const { return status.get().what; }

  Log log;
  RecordingWorker worker;
  RecordingStageOutbox outbox;
  RankStatus status;
  StageCore core;

 private:
  int rank_;
};

const Channel forward_in{Direction::forward, 0, 1}, forward_out{Direction::forward, 1, 2};
const Channel backward_in{Direction::backward, 2, 1}, backward_out{Direction::backward, 1, 0};

TEST_CASE("stage core: tasks run in the list's order, each as soon as its input is there",
          "[actors][stage]") {
  Stage stage(1);
  stage.enqueue(1, "1RECV_F0 1F0 1SEND_F0 1RECV_F1 1F1 1SEND_F1 1RECV_B0 1B0 1SEND_B0");
  CHECK(stage.run() == 0);
  stage.arrive(1, backward_in, 0);  // early: it is kept until its turn
  stage.arrive(1, forward_in, 1);
  CHECK(stage.run() == 0);
  stage.arrive(1, forward_in, 0);
  CHECK(stage.run() == 9);
  CHECK(stage.log == Log{"begin 1", "put activation from stage 0 to stage 1 of 0", "1F0",
                         "take activation from stage 1 to stage 2 of 0",
                         "put activation from stage 0 to stage 1 of 1", "1F1",
                         "take activation from stage 1 to stage 2 of 1",
                         "put gradient from stage 2 to stage 1 of 0", "1B0",
                         "take gradient from stage 1 to stage 0 of 0"});
  REQUIRE(stage.outbox.payloads.size() == 3);
  CHECK(stage.outbox.payloads[1].first == 2);
  CHECK(stage.outbox.payloads[1].second.micro_batch == 1);
  CHECK(stage.outbox.payloads[1].second.program == 1);
  CHECK(stage.outbox.payloads[1].second.tag == stage_tag);
  CHECK(stage.outbox.payloads[2].first == 0);
  REQUIRE(stage.outbox.done.size() == 1);
  CHECK(stage.outbox.done[0].program == 1);
  CHECK(stage.outbox.done[0].summary.weight_elements == 11);
}

TEST_CASE(
    "stage core: what a rank has done is reported before each step's synchronisation, evaluations left out",
    "[actors][stage][monitor]") {
  Stage stage(0);
  const auto communicate = [&](double blocked_s, int64_t sent, int64_t over_network) {
    stage.worker.so_far.blocked_s += blocked_s;
    stage.worker.so_far.sent_bytes += sent;
    stage.worker.so_far.network_bytes += over_network;
  };
  stage.enqueue(1, "0F0 sum_squares agree update");
  REQUIRE(stage.core.ready());
  communicate(0.5, 100, 10);
  stage.core.execute();
  REQUIRE(stage.core.ready());
  stage.core.execute();
  CHECK(stage.outbox.measures.empty());
  REQUIRE(stage.core.ready());
  stage.core.execute();
  REQUIRE(stage.outbox.measures.size() == 1);
  const RankStep first = stage.outbox.measures[0];
  CHECK(first.tag == stage_tag);
  CHECK(first.rank == 0);
  CHECK(first.busy_s > 0);
  CHECK(first.communicating_s == 0.5);
  CHECK(first.sent_bytes == 100);
  CHECK(first.network_bytes == 10);
  CHECK(first.timed);
  CHECK(first.peak_bytes == std::vector<uint64_t>{1, 2});
  CHECK(first.process.process == 0);
  // The update counts for the next step, an evaluation for none, a host's program and a snapshot for the
  // step.
  communicate(0.25, 20, 2);
  stage.run();
  stage.enqueue(2, "0F0", evaluator_name);
  REQUIRE(stage.core.ready());
  communicate(8, 1000, 1000);
  stage.run();
  stage.enqueue(3, "0F0 sum_squares agree", "surveyor");
  REQUIRE(stage.core.ready());
  communicate(1, 1, 1);
  stage.run();
  CHECK(stage.outbox.measures.size() == 1);
  stage.enqueue(4, "0F0 agree update");
  stage.run();
  REQUIRE(stage.outbox.measures.size() == 2);
  CHECK(stage.outbox.measures[1].communicating_s == 1.25);
  CHECK(stage.outbox.measures[1].sent_bytes == 21);
  CHECK(stage.outbox.measures[1].network_bytes == 3);
  CHECK(stage.outbox.measures[1].busy_s > 0);
}

TEST_CASE("stage core: a receive returns the credit to the sender", "[actors][stage]") {
  Stage stage(1);
  stage.enqueue(1, "1RECV_F0 1F0");
  stage.arrive(1, forward_in, 0);
  CHECK(stage.outbox.credits.empty());  // the slot is taken until the list gets there
  stage.run();
  REQUIRE(stage.outbox.credits.size() == 1);
  CHECK(stage.outbox.credits[0].first == 0);
  CHECK(stage.outbox.credits[0].second.channel == forward_in);
}

TEST_CASE("stage core: a send waits for a credit, each channel its own", "[actors][stage]") {
  Stage stage(1);
  stage.enqueue(1, "1F0 1SEND_F0 1F1 1SEND_F1 1F2 1SEND_F2 1SEND_B0 1F3 1SEND_F3");
  CHECK(stage.run() == 5);
  CHECK(stage.waits() ==
        "waits to send activation from stage 1 to stage 2 of micro-batch 2: rank 2 holds all 2 credits");
  stage.core.credit({stage_tag, forward_out});
  CHECK(stage.run() == 3);  // the send of the gradient has credits of its own
  stage.core.credit({stage_tag, forward_out});
  CHECK(stage.run() == 1);
  CHECK(stage.outbox.done.size() == 1);
}

TEST_CASE("stage core: a credit that was not spent is an error", "[actors][stage]") {
  Stage stage(1);
  CHECK_THAT(assertion_of([&] {
               stage.core.credit({stage_tag, forward_out});
             }),
             contains("rank 1 got a credit it had not spent: activation from stage 1 to stage 2"));
  stage.enqueue(1, "1F0 1SEND_F0");
  stage.run();
  stage.core.credit({stage_tag, forward_out});
  CHECK_THAT(assertion_of([&] { stage.core.credit({stage_tag, forward_out}); }), contains("had not spent"));
}

TEST_CASE("stage core: channels without credits are refused", "[actors][stage]") {
  CHECK_THAT(assertion_of([] { Stage stage(1, false, 0); }), contains("channels without credits"));
}

TEST_CASE("stage core: credits outlive a program", "[actors][stage]") {
  Stage stage(1);
  stage.enqueue(1, "1SEND_F0 1SEND_F1");
  stage.enqueue(2, "1SEND_F0");
  CHECK(stage.run() == 2);
  CHECK_THAT(stage.waits(), contains("rank 2 holds all 2 credits"));
  stage.core.credit({stage_tag, forward_out});
  CHECK(stage.run() == 1);
}

TEST_CASE("stage core: what arrives twice is an error", "[actors][stage]") {
  Stage stage(1);
  stage.arrive(1, forward_in, 4);
  CHECK_THAT(assertion_of([&] { stage.arrive(1, forward_in, 4); }),
             contains("rank 1 got activation from stage 0 to stage 1 of micro-batch 4 twice"));
  stage.arrive(2, forward_in, 4);  // the next program's
}

TEST_CASE("stage core: messages of another run or generation are dropped", "[actors][stage]") {
  Stage stage(1);
  const RunTag other = GENERATE(RunTag{8, 1}, RunTag{7, 2});
  stage.enqueue(1, "1RECV_F0 1F0");
  stage.arrive(1, forward_in, 0, other);
  stage.core.credit({other, forward_out});  // would be an error
  Program program;
  program.tag = other;
  program.id = 5;  // would be an error
  stage.core.enqueue(std::make_shared<const Program>(program));
  CHECK(stage.run() == 0);
  stage.arrive(1, forward_in, 0);
  CHECK(stage.run() == 2);
}

TEST_CASE("stage core: two programs at most, with consecutive numbers", "[actors][stage]") {
  Stage stage(1);
  stage.enqueue(1, "1F0");
  CHECK_THAT(assertion_of([&] { stage.enqueue(3, "1F0"); }),
             contains("rank 1 got program 3 after program 1"));
  stage.enqueue(2, "1F0");
  CHECK_THAT(assertion_of([&] { stage.enqueue(3, "1F0"); }), contains("rank 1 already holds 2 programs"));
  stage.run();
  stage.enqueue(3, "1F0");
  stage.run();
  CHECK(stage.log == Log{"begin 1", "1F0", "begin 2", "1F0", "begin 3", "1F0"});
}

TEST_CASE("stage core: a program without tasks is done at once", "[actors][stage]") {
  Stage stage(1);
  stage.enqueue(1, "");
  stage.enqueue(2, "1F0");
  CHECK(stage.run() == 1);
  REQUIRE(stage.outbox.done.size() == 2);
  CHECK(stage.outbox.done[0].program == 1);
}

TEST_CASE("stage core: the first rank reports the step that all have agreed on", "[actors][stage]") {
  const int rank = GENERATE(0, 1);
  Stage stage(rank);
  stage.enqueue(1, fmt::format("{}F0 sum_squares agree update", rank));
  CHECK(stage.run() == 4);
  CHECK(stage.log == Log{"begin 1", fmt::format("{}F0", rank), "sum squares", "synchronize step", "update"});
  CHECK_FALSE(stage.core.awaits_outcome());
  REQUIRE(stage.outbox.replies.size() == (rank == 0 ? 1 : 0));
  if (rank != 0) return;
  CHECK(stage.outbox.replies[0].tag == stage_tag);
  CHECK(stage.outbox.replies[0].program == 1);
  CHECK(value_of(stage.outbox.replies[0], loss_sum_name) == 7.0);
  CHECK(value_of(stage.outbox.replies[0], gradient_norm_name) == 2.5);
}

TEST_CASE("stage core: the update does not wait for the outcome that a device still computes",
          "[actors][stage]") {
  Stage stage(0);
  stage.worker.at_once = false;
  stage.enqueue(1, "agree update");
  CHECK(stage.run() == 2);
  CHECK(stage.outbox.done.size() == 1);
  CHECK(stage.outbox.replies.empty());
  CHECK(stage.core.awaits_outcome());
  CHECK(stage.waits() == "waits for all ranks' losses and gradient norms");
  stage.core.check();
  stage.worker.failure = "the device has failed";
  CHECK_THROWS_AS(stage.core.check(), RunError);
  stage.worker.tell();
  CHECK(stage.outbox.rings == 1);
  stage.core.on_outcome_ready();
  REQUIRE(stage.outbox.replies.size() == 1);
  CHECK(stage.outbox.replies[0].program == 1);
  CHECK_FALSE(stage.core.awaits_outcome());
  CHECK_THAT(assertion_of([&] { stage.core.on_outcome_ready(); }),
             contains("rank 0 knows the outcome of no step"));
}

TEST_CASE("stage core: a step is agreed on when the outcome of the one before is known, on every rank",
          "[actors][stage]") {
  Stage stage(1);
  stage.worker.at_once = false;
  stage.enqueue(1, "agree update");
  stage.enqueue(2, "1F0 agree update");
  CHECK(stage.run() == 3);
  CHECK(stage.waits() == "waits for all ranks' losses and gradient norms");
  stage.core.on_outcome_ready();
  CHECK(stage.run() == 2);
  CHECK(stage.outbox.replies.empty());  // the first rank speaks
}

TEST_CASE("stage core: evaluation, generation and snapshots report what the worker gives",
          "[actors][stage]") {
  Stage stage(2);
  stage.enqueue(1, "2F0 report_losses");
  stage.enqueue(2, "2F0 sample");
  CHECK(stage.run() == 4);
  stage.enqueue(3, "snapshot");
  CHECK(stage.run() == 1);
  REQUIRE(stage.outbox.replies.size() == 2);
  CHECK(value_of(stage.outbox.replies[0], loss_sum_name) == 5.5);
  CHECK(stage.outbox.replies[0].program == 1);
  CHECK(stage.outbox.replies[0].rank == 2);
  CHECK(value_of(stage.outbox.replies[1], tokens_name) == 42);
  REQUIRE(stage.outbox.snapshots.size() == 1);
  CHECK(stage.outbox.snapshots[0].step == 13);
  CHECK(stage.outbox.snapshots[0].rank == 2);
  CHECK(stage.outbox.snapshots[0].slices.size() == 2);
}

TEST_CASE("stage core: a tied matrix travels between the first and the last stage", "[actors][stage]") {
  const Channel gradient{Direction::tied_gradient, 2, 0}, weight{Direction::tied_weight, 0, 2};
  SECTION("first") {
    Stage stage(0);
    stage.enqueue(1, "receive_tied_gradient add_tied_gradient send_tied_weight");
    CHECK(stage.run() == 0);
    CHECK(stage.waits() == "waits for tied gradient from stage 2 to stage 0 of micro-batch 0 from rank 2");
    stage.arrive(1, gradient, 0);
    CHECK(stage.run() == 3);
    CHECK(stage.log == Log{"begin 1", "put tied gradient from stage 2 to stage 0 of 0", "add tied gradient",
                           "take tied weight from stage 0 to stage 2 of 0"});
    REQUIRE(stage.outbox.payloads.size() == 1);
    CHECK(stage.outbox.payloads[0].first == 2);
  }
  SECTION("last") {
    Stage stage(2);
    stage.enqueue(1, "send_tied_gradient receive_tied_weight");
    CHECK(stage.run() == 1);
    CHECK(stage.outbox.payloads.at(0).second.channel == gradient);
    stage.arrive(1, weight, 0);
    CHECK(stage.run() == 1);
    CHECK(stage.outbox.credits.at(0).second.channel == weight);
  }
}

TEST_CASE("stage core: the watchdog reads what the stage does", "[actors][stage]") {
  Stage stage(1);
  CHECK(stage.status.get().phase == RankStatus::Phase::idle);
  stage.enqueue(1, "1RECV_F5 1F5 1RECV_B5");
  stage.core.ready();
  CHECK(stage.status.get().phase == RankStatus::Phase::waiting);
  CHECK(stage.waits() == "waits for activation from stage 0 to stage 1 of micro-batch 5 from rank 0");
  stage.arrive(1, forward_in, 5);
  stage.run();
  CHECK(stage.waits() == "waits for gradient from stage 2 to stage 1 of micro-batch 5 from rank 2");
  stage.arrive(1, backward_in, 5);
  stage.run();
  CHECK(stage.status.get().phase == RankStatus::Phase::idle);
  CHECK(stage.waits() == "has nothing to do");
}

// A worker that looks at the status while it computes.
TEST_CASE("stage core: the status names the task while it is computed, and its time stands still",
          "[actors][stage]") {
  struct Looking final : StageWorker {
    RankStatus* status = nullptr;
    RankStatus::Snapshot seen;
    void begin(const Program&) override {}
    void compute(const Task&) override { seen = status->get(); }
    Tensor take(const Channel&, int) override { return {}; }
    void put(const Channel&, int, Tensor) override {}
    bool synchronize_step(std::function<void()>) override { return true; }
    StepOutcome outcome() override { return {}; }
    void update() override {}
    std::vector<NamedValues> loss_values() override { return {}; }
    std::vector<NamedValues> sample() override { return {}; }
    std::vector<CheckpointSlice> snapshot() override { return {}; }
    RankSummary summary() const override { return {}; }
  } worker;
  RankStatus status;
  worker.status = &status;
  RecordingStageOutbox outbox;
  StageCore core({stage_tag, 0, {0}, 2, true}, worker, outbox, status);
  Program program;
  program.tag = stage_tag;
  program.id = 1;
  program.lists = std::make_shared<TaskLists>(TaskLists{tasks("0F3 0B3")});
  core.enqueue(std::make_shared<const Program>(program));
  const double before = steady_seconds();
  REQUIRE(core.ready());
  core.execute();
  CHECK(worker.seen.phase == RankStatus::Phase::computing);
  CHECK(worker.seen.what == "0F3");
  CHECK(worker.seen.since_s >= before);
  CHECK(worker.seen.since_s <= steady_seconds());
  core.ready();
  core.execute();
  CHECK(worker.seen.what == "0B3");
  CHECK(worker.seen.since_s == status.get().since_s);
}

TEST_CASE("stage core: a trace has a span for every task but sends, receives and agreeing",
          "[actors][stage]") {
  Stage stage(1, true);
  stage.enqueue(1, "1RECV_F0 1F0 1SEND_F0 1B0 1SEND_B0 sum_squares agree");
  stage.arrive(1, forward_in, 0);
  stage.run();
  REQUIRE(stage.outbox.done.size() == 1);
  const auto& spans = stage.outbox.done[0].spans;
  REQUIRE(spans.size() == 3);
  CHECK(spans[0].task == "1F0");
  CHECK(spans[1].task == "1B0");
  CHECK(spans[2].task == "sum squares");
  double sum = 0, last = 0;
  for (const auto& span : spans) {
    CHECK(span.start_s >= last);
    CHECK(span.end_s >= span.start_s);
    sum += span.end_s - span.start_s;
    last = span.end_s;
  }
  CHECK(stage.outbox.done[0].busy_s == Approx(sum));

  stage.enqueue(2, "1F0");
  stage.run();
  CHECK(stage.outbox.done.at(1).spans.size() == 1);  // of this program alone
}

TEST_CASE("stage core: a program that is given up ends at the next task", "[actors][stage]") {
  Stage stage(1);
  stage.enqueue(1, "1F0 1F1 sum_squares agree update");
  stage.enqueue(2, "snapshot");
  REQUIRE(stage.core.ready());
  stage.core.execute();
  SECTION("between two tasks") {
    stage.core.give_up(1);
    stage.run();
  }
  SECTION("with the next one about to be executed") {
    REQUIRE(stage.core.ready());
    stage.core.give_up(1);
    stage.core.execute();
    stage.run();
  }
  SECTION("out of a task that was thrown out of a collective") {
    CHECK_FALSE(stage.core.give_up_running(2));
    CHECK(stage.core.give_up_running(1));
    stage.run();
  }
  CHECK(stage.log == Log{"begin 1", "1F0", "give up", "begin 2"});
  REQUIRE(stage.outbox.done.size() == 2);
  CHECK(stage.outbox.done[0].program == 1);
  CHECK(stage.outbox.done[0].given_up);
  CHECK_FALSE(stage.outbox.done[1].given_up);
  CHECK(stage.outbox.snapshots.size() == 1);
  stage.arrive(1, forward_in, 0);  // on its way since: dropped
}

TEST_CASE("stage core: a program is given up before it is begun, or has come", "[actors][stage]") {
  Stage stage(1);
  stage.core.give_up(2);
  stage.enqueue(1, "1F0");
  stage.enqueue(2, "1F0 agree update");
  stage.run();
  CHECK(stage.log == Log{"begin 1", "1F0", "give up"});
  REQUIRE(stage.outbox.done.size() == 2);
  CHECK_FALSE(stage.outbox.done[0].given_up);
  CHECK(stage.outbox.done[1].given_up);
}

TEST_CASE("stage core: a rank that is done with what others give up knows that they do", "[actors][stage]") {
  Stage stage(1);
  stage.enqueue(1, "1F0");
  stage.run();
  stage.core.give_up(1);  // its communication is about to be aborted
  CHECK(stage.log == Log{"begin 1", "1F0", "give up"});
  REQUIRE(stage.outbox.done.size() == 1);
  CHECK_FALSE(stage.outbox.done[0].given_up);
}

TEST_CASE("stage core: a step that all have agreed on is finished", "[actors][stage]") {
  Stage stage(1);
  stage.enqueue(1, "1F0 agree update");
  for (int task = 0; task < 2; ++task) {
    REQUIRE(stage.core.ready());
    stage.core.execute();
  }
  stage.core.give_up(1);
  CHECK_FALSE(stage.core.give_up_running(1));
  stage.run();
  CHECK(stage.log == Log{"begin 1", "1F0", "synchronize step", "update"});
  REQUIRE(stage.outbox.done.size() == 1);
  CHECK_FALSE(stage.outbox.done[0].given_up);
}

}  // namespace
}  // namespace collie::test
