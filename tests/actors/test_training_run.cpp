// Whole runs, every actor of them: under the test coordinator, message by message in one thread, and with
// threads.
#include <atomic>
#include <functional>
#include <nlohmann/json.hpp>
#include <thread>

#include "actors/caf_types.hpp"
#include "actors/engine.hpp"
#include "models/loss.hpp"
#include "plan/existing_run.hpp"
#include "runtime/generator_core.hpp"
#include "runtime/sinks/sink.hpp"
#include "tests/actors/threaded_config.hpp"
#include "tests/actors/virtual_system.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"
#include "tests/runtime/tiny_run.hpp"

namespace collie::test {
namespace {

using Log = std::vector<std::string>;

// What a listener hears. Losses with all their digits.
struct Events {
  Log log;
  std::vector<StepFinished> steps;
  std::optional<RunEnded> ended;
  std::function<void(const StepFinished&)> on_step = [](const StepFinished&) {};
  std::function<void(const RunStarted&)> on_start = [](const RunStarted&) {};
  std::function<void(const ProgramReply&)> on_reply = [](const ProgramReply&) {};

  void receive_one(caf::scoped_actor& self, std::chrono::seconds patience = std::chrono::seconds(60)) {
    self->receive(
        [&](const RunStarted& event) {
          log.push_back(fmt::format("started {} at step {} of {} on {} ranks", event.name, event.first_step,
                                    event.total_steps, event.ranks));
          on_start(event);
        },
        [&](const ProgramReply& reply) { on_reply(reply); },
        [&](const StepFinished& event) {
          steps.push_back(event);
          log.push_back(fmt::format(
              "step {} loss {} norm {}{}", event.step, static_cast<double>(event.loss.value()),
              static_cast<double>(event.grad_norm),
              event.evaluated ? fmt::format(" eval {}", static_cast<double>(event.eval_loss)) : ""));
          on_step(event);
        },
        [&](const EvaluationFinished& event) {
          log.push_back(fmt::format("evaluated {} loss {}", event.step, static_cast<double>(event.loss)));
        },
        [&](const CheckpointSaved& event) { log.push_back(fmt::format("saved {}", event.step)); },
        [&](const TokenGenerated& event) { log.push_back(fmt::format("token {}", event.token)); },
        [&](const RunEnded& event) {
          log.push_back(fmt::format("ended with {} after step {}", event.exit_code, event.step));
          ended = event;
        },
        caf::after(patience) >> [] { FAIL("nothing was heard of the run for too long"); });
  }
  void receive_all(caf::scoped_actor& self) {
    while (!ended) receive_one(self);
  }
};

RunPlan plan_of(const Config& config, ExistingRun existing = ExistingRun::refuse) {
  return plan_training(config, existing);
}

// Message by message, in this thread, in one order: one rank, as several wait for each other in collectives.
Events run_virtually(Config config) {
  config.parallel.pp_size = 1;
  VirtualSystem virtual_system;
  Events events;
  {
    caf::scoped_actor self(virtual_system.system);
    RunPlan plan = plan_of(config);
    plan.folder = prepare_run_folder(plan);
    spawn_trainer(virtual_system.system, std::make_shared<const RunPlan>(std::move(plan)),
                  caf::actor_cast<caf::actor>(self), SpawnMode::scheduled);
    virtual_system.run();
    while (self->has_next_message()) events.receive_one(self);
    CHECK(virtual_system.system.registry().running() == 1);  // the listener
  }
  virtual_system.run();
  return events;
}

struct ThreadedSystem {
  ThreadedConfig config;
  caf::actor_system system{config};
  // Whether the number of actors comes down to `count` within a second.
  bool comes_down_to(size_t count) {
    const double deadline = steady_seconds() + 1;
    while (system.registry().running() != count && steady_seconds() < deadline)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return system.registry().running() == count;
  }
};

// With threads, to the end.
Events run(RunPlan plan, const std::function<void(const caf::actor&, const StepFinished&)>& on_step = {}) {
  ThreadedSystem threaded;
  caf::scoped_actor self(threaded.system);
  const size_t before = threaded.system.registry().running();
  Events events;
  {
    const caf::actor trainer = spawn_run(threaded.system, std::move(plan), caf::actor_cast<caf::actor>(self));
    if (on_step) events.on_step = [&](const StepFinished& step) { on_step(trainer, step); };
    events.receive_all(self);
  }
  CHECK(threaded.comes_down_to(before));
  CHECK_FALSE(events.ended->actors_left);
  return events;
}

std::string final_model(const Config& config) {
  return bytes_of(std::filesystem::path(config.run.dir) / "final" / "model.safetensors");
}

// --- in one thread

TEST_CASE("run: its events come in order, and nothing is left of it", "[actors][run]") {
  const TemporaryFolder folder;
  const Events events = run_virtually(tiny_run(folder));
  INFO(fmt::format("{}", fmt::join(events.log, "\n")));
  REQUIRE(events.ended);
  CHECK(events.ended->status == RunStatus::completed);
  CHECK(events.ended->exit_code == 0);
  CHECK(events.ended->step == 4);
  CHECK(events.ended->message.empty());
  CHECK_THAT(events.ended->summary, contains("stage 0: 1 micro-batches"));
  CHECK(events.log.front() == "started run at step 1 of 4 on 1 ranks");
  CHECK_THAT(events.log.back(), contains("ended with 0"));
  Log order;
  for (const auto& line : events.log) order.push_back(line.substr(0, line.find(" loss")));
  CHECK(order == Log{"started run at step 1 of 4 on 1 ranks", "step 1", "evaluated 2", "step 2", "step 3",
                     "saved 2", "evaluated 4", "step 4", "saved 4", "ended with 0 after step 4"});
  REQUIRE(events.steps.size() == 4);
  CHECK(events.steps[3].loss < events.steps[0].loss);
  CHECK(events.steps[1].evaluated);
  CHECK_FALSE(events.steps[2].evaluated);
  for (const char* file :
       {"metrics.jsonl", "config.resolved.yaml", "final/model.safetensors",
        "checkpoints/step-00000002/manifest.json", "checkpoints/step-00000004/manifest.json"}) {
    INFO(file);
    CHECK(std::filesystem::exists(folder / "run" / file));
  }
}

TEST_CASE("run: the metrics file says what the events said", "[actors][run]") {
  const TemporaryFolder folder;
  const Events events = run_virtually(tiny_run(folder));
  std::istringstream lines(bytes_of(folder / "run" / "metrics.jsonl"));
  size_t count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const auto record = nlohmann::json::parse(line);
    const StepFinished& step = events.steps.at(count);
    CHECK(record.at("step") == step.step);
    CHECK(record.at("loss").get<double>() == step.loss);
    CHECK(record.at("lr").get<double>() == step.lr);
    CHECK(record.at("grad_norm").get<double>() == step.grad_norm);
    CHECK(record.at("tokens") == step.tokens);
    CHECK(record.contains("eval_loss") == step.evaluated);
  }
  CHECK(count == 4);
}

TEST_CASE("run: a host program's sink gets every step's event, and the run waits for it", "[actors][run]") {
  struct Collector final : Sink {
    explicit Collector(std::vector<Event>& all) : all_(all) {}
    void write(const Event& event) override {
      if (event.step > 3) throw RunError("the collector is full");
      all_.push_back(event);
    }
    std::vector<Event>& all_;
  };
  const TemporaryFolder folder;
  std::vector<Event> collected;
  SinkKind kind;
  kind.make = [&](const SinkSettings&) { return std::make_unique<Collector>(collected); };
  kind.wanted = [](const Config& config) { return config.run.name == "collected"; };
  sinks().add("collector", kind);
  const Events events = run_virtually(tiny_run(folder, "collected"));
  REQUIRE(collected.size() == 3);
  CHECK(collected[0].number("loss") == static_cast<double>(*events.steps.at(0).loss));
  CHECK(collected[1].number("eval_loss") == static_cast<double>(events.steps.at(1).eval_loss));
  CHECK_FALSE(collected[2].number("eval_loss"));
  REQUIRE(events.ended);
  CHECK(events.ended->exit_code == 1);
  CHECK_THAT(events.ended->message, contains("monitor: the collector is full"));
}

TEST_CASE("run: the same messages in the same order give the same events", "[actors][run]") {
  const TemporaryFolder folder;
  CHECK(run_virtually(tiny_run(folder, "one")).steps.size() == 4);
  const Log a = run_virtually(tiny_run(folder, "two")).log, b = run_virtually(tiny_run(folder, "six")).log;
  CHECK(Log(a.begin() + 1, a.end()) == Log(b.begin() + 1, b.end()));
}

TEST_CASE("run: one rank and two, and either schedule, have the same losses and the same final model",
          "[actors][run]") {
  const TemporaryFolder folder;
  Config one = tiny_run(folder, "one"), two = tiny_run(folder, "two");
  one.parallel.pp_size = 1;
  two.parallel.schedule = GENERATE("gpipe", "1f1b");
  // The order of other events depends on when each rank is done.
  const auto numbers = [](const Events& events) {
    Log lines;
    for (const auto& line : events.log)
      if (line.starts_with("step") || line.starts_with("evaluated")) lines.push_back(line);
    return lines;
  };
  CHECK(numbers(run(plan_of(one))) == numbers(run(plan_of(two))));
  CHECK((final_model(one) == final_model(two)));
}

TEST_CASE("run: a schedule from a file places its stages where it likes", "[actors][run]") {
  const TemporaryFolder folder;
  Config one = tiny_run(folder, "one"), two = tiny_run(folder, "two");
  one.parallel.pp_size = 1;
  // The first stage on the second rank.
  folder.write("turned.csv", "1F0,1B0,1F1,1B1,1F2,1B2,1F3,1B3\n0F0,0F1,0B0,0F2,0B1,0F3,0B2,0B3\n");
  two.parallel.schedule = (folder / "turned.csv").string();
  CHECK(run(plan_of(one)).ended->exit_code == 0);
  const Events events = run(plan_of(two));
  INFO(events.ended->message);
  CHECK(events.ended->exit_code == 0);
  CHECK((final_model(one) == final_model(two)));
}

// --- failures

// Throws at the third chunk that one of it sees.
struct ThrowingLoss final : Loss {
  int chunks = 0;
  void chunk(Operations& operations, Tensor& logits, std::span<const int32_t> labels, double scale,
             Tensor& loss_sum) override {
    if (++chunks == 3) throw std::runtime_error("the custom loss gave up");
    operations.cross_entropy(logits, labels, scale, loss_sum);
  }
};

// Sleeps on its second chunk.
struct SleepingLoss final : Loss {
  int chunks = 0;
  void chunk(Operations& operations, Tensor& logits, std::span<const int32_t> labels, double scale,
             Tensor& loss_sum) override {
    if (++chunks == 2) std::this_thread::sleep_for(std::chrono::milliseconds(1500));
    operations.cross_entropy(logits, labels, scale, loss_sum);
  }
};

// Gives a loss that is no number from its third chunk on.
struct NanLoss final : Loss {
  int chunks = 0;
  void chunk(Operations& operations, Tensor& logits, std::span<const int32_t> labels, double scale,
             Tensor& loss_sum) override {
    operations.cross_entropy(logits, labels, scale, loss_sum);
    if (++chunks == 3) *loss_sum.data<double>() = std::nan("");
  }
};

template <class Piece>
std::string register_loss(const std::string& name) {
  losses().add(name, [] { return std::make_unique<Piece>(); });
  return name;
}

TEST_CASE("run: an exception in a rank ends the run, with rank and cause", "[actors][run]") {
  const TemporaryFolder folder;
  Config config = tiny_run(folder);
  config.train.loss = register_loss<ThrowingLoss>("test_throws");
  const bool threads = GENERATE(false, true);
  const Events events = threads ? run(plan_of(config)) : run_virtually(config);
  INFO(fmt::format("{}", fmt::join(events.log, "\n")));
  REQUIRE(events.ended);
  CHECK(events.ended->status == RunStatus::failed);
  CHECK(events.ended->exit_code == 1);
  CHECK(events.ended->message == fmt::format("rank {}: the custom loss gave up", threads ? 1 : 0));
  CHECK(events.steps.empty());
  CHECK_FALSE(std::filesystem::exists(folder / "run" / "final"));
}

TEST_CASE("run: a loss that is no number ends the run and leaves no checkpoint of it", "[actors][run]") {
  const TemporaryFolder folder;
  Config config = tiny_run(folder);
  config.train.loss = register_loss<NanLoss>("test_nan");
  const Events events = run(plan_of(config));
  REQUIRE(events.ended);
  CHECK(events.ended->exit_code == 1);
  CHECK_THAT(events.ended->message, contains("step 1: the loss is nan"));
  CHECK(std::filesystem::is_empty(folder / "run" / "checkpoints"));
}

TEST_CASE("run: a rank that hangs is named by the watchdog", "[actors][run][slow]") {
  const TemporaryFolder folder;
  Config config = tiny_run(folder);
  config.run.stall_timeout_s = 0.3;
  config.train.loss = register_loss<SleepingLoss>("test_sleeps");
  const Events events = run(plan_of(config));
  REQUIRE(events.ended);
  CHECK(events.ended->exit_code == 1);
  CHECK_THAT(events.ended->message,
             contains("rank 1: no progress for") && contains("is inside '1F1'") &&
                 contains("rank 0 waits for gradient from stage 1 to stage 0 of micro-batch 1 from rank 1"));
}

TEST_CASE("run: a callback that throws ends the run, and is named", "[actors][run]") {
  struct Thrower final : Callback {
    void on_step(const StepFinished& step) override {
      if (step.step == 2) throw std::runtime_error("no room for plots");
    }
  };
  add_callback("test_thrower", [](const OptionValues&) { return std::make_unique<Thrower>(); });
  const TemporaryFolder folder;
  Config config = tiny_run(folder);
  config.callbacks = {{"test_thrower"}};
  const Events events = run_virtually(config);
  REQUIRE(events.ended);
  CHECK(events.ended->message == "callback test_thrower at step 2: no room for plots");
}

// --- with threads

TEST_CASE("run: threads change nothing, nor does a second run in the process", "[actors][run]") {
  const TemporaryFolder folder;
  const Config a = tiny_run(folder, "a"), b = tiny_run(folder, "b"), c = tiny_run(folder, "c");
  run_virtually(a);
  const Events first = run(plan_of(b)), second = run(plan_of(c));
  REQUIRE(first.steps.size() == 4);
  REQUIRE(second.steps.size() == 4);
  for (size_t i = 0; i < 4; ++i) {
    CHECK(first.steps[i].loss == second.steps[i].loss);
    CHECK(first.steps[i].grad_norm == second.steps[i].grad_norm);
  }
  CHECK((final_model(a) == final_model(b)));
  CHECK((final_model(a) == final_model(c)));
}

TEST_CASE("run: who asks for programs between its steps changes no bit of it", "[actors][run]") {
  const TemporaryFolder folder;
  Config alone = tiny_run(folder, "alone"), asked = tiny_run(folder, "asked");
  if (GENERATE(false, true))
    for (Config* config : {&alone, &asked}) {
      config->parallel.pp_size = 1;
      config->parallel.dp_size = 2;
      config->parallel.zero_stage = 3;
      config->train.gradient_accumulation_steps = 2;
    }
  const Events expected = run(plan_of(alone));
  ThreadedSystem threaded;
  caf::scoped_actor self(threaded.system);
  Events events;
  const caf::actor trainer = spawn_run(threaded.system, plan_of(asked), caf::actor_cast<caf::actor>(self));
  RunTag tag;
  std::unique_ptr<Asker> speaker;
  std::unique_ptr<GeneratorCore> text;
  std::vector<int64_t> steps;  // after which the tokens were drawn
  const auto speak = [&] {
    if (text && text->finished()) {
      text.reset();
      self->send(trainer, GenerationFinished{tag, "speaker"});
    }
    if (!text)
      text = std::make_unique<GeneratorCore>(std::vector<Prompt>{{{84, 104, 101}, 3, {}}, {{104}, 2, {}}},
                                             std::vector<int32_t>{}, 64);
    self->send(trainer, text->next(*speaker));
  };
  events.on_start = [&](const RunStarted& start) {
    tag = start.tag;
    speaker = std::make_unique<Asker>(tag, "speaker");
    speak();
  };
  events.on_reply = [&](const ProgramReply& reply) {
    REQUIRE(speaker->accept(reply));
    text->add(reply);
    steps.push_back(reply.step);
    speak();
  };
  events.receive_all(self);
  CHECK(threaded.comes_down_to(1));
  REQUIRE_FALSE(steps.empty());
  CHECK(std::is_sorted(steps.begin(), steps.end()));
  CHECK(events.ended->exit_code == 0);
  REQUIRE(events.steps.size() == expected.steps.size());
  for (size_t i = 0; i < events.steps.size(); ++i) {
    CHECK(events.steps[i].loss == expected.steps[i].loss);
    CHECK(events.steps[i].grad_norm == expected.steps[i].grad_norm);
    CHECK(events.steps[i].eval_loss == expected.steps[i].eval_loss);
  }
  CHECK((final_model(asked) == final_model(alone)));
}

TEST_CASE("run: two runs at a time in one actor system do not disturb each other", "[actors][run]") {
  const TemporaryFolder folder;
  const Config alone = tiny_run(folder, "alone"), a = tiny_run(folder, "a");
  Config b = tiny_run(folder, "b");
  b.run.seed = 7;
  run(plan_of(alone));
  ThreadedSystem threaded;
  caf::scoped_actor self_a(threaded.system), self_b(threaded.system);
  Events events_a, events_b;
  spawn_run(threaded.system, plan_of(a), caf::actor_cast<caf::actor>(self_a));
  spawn_run(threaded.system, plan_of(b), caf::actor_cast<caf::actor>(self_b));
  events_a.receive_all(self_a);
  events_b.receive_all(self_b);
  CHECK(threaded.comes_down_to(2));
  CHECK(events_a.ended->exit_code == 0);
  CHECK(events_b.ended->exit_code == 0);
  CHECK((final_model(a) == final_model(alone)));
  CHECK((final_model(b) != final_model(alone)));
}

TEST_CASE("run: one that fails leaves another in the same actor system alone", "[actors][run]") {
  const TemporaryFolder folder;
  Config failing = tiny_run(folder, "failing");
  failing.train.loss = register_loss<ThrowingLoss>("test_throws");
  const Config sound = tiny_run(folder, "sound");
  ThreadedSystem threaded;
  caf::scoped_actor self_a(threaded.system), self_b(threaded.system);
  Events events_a, events_b;
  spawn_run(threaded.system, plan_of(failing), caf::actor_cast<caf::actor>(self_a));
  spawn_run(threaded.system, plan_of(sound), caf::actor_cast<caf::actor>(self_b));
  events_a.receive_all(self_a);
  events_b.receive_all(self_b);
  CHECK(threaded.comes_down_to(2));
  CHECK(events_a.ended->exit_code == 1);
  CHECK(events_b.ended->exit_code == 0);
}

TEST_CASE("run: a host stops it early", "[actors][run]") {
  const RunStatus why = GENERATE(RunStatus::stopped, RunStatus::interrupted);
  const TemporaryFolder folder;
  Config config = tiny_run(folder);
  config.train.steps = 100000;
  config.eval.every_n_steps = 0;
  config.checkpoint.every_n_steps = 0;
  const Events events = run(plan_of(config), [&](const caf::actor& trainer, const StepFinished& step) {
    if (step.step == 2) request_stop(trainer, why);
  });
  CHECK(events.ended->status == why);
  CHECK(events.ended->exit_code == (why == RunStatus::stopped ? 0 : 130));
  CHECK(events.ended->step >= 2);
  CHECK(events.ended->step < 100000);
  CHECK(events.steps.back().step == events.ended->step);
  CHECK(std::filesystem::exists(folder / "run" / "final") == (why == RunStatus::stopped));
  CHECK(latest_checkpoint((folder / "run" / "checkpoints").string())->step() == events.ended->step);
}

TEST_CASE("run: interrupted and resumed, it ends with the bits of one that never stopped", "[actors][run]") {
  const TemporaryFolder folder;
  Config whole = tiny_run(folder, "whole"), broken = tiny_run(folder, "broken");
  whole.train.steps = broken.train.steps = 8;
  broken.checkpoint.every_n_steps = 0;
  run(plan_of(whole));
  const Events first = run(plan_of(broken), [&](const caf::actor& trainer, const StepFinished& step) {
    if (step.step == 2) request_stop(trainer, RunStatus::interrupted);
  });
  REQUIRE(first.ended->status == RunStatus::interrupted);
  const Events second = run(plan_of(broken, ExistingRun::resume));
  CHECK(second.ended->exit_code == 0);
  REQUIRE_FALSE(second.steps.empty());
  CHECK(second.steps.front().step == first.ended->step + 1);
  CHECK((final_model(broken) == final_model(whole)));
}

TEST_CASE("run: a listener that dies does not hold the run up", "[actors][run]") {
  const TemporaryFolder folder;
  const Config config = tiny_run(folder);
  ThreadedSystem threaded;
  caf::scoped_actor self(threaded.system);
  // Leaves after the first step.
  const auto leaver = [](caf::event_based_actor* me, int64_t last_step) -> caf::behavior {
    me->set_default_handler(caf::drop);
    return {[=](const StepFinished& step) {
      if (step.step == last_step) me->quit();
    }};
  };
  const caf::actor listener = threaded.system.spawn(leaver, int64_t{1});
  const caf::actor trainer = spawn_run(threaded.system, plan_of(config), listener);
  self->monitor(trainer);
  self->receive(
      [&](const caf::down_msg& down) {
        INFO(threaded.system.render(down.reason));
        CHECK(down.reason == caf::exit_reason::user_shutdown);
      },
      caf::after(std::chrono::seconds(60)) >> [] { FAIL("the run hangs"); });
  CHECK(threaded.comes_down_to(1));
  CHECK_FALSE(final_model(config).empty());
}

TEST_CASE("run: a listener may leave events unhandled, and may answer them", "[actors][run]") {
  const TemporaryFolder folder;
  const Config config = tiny_run(folder);
  ThreadedSystem threaded;
  caf::scoped_actor self(threaded.system);
  // CAF answers a message that nobody handles with an error, and sends back what a handler returns.
  const auto answerer = [](caf::event_based_actor* me, const caf::actor& observer) -> caf::behavior {
    me->set_default_handler(caf::drop);
    return {[](const StepFinished& step) { return step.step; },
            [=](const RunEnded& end) {
              me->send(observer, end);
              me->quit();
            }};
  };
  const caf::actor listener = threaded.system.spawn(answerer, caf::actor_cast<caf::actor>(self));
  spawn_run(threaded.system, plan_of(config), listener);
  Events events;
  events.receive_all(self);
  CHECK(events.ended->status == RunStatus::completed);
  CHECK(events.ended->message.empty());
  CHECK(threaded.comes_down_to(1));
}

TEST_CASE("run: a host that ends its actor is left no other", "[actors][run]") {
  const TemporaryFolder folder;
  Config config = tiny_run(folder);
  config.train.steps = 100000;
  ThreadedSystem threaded;
  caf::scoped_actor self(threaded.system);
  const caf::actor trainer = spawn_run(threaded.system, plan_of(config), caf::actor_cast<caf::actor>(self));
  Events events;
  while (events.steps.empty()) events.receive_one(self);
  SECTION("politely: it is an interruption") {
    caf::anon_send_exit(trainer, caf::exit_reason::user_shutdown);
    events.receive_all(self);
    CHECK(events.ended->status == RunStatus::interrupted);
  }
  SECTION("with force") {
    caf::anon_send_exit(trainer, caf::exit_reason::kill);
  }
  CHECK(threaded.comes_down_to(1));
}

}  // namespace
}  // namespace collie::test
