// Training runs of several layouts on plain threads, against one rank's. In double precision, with the
// operations that ThreadSanitizer can read: the fast ones call a library that is not instrumented.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <functional>
#include <set>

#include "kernels/reference/reference_operations.hpp"
#include "models/loss.hpp"
#include "plan/settings.hpp"
#include "runtime/evaluator_core.hpp"
#include "runtime/generator_core.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"
#include "tests/runtime/hooks.hpp"
#include "tests/runtime/threaded_run.hpp"
#include "tests/runtime/tiny_run.hpp"

namespace collie::test {
namespace {

struct ThreadedLayout {
  int pp = 1, dp = 1, cp = 1, tp = 1;
  int zero = 0;
  std::string schedule = "1f1b";
  bool sequence_parallel = false;
  std::string optimizer = "adamw";

  bool bitwise() const { return dp == 1 && cp == 1 && tp == 1; }
  std::string name() const {
    return fmt::format("pp{} dp{} cp{} tp{} zero{} {}{} {}", pp, dp, cp, tp, zero, schedule,
                       sequence_parallel ? " sp" : "", optimizer);
  }
};

ThreadedLayout schedule_free(ThreadedLayout layout) {
  layout.optimizer = "adamw_schedule_free";
  return layout;
}

// Three steps of eight sequences, an evaluation after the second, snapshots after each, so that they are
// copied while the next step is waiting.
Config config_of(const TemporaryFolder& folder, const ThreadedLayout& layout) {
  Config config = tiny_run(folder);
  config.model.config["num_hidden_layers"] = 4;
  config.data.sequence_length = 9;
  config.train.steps = 3;
  config.train.gradient_accumulation_steps = 4 / layout.dp;
  config.optimizer.name = layout.optimizer;
  config.parallel.pp_size = layout.pp;
  config.parallel.dp_size = layout.dp;
  config.parallel.cp_size = layout.cp;
  config.parallel.tp_size = layout.tp;
  config.parallel.zero_stage = layout.zero;
  config.parallel.schedule = layout.schedule;
  config.parallel.sequence_parallel = layout.sequence_parallel;
  config.parallel.bucket_elements = 5'000;  // several buckets a stage
  config.checkpoint.every_n_steps = 1;
  config.device.threads = 1;
  return config;
}

// With an estimate of the curvature before the first and the third step.
void use_sophia(Config& config) {
  config.optimizer.name = "sophia";
  config.optimizer.options = {{"lr", 1e-2}, {"rho", 1.0}, {"hessian_interval", int64_t{2}}};
}

RunPlan plan_of(Config config) {
  RunPlan plan = plan_training(std::move(config), ExistingRun::refuse);
  plan.make_operations = [](int, std::shared_ptr<MemoryAccount> account) {
    return std::make_unique<ReferenceOperations>(std::move(account));
  };
  return plan;
}

ThreadedOutcome run(const ThreadedLayout& layout, const std::function<void(Config&)>& change = nullptr) {
  const TemporaryFolder folder;
  Config config = config_of(folder, layout);
  if (change) change(config);
  return run_on_threads(plan_of(std::move(config)));
}

// The largest |a - b| / |b|; infinite where the numbers are not as many, or no numbers.
double difference(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return INFINITY;
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double relative = a[i] == b[i] ? 0 : std::abs(a[i] - b[i]) / std::abs(b[i]);
    largest = relative <= largest ? largest : std::isnan(relative) ? INFINITY : relative;
  }
  return largest;
}

// Of the tensors by norm: |a - b| / |b|.
double difference_by_norm(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return INFINITY;
  double squares = 0, norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    squares += (a[i] - b[i]) * (a[i] - b[i]);
    norm += b[i] * b[i];
  }
  const double relative = std::sqrt(squares) / std::max(std::sqrt(norm), 1e-30);
  return std::isnan(relative) ? INFINITY : relative;
}

const ThreadedOutcome& one_rank(const std::string& optimizer) {
  static std::map<std::string, ThreadedOutcome> outcomes;
  ThreadedLayout layout;
  layout.optimizer = optimizer;
  if (!outcomes.contains(optimizer)) outcomes[optimizer] = run(layout);
  return outcomes[optimizer];
}

void check_against_one_rank(const ThreadedLayout& layout, const ThreadedOutcome& expected,
                            const std::function<void(Config&)>& change = nullptr) {
  CAPTURE(layout.name());
  const ThreadedOutcome found = run(layout, change);
  REQUIRE(expected.end.message == "");
  REQUIRE(expected.losses.size() == 3);
  REQUIRE(expected.losses[2] < expected.losses[0] - 0.1);  // it learns
  REQUIRE(expected.evaluations.size() == 2);               // after the second step and at the end
  REQUIRE(expected.states.size() > 30);
  CHECK(found.end.message == "");
  REQUIRE(found.states.size() == expected.states.size());
  if (layout.bitwise()) {
    CHECK(found.losses == expected.losses);
    CHECK(found.norms == expected.norms);
    CHECK(found.evaluations == expected.evaluations);
    CHECK(found.states == expected.states);
    return;
  }
  constexpr double tolerance = 1e-10;  // of doubles, added in another order
  CHECK(difference(found.losses, expected.losses) < tolerance);
  CHECK(difference(found.norms, expected.norms) < tolerance);
  CHECK(difference(found.evaluations, expected.evaluations) < tolerance);
  for (const auto& [key, values] : expected.states) {
    CAPTURE(key.first, key.second);
    CHECK(difference_by_norm(found.states.at(key), values) < tolerance);
  }
}

void check_against_one_rank(const ThreadedLayout& layout) {
  check_against_one_rank(layout, one_rank(layout.optimizer));
}

TEST_CASE("cores on threads: pipelines compute one rank's bits", "[cores]") {
  check_against_one_rank({2, 1, 1, 1, 0, "1f1b"});
  check_against_one_rank({4, 1, 1, 1, 0, "gpipe"});
  check_against_one_rank({2, 1, 1, 1, 0, "dualpipe_v"});
}

TEST_CASE("cores on threads: replicas and every ZeRO stage compute what one rank computes", "[cores]") {
  for (const int zero : {0, 1, 2, 3}) check_against_one_rank({1, 2, 1, 1, zero});
}

TEST_CASE("cores on threads: tensor and context groups compute what one rank computes", "[cores]") {
  check_against_one_rank({1, 1, 1, 2, 0, "1f1b", true});
  check_against_one_rank({1, 1, 2, 1, 3});
  check_against_one_rank({1, 1, 2, 2, 1});
}

TEST_CASE("cores on threads: all dimensions together compute what one rank computes", "[cores]") {
  check_against_one_rank({2, 2, 1, 2, 2, "zb_h1"});
  check_against_one_rank({2, 2, 2, 1, 3, "interleaved_1f1b"});
  check_against_one_rank({2, 1, 2, 2, 1, "zbv", true});
}

// Two groups with the rest's own options, so that they change nothing.
void use_groups(Config& config) {
  config.optimizer.groups = {{{"model.layers.0.*"}, "", {{"lr", 1e-2}}},
                             {{"*self_attn*", "*norm*"}, "", {{"lr", 1e-2}}}};
}

TEST_CASE("cores on threads: norms of parameter groups are one rank's, and do not change the norm",
          "[cores][monitor]") {
  const ThreadedOutcome expected = run({}, use_groups);
  REQUIRE(expected.end.message == "");
  CHECK(expected.norms == one_rank("adamw").norms);
  CHECK(expected.states == one_rank("adamw").states);
  const auto norms_of = [](const ThreadedOutcome& outcome) {
    std::vector<double> all;
    for (const StepMeasures& measures : outcome.measures) {
      REQUIRE(measures.group_norms.size() == 3);
      all.insert(all.end(), measures.group_norms.begin(), measures.group_norms.end());
    }
    return all;
  };
  const std::vector<double> norms = norms_of(expected);
  REQUIRE(norms.size() == 9);
  for (size_t step = 0; step < 3; ++step) {
    double squares = 0;
    for (size_t group = 0; group < 3; ++group) {
      CHECK(norms[3 * step + group] > 0);
      squares += norms[3 * step + group] * norms[3 * step + group];
    }
    CHECK(std::sqrt(squares) == Approx(expected.norms[step]).epsilon(1e-12));
  }
  CHECK(one_rank("adamw").measures.at(0).group_norms.empty());
  for (const ThreadedLayout& layout : std::vector<ThreadedLayout>{{2, 1, 1, 1, 0, "1f1b"},
                                                                  {4, 1, 1, 1, 0, "gpipe"},
                                                                  {1, 2, 1, 1, 1},
                                                                  {1, 2, 1, 1, 3},
                                                                  {1, 1, 1, 2, 0, "1f1b", true},
                                                                  {2, 2, 1, 2, 2, "zb_h1"},
                                                                  {1, 1, 2, 2, 1}}) {
    CAPTURE(layout.name());
    const ThreadedOutcome found = run(layout, use_groups);
    if (layout.bitwise())
      CHECK(norms_of(found) == norms);
    else
      CHECK(difference(norms_of(found), norms) < 1e-10);
  }
}

TEST_CASE("cores on threads: every layout reports the shares of its steps", "[cores][monitor]") {
  for (const ThreadedLayout& layout : std::vector<ThreadedLayout>{
           {}, {2, 1, 1, 1, 0, "1f1b"}, {1, 2, 1, 1, 3}, {1, 1, 1, 2, 0}, {2, 2, 2, 1, 1}}) {
    CAPTURE(layout.name());
    const ThreadedOutcome found = run(layout);
    REQUIRE(found.measures.size() == 3);
    const bool alone = layout.pp * layout.dp * layout.cp * layout.tp == 1;
    for (const StepMeasures& measures : found.measures) {
      const double sum = measures.compute_share + measures.communication_share + measures.bubble_share +
                         measures.data_wait_share + measures.save_wait_share;
      CHECK(sum == Approx(1.0));
      CHECK(measures.compute_share > 0);
      CHECK(measures.model_flops_per_second > 0);
      REQUIRE(measures.peak_bytes.size() == category_count);
      CHECK(measures.peak_bytes[static_cast<size_t>(Category::weights)] > 0);
      CHECK(measures.peak_bytes[static_cast<size_t>(Category::activations)] > 0);
      CHECK(measures.watches_ranks == !alone);
      CHECK(measures.slow_ranks.empty());
      if (alone)
        CHECK(std::isnan(measures.sent_bytes_per_second));
      else
        CHECK(measures.sent_bytes_per_second > 0);
      if (!alone) CHECK(measures.network_bytes_per_second == 0.0);  // all in one process
    }
  }
}

// Every step from the third on is far above the guard's limits. It takes every second one as it is.
TEST_CASE("cores on threads: a step that a guard skips changes no bit of weights and states", "[cores]") {
  const std::vector<std::pair<ThreadedLayout, std::string>> all = {
      {{2, 1, 1, 1, 0}, "adamw"},   {{1, 2, 1, 1, 3}, "adamw"},     {{1, 1, 2, 2, 1}, "adamw"},
      {{1, 2, 1, 1, 2}, "lion"},    {{2, 1, 1, 2, 0}, "sophia"},    {{1, 1, 1, 1, 0}, "adamw_schedule_free"},
      {{1, 2, 1, 1, 1}, "muon"},    {{1, 1, 1, 2, 0}, "adafactor"}, {{2, 1, 1, 1, 0}, "adan"},
      {{1, 2, 1, 1, 0}, "adalomo"},
  };
  for (const auto& [layout, optimizer] : all) {
    CAPTURE(layout.name(), optimizer);
    const ThreadedOutcome found = run(layout, [&](Config& config) {
      if (optimizer == "sophia")
        use_sophia(config);
      else
        config.optimizer.options = {{"lr", 1e-2}};
      config.optimizer.name = optimizer;
      config.optimizer.fused_update = false;
      config.train.steps = 5;
      config.callbacks = {{"spike_guard",
                           {{"loss_deviations", 0.0},
                            {"norm_factor", 1e-9},
                            {"window", int64_t{2}},
                            {"first_steps", int64_t{2}},
                            {"most_in_a_row", int64_t{1}}}}};
    });
    REQUIRE(found.end.message == "");
    REQUIRE(found.snapshots.size() == 5);
    const auto weights_of = [&](int64_t step) {
      ThreadedOutcome::States states = found.snapshots.at(step);
      // An estimate of the curvature is made before the update, and stays.
      std::erase_if(states, [](const auto& each) { return each.first.second == "hessian"; });
      return states;
    };
    CHECK(weights_of(1) != weights_of(2));
    CHECK(weights_of(3) == weights_of(2));
    CHECK(weights_of(4) != weights_of(3));
    CHECK(weights_of(5) == weights_of(4));
  }
}

TEST_CASE("cores on threads: sophia's sampled labels and estimates are the same under every layout",
          "[cores]") {
  const bool frozen = GENERATE(false, true);
  const auto change = [&](Config& config) {
    use_sophia(config);
    if (frozen) config.model.frozen = {"model.layers.0.*", "*norm*"};
  };
  const ThreadedOutcome expected = run({}, change);
  size_t estimates = 0;
  for (const auto& [key, values] : expected.states)
    if (key.second == "hessian")
      estimates += std::any_of(values.begin(), values.end(), [](double x) { return x > 0; }) ? 1 : 0;
  CHECK(estimates > 15);
  for (const ThreadedLayout& layout :
       {ThreadedLayout{2, 1, 1, 1, 0, "1f1b"}, ThreadedLayout{2, 1, 1, 1, 0, "dualpipe_v"},
        ThreadedLayout{1, 2, 1, 1, 0}, ThreadedLayout{1, 2, 1, 1, 1}, ThreadedLayout{1, 2, 1, 1, 3},
        ThreadedLayout{1, 1, 1, 2, 0, "1f1b", true}, ThreadedLayout{1, 1, 2, 1, 2},
        ThreadedLayout{2, 2, 2, 1, 3, "interleaved_1f1b"}, ThreadedLayout{2, 1, 2, 2, 1, "zbv", true}})
    check_against_one_rank(layout, expected, change);
}

TEST_CASE(
    "cores on threads: averages of weights are evaluated alike under every layout, and change no training",
    "[cores][schedule_free]") {
  for (const ThreadedLayout& layout :
       {ThreadedLayout{2, 1, 1, 1, 0, "1f1b"}, ThreadedLayout{2, 1, 1, 1, 0, "zbv"},
        ThreadedLayout{2, 1, 1, 1, 0, "interleaved_1f1b"}, ThreadedLayout{1, 2, 1, 1, 0},
        ThreadedLayout{1, 2, 1, 1, 1}, ThreadedLayout{1, 2, 1, 1, 3},
        ThreadedLayout{1, 1, 1, 2, 0, "1f1b", true}, ThreadedLayout{1, 1, 2, 2, 1},
        ThreadedLayout{2, 2, 1, 2, 2, "zb_h1"}, ThreadedLayout{2, 2, 2, 1, 3, "interleaved_1f1b"}}) {
    check_against_one_rank(schedule_free(layout));
    CAPTURE(layout.name());
    const ThreadedOutcome once = run(schedule_free(layout));
    const TemporaryFolder folder;
    Config config = config_of(folder, schedule_free(layout));
    config.eval.every_n_steps = 1;
    const ThreadedOutcome found = run_on_threads(plan_of(std::move(config)));
    CHECK(found.end.message == "");
    CHECK(found.evaluations.size() == 3);
    CHECK(found.losses == once.losses);
    CHECK(found.norms == once.norms);
    CHECK(found.snapshots == once.snapshots);
  }
}

TEST_CASE("cores on threads: parameters of one rule are evaluated by their averages, others as they are",
          "[cores][schedule_free]") {
  std::vector<double> evaluations;
  for (const ThreadedLayout& layout : {ThreadedLayout{}, ThreadedLayout{2, 1, 1, 1, 0, "1f1b"},
                                       ThreadedLayout{1, 2, 1, 1, 1}, ThreadedLayout{2, 2, 1, 1, 3, "zbv"}})
    for (const char* pattern : {"*_proj.weight", "model.embed_tokens.weight"}) {
      CAPTURE(layout.name(), pattern);
      const TemporaryFolder folder;
      Config config = config_of(folder, layout);
      config.optimizer.groups = {{{pattern}, "adamw_schedule_free", {{"lr", 1e-2}}}};
      const ThreadedOutcome found = run_on_threads(plan_of(std::move(config)));
      CHECK(found.end.message == "");
      REQUIRE(found.evaluations.size() == 2);
      const size_t which = std::string(pattern).starts_with("*") ? 0 : 1;
      if (layout.pp == 1 && layout.dp == 1) evaluations.push_back(found.evaluations[0]);
      CHECK(found.evaluations[0] == Approx(evaluations.at(which)).epsilon(1e-10));
      CHECK(found.states.contains({"model.embed_tokens.weight", "z"}) == (which == 1));
    }
  CHECK(evaluations[0] != evaluations[1]);
}

// Lets the model continue three texts, of different lengths, over and over.
class Speaker final : public Guest {
 public:
  std::vector<int32_t> tokens;

  ProgramRequest next(Asker& asker) override {
    if (!core_ || core_->finished()) {
      core_ = std::make_unique<GeneratorCore>(
          std::vector<Prompt>{{{84, 104, 101}, 4, {}}, {{84}, 2, {}}, {{104, 101, 114, 100, 115}, 3, {}}},
          std::vector<int32_t>{}, 64);
      ProgramRequest request = core_->next(asker);
      request.decoding.ended = still_held_;
      still_held_.clear();
      return request;
    }
    return core_->next(asker);
  }
  void take(const ProgramReply& reply) override {
    for (const GeneratorCore::Drawn& drawn : core_->add(reply)) tokens.push_back(drawn.token);
    if (core_->finished()) still_held_ = {0};  // the longest
  }

 private:
  std::unique_ptr<GeneratorCore> core_;
  std::vector<int64_t> still_held_;
};

// Asks for the loss and the norm of the step that comes next.
class Surveyor final : public Guest {
 public:
  struct Survey {
    int64_t step = 0;
    double loss = 0, norm = 0;
  };
  explicit Surveyor(const RunPlan& plan) : plan_(plan) {}
  std::vector<Survey> surveys;  // those that came in time

  ProgramRequest next(Asker& asker) override {
    const int replicas = plan_.layout.grid.data;
    StepBatch whole = *training_batch(plan_, step_, 0);
    const size_t each = whole.micro_batches.size();
    whole.micro_batches.clear();
    for (size_t i = 0; i < each; ++i)
      for (int replica = 0; replica < replicas; ++replica)
        whole.micro_batches.push_back(training_batch(plan_, step_, replica)->micro_batches[i]);
    targets_ = static_cast<double>(whole.global_target_tokens);
    return asker.ask(norm_program, std::make_shared<const StepBatch>(std::move(whole)));
  }
  void take(const ProgramReply& reply) override {
    if (reply.step + 1 == step_)
      surveys.push_back(
          {step_, value_of(reply, loss_sum_name) / targets_, value_of(reply, gradient_norm_name)});
    step_ = std::min<int64_t>(reply.step + 2, plan_.total_steps);
  }

 private:
  const RunPlan& plan_;
  int64_t step_ = 1;
  double targets_ = 0;
};

// Asks for the losses of the evaluation's documents, before the first step.
class Reader final : public Guest {
 public:
  explicit Reader(const RunPlan& plan) {
    EvaluatorCore evaluator(plan.evaluation_order, plan.config.train.micro_batch_size);
    evaluator.start(0);
    batch_ = evaluator.next();
  }
  std::vector<double> numbers, loss_sums, targets;
  double whole = 0;

  ProgramRequest next(Asker& asker) override {
    ProgramRequest request = asker.ask(evaluation_program, batch_);
    request.per_document = true;
    return request;
  }
  void take(const ProgramReply& reply) override {
    if (!numbers.empty()) return;
    const auto values = [&](const char* name) {
      const auto& bits = values_of(reply, name);
      return std::vector<double>(bits.begin(), bits.end());
    };
    numbers = values(documents_name);
    loss_sums = values(document_loss_sums_name);
    targets = values(document_targets_name);
    whole = value_of(reply, loss_sum_name);
  }

 private:
  std::shared_ptr<const StepBatch> batch_;
};

TEST_CASE("cores on threads: the losses of documents are the same under every layout", "[cores]") {
  std::vector<double> numbers, loss_sums, targets;
  for (const ThreadedLayout& layout :
       {ThreadedLayout{}, ThreadedLayout{2, 1, 1, 1, 0, "zbv"}, ThreadedLayout{1, 2, 1, 1, 3},
        ThreadedLayout{1, 1, 2, 1, 0}, ThreadedLayout{1, 1, 1, 2, 0, "1f1b", true},
        ThreadedLayout{2, 2, 2, 1, 1}}) {
    CAPTURE(layout.name());
    const TemporaryFolder folder;
    Config config = config_of(folder, layout);
    config.train.steps = 1;
    // Documents of several lengths, some of them longer than a context rank's chunk or than a sequence.
    std::string lines;
    for (const char* text : {"a", "collie", "herds sheep all day long", "bark", "ox", "sheepdog"})
      lines += fmt::format("{{\"text\": \"{}\"}}\n", text);
    folder.write("documents.jsonl", lines);
    config.data.eval[0].path = (folder / "documents.jsonl").string();
    config.data.eval[0].format = "jsonl";
    config.data.eval[0].text = "text";
    const RunPlan plan = plan_of(config);
    Reader reader(plan);
    const ThreadedOutcome found = run_on_threads(plan, nullptr, {{"reader", &reader}});
    CHECK(found.end.message == "");
    if (numbers.empty()) {
      numbers = reader.numbers;
      loss_sums = reader.loss_sums;
      targets = reader.targets;
      REQUIRE(numbers.size() > 6);
    }
    CHECK(reader.numbers == numbers);
    CHECK(reader.targets == targets);
    if (layout.bitwise()) CHECK(reader.loss_sums == loss_sums);
    CHECK(difference(reader.loss_sums, loss_sums) < 1e-10);
    double sum = 0;
    for (const double loss : reader.loss_sums) sum += loss;
    CHECK(sum == Approx(reader.whole).epsilon(1e-12));
  }
}

TEST_CASE("cores on threads: who asks between steps changes no bit of training, and sees its weights",
          "[cores]") {
  std::vector<int32_t> first_tokens;
  for (const ThreadedLayout& layout :
       {ThreadedLayout{}, ThreadedLayout{2, 1, 1, 1, 0, "dualpipe_v"}, ThreadedLayout{1, 2, 1, 1, 3},
        ThreadedLayout{1, 1, 2, 2, 1, "1f1b", true}, ThreadedLayout{2, 2, 1, 2, 2, "zb_h1"},
        ThreadedLayout{2, 2, 2, 1, 3, "interleaved_1f1b"}, schedule_free({}),
        schedule_free({2, 1, 1, 1, 0, "1f1b"}), schedule_free({2, 2, 1, 1, 2, "zbv"})}) {
    CAPTURE(layout.name());
    const ThreadedOutcome expected = run(layout);
    const TemporaryFolder folder;
    const RunPlan plan = plan_of(config_of(folder, layout));
    Speaker speaker;
    Surveyor surveyor(plan);
    const ThreadedOutcome found =
        run_on_threads(plan, nullptr, {{"speaker", &speaker}, {"surveyor", &surveyor}});
    CHECK(found.end.message == "");
    CHECK(found.losses == expected.losses);
    CHECK(found.norms == expected.norms);
    CHECK(found.evaluations == expected.evaluations);
    CHECK(found.states == expected.states);

    REQUIRE_FALSE(surveyor.surveys.empty());
    CHECK(surveyor.surveys[0].step == 1);
    for (const Surveyor::Survey& survey : surveyor.surveys) {
      CAPTURE(survey.step);
      CHECK(survey.loss == expected.losses.at(static_cast<size_t>(survey.step - 1)));
      CHECK(survey.norm == expected.norms.at(static_cast<size_t>(survey.step - 1)));
    }
    REQUIRE(speaker.tokens.size() >= 3);  // before each step
    speaker.tokens.resize(3);             // of the initial weights
    if (first_tokens.empty()) first_tokens = speaker.tokens;
    CHECK(speaker.tokens == first_tokens);
  }
}

// Cross-entropy that calls somebody in the middle of the run, on the thread that gets there.
class CallingLoss final : public Loss {
 public:
  static std::atomic<int> calls_left;
  static std::function<void()> call;

  void chunk(Operations& operations, Tensor& logits, std::span<const int32_t> labels, double gradient_scale,
             Tensor& loss_sum) override {
    if (--calls_left == 0) call();
    inner_->chunk(operations, logits, labels, gradient_scale, loss_sum);
  }
  bool is_cross_entropy() const override { return true; }
  bool supports_shards() const override { return true; }
  void chunk_of_shard(Operations& operations, Tensor& logits, std::span<const int32_t> labels, int64_t first,
                      ProcessGroup& group, double gradient_scale, Tensor& loss_sum) override {
    if (--calls_left == 0) call();
    inner_->chunk_of_shard(operations, logits, labels, first, group, gradient_scale, loss_sum);
  }

 private:
  std::unique_ptr<Loss> inner_ = losses().find("cross_entropy")();
};
std::atomic<int> CallingLoss::calls_left{0};
std::function<void()> CallingLoss::call;

ThreadedOutcome run_interrupted(const ThreadedLayout& layout, int at_call, const Guests& guests = {},
                                const std::vector<std::string>& hooks = {},
                                const std::function<void(Config&)>& change = nullptr) {
  static const bool registered = [] {
    losses().add("calling", [] { return std::make_unique<CallingLoss>(); });
    return true;
  }();
  REQUIRE(registered);
  const TemporaryFolder folder;
  Config config = config_of(folder, layout);
  config.train.loss = "calling";
  if (change) change(config);
  CallingLoss::calls_left = at_call;
  RunPlan plan = plan_of(std::move(config));
  plan.step_hooks = hooks;
  return run_on_threads(
      plan, [](const std::function<void()>& interrupt) { CallingLoss::call = interrupt; }, guests);
}

TEST_CASE("cores on threads: an interruption at any moment leaves all ranks behind the same whole step",
          "[cores]") {
  for (const ThreadedLayout& layout :
       {ThreadedLayout{2, 1, 1, 1, 0}, ThreadedLayout{1, 1, 1, 2, 0, "1f1b", true},
        ThreadedLayout{2, 2, 1, 1, 1, "zb_h1"}, ThreadedLayout{1, 2, 2, 1, 3},
        ThreadedLayout{2, 2, 1, 2, 2, "gpipe"}}) {
    CAPTURE(layout.name());
    const ThreadedOutcome whole = run(layout);
    std::set<int64_t> ends;
    for (const int call : {2, 5, 7, 9, 11, 14, 17}) {
      CAPTURE(call);
      const ThreadedOutcome found = run_interrupted(layout, call);
      CHECK(found.end.message == "");
      if (found.end.status == RunStatus::completed) break;  // it was done
      CHECK(found.end.exit_code == 130);
      ends.insert(found.end.step);
      CHECK(static_cast<int64_t>(found.losses.size()) == found.end.step);
      CHECK(std::equal(found.losses.begin(), found.losses.end(), whole.losses.begin()));
      REQUIRE(found.snapshots.count(found.end.step) == 1);
      if (found.end.step > 0) CHECK(found.snapshots.at(found.end.step) == whole.snapshots.at(found.end.step));
    }
    CHECK(ends.size() >= 2);
  }
}

TEST_CASE("cores on threads: an interruption of sophia's estimates leaves the weights of a whole step",
          "[cores]") {
  for (const ThreadedLayout& layout :
       {ThreadedLayout{}, ThreadedLayout{2, 1, 1, 1, 0}, ThreadedLayout{1, 2, 1, 1, 3},
        ThreadedLayout{1, 1, 1, 2, 0, "1f1b", true}}) {
    CAPTURE(layout.name());
    const ThreadedOutcome whole = run(layout, use_sophia);
    for (int call = 1; call <= 24; call += 2) {
      CAPTURE(call);
      const ThreadedOutcome found = run_interrupted(layout, call, {}, {}, use_sophia);
      CHECK(found.end.message == "");
      if (found.end.status == RunStatus::completed) break;
      CHECK(static_cast<int64_t>(found.losses.size()) == found.end.step);
      CHECK(std::equal(found.losses.begin(), found.losses.end(), whole.losses.begin()));
      REQUIRE(found.snapshots.count(found.end.step) == 1);
      if (found.end.step == 0) continue;
      for (const auto& [key, values] : whole.snapshots.at(found.end.step)) {
        CAPTURE(key.first, key.second);
        // The estimate of the next step may be there already; the trainer says so to the writer.
        if (key.second != "hessian") CHECK(found.snapshots.at(found.end.step).at(key) == values);
      }
    }
  }
}

TEST_CASE("cores on threads: weights that are swapped for an evaluation come back", "[cores]") {
  std::vector<double> evaluations;
  for (const ThreadedLayout& layout :
       {ThreadedLayout{}, ThreadedLayout{2, 1, 1, 1, 0, "zbv"}, ThreadedLayout{1, 2, 1, 1, 0},
        ThreadedLayout{1, 2, 1, 1, 1}, ThreadedLayout{1, 2, 1, 1, 2}, ThreadedLayout{1, 2, 1, 1, 3},
        ThreadedLayout{2, 2, 1, 2, 3}}) {
    CAPTURE(layout.name());
    const ThreadedOutcome expected = run(layout);
    const TemporaryFolder folder;
    RunPlan plan = plan_of(config_of(folder, layout));
    plan.step_hooks = hooks_of_tests();
    hook_counts.steps = hook_counts.evaluations = hook_counts.ended_evaluations = 0;
    const ThreadedOutcome found = run_on_threads(plan);
    CHECK(found.end.message == "");
    CHECK(found.losses == expected.losses);
    CHECK(found.norms == expected.norms);
    CHECK(found.states == expected.states);
    CHECK(hook_counts.steps == 3 * plan.layout.grid.ranks());
    CHECK(hook_counts.evaluations == 2 * plan.layout.grid.ranks());
    CHECK(hook_counts.ended_evaluations == 2 * plan.layout.grid.ranks());
    if (evaluations.empty()) evaluations = found.evaluations;
    REQUIRE(found.evaluations.size() == 2);
    CHECK(found.evaluations != expected.evaluations);
    CHECK(difference(found.evaluations, evaluations) < 1e-10);
  }
}

void check_interrupted_evaluations(const std::vector<ThreadedLayout>& layouts) {
  for (const ThreadedLayout& layout : layouts) {
    CAPTURE(layout.name());
    const ThreadedOutcome whole = run(layout);
    // Every call of the loss from the first step to the evaluation after the second.
    for (int call = 1; call <= 16; ++call) {
      CAPTURE(call);
      const ThreadedOutcome found = run_interrupted(layout, call, {}, hooks_of_tests());
      CHECK(found.end.message == "");
      if (found.end.status == RunStatus::completed) break;
      REQUIRE(found.snapshots.count(found.end.step) == 1);
      if (found.end.step > 0) CHECK(found.snapshots.at(found.end.step) == whole.snapshots.at(found.end.step));
    }
  }
}

TEST_CASE("cores on threads: an interruption of an evaluation leaves the weights of training", "[cores]") {
  check_interrupted_evaluations({{2, 1, 1, 1, 0}, {1, 2, 1, 1, 1}, {1, 2, 1, 1, 3}});
}

TEST_CASE("cores on threads: an interruption of an evaluation by averages leaves the weights of training",
          "[cores][schedule_free]") {
  check_interrupted_evaluations({schedule_free({2, 1, 1, 1, 0}), schedule_free({2, 1, 1, 1, 0, "zbv"}),
                                 schedule_free({2, 2, 1, 1, 1})});
}

TEST_CASE("cores on threads: an interruption gives up what others asked for, too", "[cores]") {
  for (const ThreadedLayout& layout : {ThreadedLayout{2, 1, 1, 1, 0}, ThreadedLayout{1, 2, 2, 1, 3},
                                       ThreadedLayout{2, 2, 1, 2, 2, "gpipe"}}) {
    CAPTURE(layout.name());
    const ThreadedOutcome whole = run(layout);
    for (const int call : {1, 2, 4, 6, 9, 13, 18, 24}) {
      CAPTURE(call);
      const TemporaryFolder folder;
      const RunPlan plan = plan_of(config_of(folder, layout));
      Speaker speaker;
      Surveyor surveyor(plan);
      const ThreadedOutcome found =
          run_interrupted(layout, call, {{"speaker", &speaker}, {"surveyor", &surveyor}});
      CHECK(found.end.message == "");
      if (found.end.status == RunStatus::completed) break;
      CHECK(found.end.exit_code == 130);
      CHECK(static_cast<int64_t>(found.losses.size()) == found.end.step);
      CHECK(std::equal(found.losses.begin(), found.losses.end(), whole.losses.begin()));
      REQUIRE(found.snapshots.count(found.end.step) == 1);
      if (found.end.step > 0) CHECK(found.snapshots.at(found.end.step) == whole.snapshots.at(found.end.step));
    }
  }
}

// Cross-entropy that gives up in the middle of the run, on one thread.
class FailingLoss final : public Loss {
 public:
  static constexpr int calls_until = 20;
  static std::atomic<int> calls;

  void chunk(Operations& operations, Tensor& logits, std::span<const int32_t> labels, double gradient_scale,
             Tensor& loss_sum) override {
    if (++calls == calls_until) throw RunError("the loss gives up");
    inner_->chunk(operations, logits, labels, gradient_scale, loss_sum);
  }
  bool supports_shards() const override { return true; }
  void chunk_of_shard(Operations& operations, Tensor& logits, std::span<const int32_t> labels, int64_t first,
                      ProcessGroup& group, double gradient_scale, Tensor& loss_sum) override {
    if (++calls == calls_until) throw RunError("the loss gives up");
    inner_->chunk_of_shard(operations, logits, labels, first, group, gradient_scale, loss_sum);
  }

 private:
  std::unique_ptr<Loss> inner_ = losses().find("cross_entropy")();
};
std::atomic<int> FailingLoss::calls{0};

TEST_CASE("cores on threads: a rank that fails ends all others, wherever they are", "[cores]") {
  static const bool registered = [] {
    losses().add("failing", [] { return std::make_unique<FailingLoss>(); });
    return true;
  }();
  REQUIRE(registered);
  for (const ThreadedLayout& layout : {ThreadedLayout{2, 2, 1, 2, 1}, ThreadedLayout{1, 2, 2, 1, 3},
                                       ThreadedLayout{2, 2, 2, 1, 2, "gpipe"}}) {
    CAPTURE(layout.name());
    FailingLoss::calls = 0;
    const TemporaryFolder folder;
    Config config = config_of(folder, layout);
    config.train.loss = "failing";
    const ThreadedOutcome found = run_on_threads(plan_training(config, ExistingRun::refuse));
    CHECK(found.end.exit_code == 1);
    CHECK_THAT(found.end.message, contains("rank "));
    CHECK_THAT(found.end.message, contains("the loss gives up"));
    CHECK(FailingLoss::calls >= FailingLoss::calls_until);
  }
}

TEST_CASE("cores on threads: sophia is refused with a loss that is no cross-entropy", "[cores]") {
  class Other final : public Loss {
   public:
    void chunk(Operations&, Tensor&, std::span<const int32_t>, double, Tensor&) override {}
  };
  losses().add("other", [] { return std::make_unique<Other>(); });
  const TemporaryFolder folder;
  Config config = config_of(folder, {});
  config.train.loss = "other";
  const bool in_group = GENERATE(false, true);
  if (in_group)
    config.optimizer.groups = {{{"*norm*"}, "sophia", {}}};
  else
    use_sophia(config);
  CHECK_THROWS_WITH(plan_training(config, ExistingRun::refuse),
                    contains("train.loss") && contains("'other'") && contains("sophia"));
}

}  // namespace
}  // namespace collie::test
