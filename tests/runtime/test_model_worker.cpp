// The model worker through whole steps, in one thread: what the schedule, the split of the backward and the
// number of ranks may not change, and what the worker may not keep.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "models/weights_io.hpp"
#include "runtime/generator_core.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"
#include "tests/io/memory_checkpoints.hpp"
#include "tests/models/support.hpp"
#include "tests/paths.hpp"
#include "tests/runtime/hooks.hpp"
#include "tests/runtime/local_pipeline.hpp"
#include "tests/runtime/recorders.hpp"

namespace collie::test {
namespace {

ModelConfig three_blocks(bool tied) {
  ModelConfig config = tiny_config(tied);
  config.num_hidden_layers = 3;
  return config;
}

Layout layout_with(int ranks, bool tied, const std::string& schedule = "1f1b", bool split = false) {
  Layout layout;
  layout.grid.pipeline = layout.stages = ranks;
  for (int stage = 0; stage < ranks; ++stage) layout.rank_of_stage.push_back(stage);
  layout.schedule = schedule;
  layout.split_backward = split;
  layout.tied = tied;
  return layout;
}

constexpr double clip_grad_norm = 0.1;

ModelWorkerSettings settings_of(const ModelConfig& model, int stages) {
  ModelWorkerSettings settings;
  settings.model = model;
  settings.ranges = partition_stages(model, stages, "uniform");
  settings.rank_of_stage.resize(static_cast<size_t>(stages));
  for (int stage = 0; stage < stages; ++stage) settings.rank_of_stage[static_cast<size_t>(stage)] = stage;
  settings.grid.pipeline = stages;
  settings.optimizer.options.set("lr", 1.0);  // a program's factor is the rate
  settings.clip_grad_norm = clip_grad_norm;
  return settings;
}

// Cross-entropy, but that its sum is infinite.
class InfiniteLoss final : public Loss {
 public:
  void chunk(Operations& operations, Tensor& logits, std::span<const int32_t> labels, double gradient_scale,
             Tensor& loss_sum) override {
    inner_->chunk(operations, logits, labels, gradient_scale, loss_sum);
    *loss_sum.data<double>() += INFINITY;
  }

 private:
  std::unique_ptr<Loss> inner_ = losses().find("cross_entropy")();
};

std::string infinite_loss() {
  static const bool added = [] {
    losses().add("infinite", [] { return std::make_unique<InfiniteLoss>(); });
    return true;
  }();
  return added ? "infinite" : "";
}

// Makes one gradient of each rank a value.
class SpoilingHook final : public StepHook {
 public:
  explicit SpoilingHook(double value) : value_(value) {}
  void before_norm(const HookContext& context) override {
    Tensor first = context.stages.front()->gradients().part(0).rows(0, 1);
    context.operations.fill(first, value_);
  }

 private:
  double value_;
};

LocalPipeline pipeline_of(const ModelConfig& model, const Layout& layout) {
  return LocalPipeline(layout, settings_of(model, layout.stages));
}

std::shared_ptr<const StepBatch> step_batch(int micro_batches, int step) {
  auto batch = std::make_shared<StepBatch>();
  batch->step = step;
  for (int i = 0; i < micro_batches; ++i) {
    batch->micro_batches.push_back(
        make_batch({5, 3 + i % 2}, 11, fmt::format("batch {} of step {}", i, step)));
    batch->global_target_tokens += batch->micro_batches.back().target_tokens;
  }
  return batch;
}

std::vector<float> floats_of(const Tensor& tensor) {
  REQUIRE(tensor.contiguous());
  return {tensor.data<float>(), tensor.data<float>() + tensor.numel()};
}

// "name/state" -> the values' bytes.
std::map<std::string, std::string> bits_of(const std::vector<CheckpointSlice>& slices) {
  std::map<std::string, std::string> all;
  for (const auto& slice : slices) {
    const std::vector<float> values = floats_of(slice.data);
    const bool fresh =
        all.emplace(slice.name + "/" + slice.state,
                    std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)))
            .second;
    INFO(slice.name << "/" << slice.state);
    CHECK(fresh);  // on one rank alone
  }
  return all;
}

// Losses of three steps and an evaluation, and everything a checkpoint would keep.
struct Outcome {
  std::vector<double> losses;
  std::map<std::string, std::string> bits;
};

Outcome train(LocalPipeline& pipeline, int micro_batches = 4) {
  Outcome outcome;
  for (int step = 1; step <= 3; ++step)
    outcome.losses.push_back(pipeline.train(step_batch(micro_batches, step), 1e-2));
  outcome.losses.push_back(pipeline.evaluate(step_batch(2, 9)));
  outcome.bits = bits_of(pipeline.snapshot());
  return outcome;
}

void check_same_bits(const Outcome& a, const Outcome& b) {
  CHECK(a.losses == b.losses);
  REQUIRE(a.bits.size() == b.bits.size());
  for (const auto& [key, bits] : a.bits) {
    INFO(key);
    REQUIRE(b.bits.count(key) == 1);
    CHECK((bits == b.bits.at(key)));
  }
}

TEST_CASE("model worker: the same bits on one rank, two and three, with either schedule",
          "[actors][worker]") {
  const bool tied = GENERATE(false, true);
  const int ranks = GENERATE(1, 2, 3);
  const std::string schedule = GENERATE("gpipe", "1f1b");
  CAPTURE(tied, ranks, schedule);
  const ModelConfig model = three_blocks(tied);
  LocalPipeline one = pipeline_of(model, layout_with(1, tied));
  LocalPipeline other = pipeline_of(model, layout_with(ranks, tied, schedule));
  const Outcome expected = train(one);
  CHECK(expected.losses[1] != expected.losses[0]);
  check_same_bits(train(other), expected);
}

TEST_CASE("model worker: a split backward gives the whole one's bits", "[actors][worker]") {
  const bool tied = GENERATE(false, true);
  const int ranks = GENERATE(1, 2);
  CAPTURE(tied, ranks);
  const ModelConfig model = three_blocks(tied);
  LocalPipeline whole = pipeline_of(model, layout_with(ranks, tied, "1f1b", false));
  LocalPipeline split = pipeline_of(model, layout_with(ranks, tied, "1f1b", true));
  check_same_bits(train(split), train(whole));
}

TEST_CASE("model worker: two stages per rank, from a file, give the same bits", "[actors][worker]") {
  const bool tied = GENERATE(false, true);
  const auto [file, placement] = GENERATE(
      std::pair("schedule_dualpipe_v_2_4.csv", std::vector<int>{0, 1, 1, 0}),  // neighbours on one rank
      std::pair("schedule_interleaved_1f1b_2_4.csv", std::vector<int>{0, 1, 0, 1}));
  CAPTURE(tied, file);
  ModelConfig model = tiny_config(tied);
  model.num_hidden_layers = 4;
  Layout layout = layout_with(2, tied, golden_file(file));
  layout.stages = 4;
  layout.virtual_stages = 2;
  layout.rank_of_stage = placement;
  LocalPipeline one = pipeline_of(model, layout_with(1, tied));
  LocalPipeline folded = pipeline_of(model, layout);
  check_same_bits(train(folded), train(one));
}

TEST_CASE("model worker: training lowers the loss", "[actors][worker]") {
  LocalPipeline pipeline = pipeline_of(three_blocks(true), layout_with(2, true));
  const auto batch = step_batch(2, 1);
  const double first = pipeline.train(batch, 1e-2);
  double last = first;
  for (int i = 0; i < 20; ++i) last = pipeline.train(batch, 1e-2);
  CHECK(last < 0.7 * first);
}

TEST_CASE("model worker: the head's copy of a tied matrix follows the embedding", "[actors][worker]") {
  const ModelConfig model = three_blocks(true);
  LocalPipeline one = pipeline_of(model, layout_with(1, true));
  const auto batch = step_batch(2, 1), unseen = step_batch(2, 9);
  one.train(batch, 1e-2);
  const double expected = one.evaluate(unseen);

  LocalPipeline two = pipeline_of(model, layout_with(2, true));
  two.train(batch, 1e-2);
  CHECK(two.evaluate(unseen) == expected);

  // The same without the weight's way back: the test would see it.
  LocalPipeline stale = pipeline_of(model, layout_with(2, true));
  Program program = stale.program_of(training_program, batch);
  program.step = program.update = 1;
  TaskLists lists = *program.lists;
  REQUIRE(lists[0].back().kind == TaskKind::send_tied_weight);
  lists[0].pop_back();
  lists[1].pop_back();
  program.lists = std::make_shared<const TaskLists>(lists);
  program.lr_factor = 1e-2;
  stale.run(program);
  CHECK(stale.evaluate(unseen) != expected);
}

TEST_CASE("model worker: more activations than the schedule allows are an error", "[actors][worker]") {
  const Layout layout = layout_with(2, false, "gpipe");
  LocalPipeline pipeline = pipeline_of(three_blocks(false), layout);
  Program program = pipeline.program_of(training_program, step_batch(3, 1));
  program.step = program.update = 1;
  REQUIRE(program.activation_limits == std::vector<int>{3, 3});
  program.activation_limits = {2, 3};
  CHECK_THAT(assertion_of([&] { pipeline.run(program); }),
             contains("stage 0 holds the activations of 3 micro-batches, the schedule allows 2"));
}

TEST_CASE("model worker: peak activations are the schedule's", "[actors][worker]") {
  const auto [schedule, expected] = GENERATE(std::pair<std::string, std::vector<int>>("1f1b", {2, 1}),
                                             std::pair<std::string, std::vector<int>>("gpipe", {5, 5}));
  LocalPipeline pipeline = pipeline_of(three_blocks(false), layout_with(2, false, schedule));
  pipeline.train(step_batch(5, 1), 1e-2);
  for (int rank = 0; rank < 2; ++rank)
    CHECK(pipeline.worker(rank).summary().peak_activations ==
          std::vector<int>{expected[static_cast<size_t>(rank)]});
}

TEST_CASE("model worker: after a step, an evaluation or a snapshot nothing more is held than before",
          "[actors][worker]") {
  const bool tied = GENERATE(false, true);
  const int ranks = GENERATE(1, 2, 3);
  CAPTURE(tied, ranks);
  LocalPipeline pipeline = pipeline_of(three_blocks(tied), layout_with(ranks, tied));
  const auto held = [&] {
    std::vector<size_t> bytes;
    for (int rank = 0; rank < ranks; ++rank)
      bytes.push_back(pipeline.worker(rank).summary().current_total_bytes);
    return bytes;
  };
  const auto before = held();
  for (int step = 1; step <= 3; ++step) {
    pipeline.train(step_batch(4, step), 1e-2);
    CHECK(held() == before);
  }
  pipeline.evaluate(step_batch(4, 9));
  CHECK(held() == before);
  {
    const auto slices = pipeline.snapshot();
    CHECK(held() > before);  // copies, as long as the writer has them
  }
  CHECK(held() == before);
}

TEST_CASE("model worker: what it holds is weights, gradients and optimizer states", "[actors][worker]") {
  const ModelConfig model = three_blocks(false);
  LocalPipeline pipeline = pipeline_of(model, layout_with(1, false));
  pipeline.train(step_batch(2, 1), 1e-2);
  const RankSummary summary = pipeline.worker(0).summary();
  const auto parameters = static_cast<size_t>(parameter_count(model));
  CHECK(summary.weight_elements == static_cast<int64_t>(parameters));
  const auto peak = [&](Category category) { return summary.peak_bytes[static_cast<size_t>(category)]; };
  CHECK(peak(Category::weights) == 4 * parameters);
  CHECK(peak(Category::gradients) == 4 * parameters);
  CHECK(peak(Category::optimizer) == 8 * parameters);
  CHECK(peak(Category::activations) > 0);
  CHECK(summary.peak_total_bytes >= summary.current_total_bytes);
}

TEST_CASE("model worker: a snapshot is a copy of weights and states, later steps leave it alone",
          "[actors][worker]") {
  const ModelConfig model = three_blocks(true);
  LocalPipeline pipeline = pipeline_of(model, layout_with(2, true));
  const auto initial = pipeline.snapshot();
  // Every parameter of the model once, with its weight and two states.
  const auto parameters = model_parameters(model);
  std::map<std::string, const CheckpointSlice*> weights;
  for (const auto& slice : initial)
    if (slice.state == "weight") weights[slice.name] = &slice;
  CHECK(initial.size() == 3 * parameters.size());
  auto operations = make_cpu_operations(1, std::make_shared<MemoryAccount>());
  for (const auto& parameter : parameters) {
    INFO(parameter.name);
    REQUIRE(weights.count(parameter.name) == 1);
    const CheckpointSlice& slice = *weights.at(parameter.name);
    CHECK((slice.global_shape == parameter.shape));
    CHECK((slice.data.shape() == parameter.shape));
    CHECK(slice.offsets == std::vector<int64_t>(static_cast<size_t>(parameter.shape.rank()), 0));
    Tensor expected = operations->empty(parameter.shape, Category::workspace);
    initialise(parameter, 42, *operations, expected);
    CHECK(floats_of(slice.data) == floats_of(expected));
  }
  for (const auto& slice : initial)
    if (slice.state != "weight")
      CHECK(floats_of(slice.data) == std::vector<float>(floats_of(slice.data).size(), 0));

  const auto kept = bits_of(initial);
  pipeline.train(step_batch(2, 1), 1e-2);
  CHECK((bits_of(initial) == kept));
  CHECK((bits_of(pipeline.snapshot()) != kept));
}

TEST_CASE("model worker: all ranks agree on one loss and one norm, whatever the layout", "[actors][worker]") {
  const bool tied = GENERATE(false, true);
  const ModelConfig model = three_blocks(tied);
  const auto agreed = [&](int ranks) {
    LocalPipeline pipeline = pipeline_of(model, layout_with(ranks, tied));
    const double loss = pipeline.train(step_batch(4, 1), 1e-2);
    return std::pair(loss, pipeline.norm());
  };
  const auto one = agreed(1);
  CHECK(one.second > clip_grad_norm);  // so that the other cases clip
  CHECK(agreed(2) == one);
  CHECK(agreed(3) == one);
}

TEST_CASE("model worker: gradients are clamped when they are whole, before their norm is taken",
          "[actors][worker][clip]") {
  const bool tied = GENERATE(false, true);
  const int ranks = GENERATE(1, 2, 3);
  CAPTURE(tied, ranks);
  constexpr float most = 0.003F;
  const ModelConfig model = three_blocks(tied);
  // The first step's momentum is the gradient.
  const auto step = [&](double clip_grad_value) {
    ModelWorkerSettings settings = settings_of(model, ranks);
    settings.optimizer.name = "sgd";
    settings.optimizer.options = {{"lr", 1.0}, {"momentum", 0.5}};
    settings.clip_grad_norm = 0;
    settings.clip_grad_value = clip_grad_value;
    LocalPipeline pipeline(layout_with(ranks, tied), settings);
    pipeline.train(step_batch(4, 1), 1e-2);
    std::map<std::string, std::vector<float>> gradients;
    for (const auto& slice : pipeline.snapshot())
      if (slice.state == "momentum_buffer") gradients[slice.name] = floats_of(slice.data);
    return std::pair(pipeline.norm(), gradients);
  };
  auto [norm, expected] = step(0);
  const auto [clamped_norm, found] = step(most);
  double squares = 0;
  size_t clamped = 0, elements = 0;
  for (auto& [name, values] : expected)
    for (float& value : values) {
      clamped += std::abs(value) > most;
      ++elements;
      value = std::clamp(value, -most, most);
      squares += static_cast<double>(value) * static_cast<double>(value);
    }
  CHECK((clamped > elements / 20 && clamped < elements));
  CHECK((found == expected));
  CHECK(clamped_norm == Approx(std::sqrt(squares)).epsilon(1e-12));
  CHECK(clamped_norm < norm);
}

TEST_CASE("model worker: clipping by value keeps a gradient that is no number, which changes nothing",
          "[actors][worker][clip]") {
  const bool clips = GENERATE(false, true);
  const int ranks = GENERATE(1, 2);
  CAPTURE(clips, ranks);
  const auto norm_with = [&](double gradient, bool changes) {
    step_hooks().add("spoiling", [=] { return std::make_unique<SpoilingHook>(gradient); });
    ModelWorkerSettings settings = settings_of(three_blocks(true), ranks);
    settings.hooks = {"spoiling"};
    settings.clip_grad_value = clips ? 0.003 : 0;
    LocalPipeline pipeline(layout_with(ranks, true), settings);
    const auto before = bits_of(pipeline.snapshot());
    pipeline.train(step_batch(2, 1), 1e-2);
    CHECK((bits_of(pipeline.snapshot()) != before) == changes);
    return pipeline.norm();
  };
  CHECK(std::isnan(norm_with(NAN, false)));
  CHECK(std::isfinite(norm_with(INFINITY, clips)) == clips);  // as in PyTorch, it becomes the value
}

TEST_CASE("model worker: the norm alone is the next step's, and changes nothing", "[actors][worker]") {
  const bool tied = GENERATE(false, true);
  const int ranks = GENERATE(1, 2, 3);
  CAPTURE(tied, ranks);
  LocalPipeline plain = pipeline_of(three_blocks(tied), layout_with(ranks, tied));
  LocalPipeline asked = pipeline_of(three_blocks(tied), layout_with(ranks, tied));
  const auto held = [&] { return asked.worker(0).summary().current_total_bytes; };
  const size_t before = held();
  for (int step = 1; step <= 2; ++step) {
    const auto batch = step_batch(4, step);
    const auto state = bits_of(asked.snapshot());
    const double loss = asked.compute_norm(batch), norm = asked.norm();
    CHECK(held() == before);
    CHECK((bits_of(asked.snapshot()) == state));
    CHECK(asked.train(batch, 1e-2) == loss);
    CHECK(asked.norm() == norm);
    CHECK(plain.train(batch, 1e-2) == loss);
    CHECK(plain.norm() == norm);
  }
  CHECK((bits_of(asked.snapshot()) == bits_of(plain.snapshot())));
}

TEST_CASE("model worker: hooks are called at their places, and swap weights for an evaluation alone",
          "[actors][worker]") {
  const bool tied = GENERATE(false, true);
  const int ranks = GENERATE(1, 2);
  CAPTURE(tied, ranks);
  ModelWorkerSettings settings = settings_of(three_blocks(tied), ranks);
  settings.hooks = hooks_of_tests();
  LocalPipeline plain = pipeline_of(three_blocks(tied), layout_with(ranks, tied));
  LocalPipeline hooked(layout_with(ranks, tied), settings);
  hook_counts.steps = hook_counts.norms = hook_counts.updates = hook_counts.evaluations = 0;
  hook_counts.ended_evaluations = 0;
  for (int step = 1; step <= 2; ++step) {
    CHECK(hooked.evaluate(step_batch(2, 9)) != plain.evaluate(step_batch(2, 9)));
    CHECK(hooked.train(step_batch(2, step), 1e-2) == plain.train(step_batch(2, step), 1e-2));
    CHECK(hooked.compute_norm(step_batch(2, 8)) == plain.compute_norm(step_batch(2, 8)));
  }
  CHECK((bits_of(hooked.snapshot()) == bits_of(plain.snapshot())));
  CHECK(hook_counts.steps == 2 * ranks);
  CHECK(hook_counts.norms == 4 * ranks);
  CHECK(hook_counts.updates == 2 * ranks);
  CHECK(hook_counts.evaluations == 2 * ranks);
  CHECK(hook_counts.ended_evaluations == 2 * ranks);
}

TEST_CASE("model worker: a hook that nobody registered is refused", "[actors][worker]") {
  ModelWorkerSettings settings = settings_of(three_blocks(false), 1);
  settings.hooks = {"nobody"};
  CHECK_THROWS_AS(ModelWorker(settings), UserError);
}

TEST_CASE("model worker: a checkpoint in memory, cut by one layout, is loaded by another",
          "[actors][worker]") {
  const bool tied = GENERATE(false, true);
  const int writers = GENERATE(1, 2), readers = GENERATE(1, 3);
  CAPTURE(tied, writers, readers);
  LocalPipeline whole = pipeline_of(three_blocks(tied), layout_with(writers, tied));
  for (int step = 1; step <= 2; ++step) whole.train(step_batch(2, step), 1e-2);
  MemorySink sink;
  // In two shards: the ranks' slices one by one, in turn.
  std::vector<std::vector<CheckpointSlice>> parts(2);
  const auto slices = whole.snapshot();
  for (size_t i = 0; i < slices.size(); ++i) parts[i % 2].push_back(slices[i]);
  CHECK(write_checkpoint(sink, 2, {{"position", 8}}, parts) == "memory");
  CHECK(sink.nothing_begun());
  const Checkpoint checkpoint(sink.sealed.at(2));
  CHECK(checkpoint.step() == 2);
  CHECK(checkpoint.path() == "memory");
  CHECK(checkpoint.metadata().at("position") == 8);

  ModelWorkerSettings settings = settings_of(three_blocks(tied), readers);
  settings.seed = 7;  // nothing of it is left
  settings.checkpoint = &checkpoint;
  LocalPipeline resumed(layout_with(readers, tied), settings);
  CHECK((bits_of(resumed.snapshot()) == bits_of(slices)));
  Program step = resumed.program_of(training_program, step_batch(2, 3));
  step.step = step.update = 3;
  step.lr_factor = 1e-2;
  const double loss = resumed.run(step);
  CHECK(loss == whole.train(step_batch(2, 3), 1e-2));
  CHECK((bits_of(resumed.snapshot()) == bits_of(whole.snapshot())));
}

TEST_CASE("checkpoints: one that cannot be written is abandoned", "[actors][worker]") {
  struct FullSink final : CheckpointSink {
    MemorySink inner;
    std::string begin(int64_t step) override { return inner.begin(step); }
    nlohmann::json write_shard(const std::string&, int, const std::vector<CheckpointSlice>&) override {
      throw RunError("no room");
    }
    std::string seal(int64_t, const nlohmann::json&, const std::vector<nlohmann::json>&) override {
      return "";
    }
    void abandon(int64_t step) noexcept override { inner.abandon(step); }
  } sink;
  CHECK_THROWS_AS(write_checkpoint(sink, 1, {}, {{}}), RunError);
  CHECK(sink.inner.nothing_begun());
  CHECK(sink.inner.sealed.empty());
}

// What is drawn for the texts, together or one after the other; with another requester's text in between.
std::vector<std::vector<int32_t>> generate(LocalPipeline& pipeline, const std::vector<Prompt>& prompts) {
  std::vector<std::vector<int32_t>> texts(prompts.size());
  Asker asker({1, 1}, "speaker");
  GeneratorCore core(prompts, {}, 64);
  const auto run = [&](ProgramRequest request) {
    Program program = pipeline.program_of(generation_program, request.batch);
    program.request = request.request;
    program.decoding = std::move(request.decoding);
    pipeline.run(std::move(program));
    return pipeline.reply();
  };
  Asker other({1, 1}, "other");
  GeneratorCore interruption({{{1, 2, 3}, 5, {}}}, {}, 64);
  const auto interrupt = [&] {
    const ProgramReply reply = run(interruption.next(other));
    REQUIRE(other.accept(reply));
    interruption.add(reply);
  };
  interrupt();
  while (!core.finished()) {
    const ProgramReply reply = run(core.next(asker));
    REQUIRE(asker.accept(reply));
    for (const auto& [prompt, token] : core.add(reply)) texts[prompt].push_back(token);
    if (!interruption.finished()) interrupt();
  }
  for (const char* name : {"speaker", "other"}) {
    Program release = pipeline.program_of(release_program, nullptr);
    release.request.requester = name;
    pipeline.run(std::move(release));
  }
  return texts;
}

TEST_CASE("model worker: texts are the same together and alone, and leave nothing behind",
          "[actors][worker]") {
  const int ranks = GENERATE(1, 2);
  CAPTURE(ranks);
  LocalPipeline pipeline = pipeline_of(three_blocks(true), layout_with(ranks, true));
  const size_t held = pipeline.worker(0).summary().current_total_bytes;
  Sampling warm;
  warm.temperature = 1.5;
  warm.seed = 9;
  Sampling warmer = warm;
  warmer.temperature = 3;
  warmer.seed = 10;
  const std::vector<Prompt> prompts = {
      {{5, 9, 2, 7}, 8, {}}, {{3}, 2, warm}, {{8, 8, 1}, 12, warmer}, {{5, 9, 2, 7}, 5, warmer}};
  const auto together = generate(pipeline, prompts);
  CHECK(pipeline.worker(0).summary().current_total_bytes == held);
  for (size_t i = 0; i < prompts.size(); ++i) {
    CAPTURE(i);
    CHECK(together[i].size() == static_cast<size_t>(prompts[i].max_new_tokens));
    CHECK(generate(pipeline, {prompts[i]}).front() == together[i]);
  }
  CHECK(together[0] != together[3]);
}

TEST_CASE("model worker: texts, evaluations and a checkpoint that is read for them are of the averages",
          "[actors][worker][schedule_free]") {
  const int ranks = GENERATE(1, 2, 3);
  CAPTURE(ranks);
  ModelWorkerSettings settings = settings_of(three_blocks(true), ranks);
  settings.optimizer.name = "adamw_schedule_free";
  Layout layout = layout_with(ranks, true);
  layout.tied_average = true;
  LocalPipeline trained(layout, settings);
  for (int step = 0; step < 6; ++step) trained.train(step_batch(2, step), 5e-2);

  nlohmann::json averages = nlohmann::json::object();
  const std::vector<CheckpointSlice> slices = trained.snapshot();
  for (const CheckpointSlice& slice : slices)  // beta1 is 0.9
    averages[slice.name] = {{"state", "z"}, {"of_weight", 1 / 0.9}, {"of_state", 1 - 1 / 0.9}};
  // From the same slices, what is evaluated or what is trained.
  const auto restored = [&](const nlohmann::json& metadata) {
    MemorySink sink;
    write_checkpoint(sink, 6, metadata, {slices});
    const Checkpoint checkpoint(sink.sealed.at(6));
    ModelWorkerSettings alone = settings_of(three_blocks(true), 1);
    alone.training = false;
    alone.checkpoint = &checkpoint;
    return LocalPipeline(layout_with(1, true), alone);
  };
  LocalPipeline averaged = restored({{"averages", averages}}), plain = restored(nlohmann::json::object());
  const auto batch = step_batch(2, 0);
  const double loss = trained.evaluate(batch);
  CHECK(averaged.evaluate(batch) == loss);
  CHECK(plain.evaluate(batch) != loss);
  Sampling warm;
  warm.temperature = 2;
  warm.seed = 9;
  const std::vector<Prompt> prompts = {{{5, 9, 2, 7}, 40, warm}, {{3}, 40, warm}, {{8, 8, 1}, 40, warm}};
  const auto texts = generate(trained, prompts);
  CHECK(generate(averaged, prompts) == texts);
  CHECK(generate(plain, prompts) != texts);
}

TEST_CASE("model worker: the losses of documents are those of each alone, and add up", "[actors][worker]") {
  const int ranks = GENERATE(1, 2);
  CAPTURE(ranks);
  LocalPipeline pipeline = pipeline_of(three_blocks(true), layout_with(ranks, true));
  const auto batch_of = [](const std::vector<MicroBatch>& micro_batches) {
    auto batch = std::make_shared<StepBatch>();
    batch->micro_batches = micro_batches;
    return batch;
  };
  const MicroBatch first = make_batch({5, 3, 7}, 11, "first"), second = make_batch({4, 60}, 11, "second");
  std::vector<MicroBatch> both{first, second};
  for (int64_t& number : both[1].first_tokens) number += 500;
  const double whole = pipeline.evaluate(batch_of(both));
  Program program = pipeline.program_of(evaluation_program, batch_of(both));
  program.per_document = true;
  CHECK(pipeline.run(program) == Approx(whole).epsilon(1e-9));
  const ProgramReply reply = pipeline.reply();
  const auto &numbers = values_of(reply, documents_name), &sums = values_of(reply, document_loss_sums_name),
             &targets = values_of(reply, document_targets_name);
  REQUIRE(numbers.size() == 5);
  REQUIRE(sums.size() == 5);
  REQUIRE(targets.size() == 5);
  size_t at = 0;
  for (const MicroBatch& batch : both)
    for (size_t i = 0; i + 1 < batch.document_starts.size(); ++i, ++at) {
      CAPTURE(at);
      const auto begin = batch.document_starts[i], end = batch.document_starts[i + 1];
      MicroBatch alone;
      alone.tokens.assign(batch.tokens.begin() + begin, batch.tokens.begin() + end);
      alone.labels.assign(batch.labels.begin() + begin, batch.labels.begin() + end);
      alone.positions.assign(batch.positions.begin() + begin, batch.positions.begin() + end);
      alone.document_starts = {0, end - begin};
      CHECK(numbers[at] == static_cast<double>(batch.first_tokens[i]));
      CHECK(targets[at] == static_cast<double>(std::count_if(alone.labels.begin(), alone.labels.end(),
                                                             [](int32_t label) { return label >= 0; })));
      CHECK(static_cast<double>(sums[at]) == Approx(pipeline.evaluate(batch_of({alone}))).epsilon(1e-5));
    }
  const auto held = pipeline.worker(0).summary().current_total_bytes;
  pipeline.run(program);
  CHECK(pipeline.worker(0).summary().current_total_bytes == held);
}

TEST_CASE("model worker: where a step's loss is not finite nothing changes", "[actors][worker]") {
  const int ranks = GENERATE(1, 2);
  CAPTURE(ranks);
  ModelWorkerSettings settings = settings_of(three_blocks(true), ranks);
  settings.loss = infinite_loss();
  LocalPipeline pipeline(layout_with(ranks, true), settings);
  const auto before = bits_of(pipeline.snapshot());
  CHECK(std::isinf(pipeline.train(step_batch(2, 1), 1e-2)));
  CHECK((bits_of(pipeline.snapshot()) == before));
}

namespace {

ModelWorkerSettings fused_settings(const ModelConfig& model, int ranks, const std::string& rule) {
  ModelWorkerSettings settings = settings_of(model, ranks);
  settings.optimizer.name = rule;
  settings.optimizer.fused_update = true;
  settings.bucket_elements = 1;  // a bucket a block
  return settings;
}

size_t peak_gradients(LocalPipeline& pipeline) {
  return pipeline.worker(0).summary().peak_bytes[static_cast<size_t>(Category::gradients)];
}

}  // namespace

TEST_CASE("model worker: an update inside backward with a loss that is not finite changes no weight",
          "[actors][worker][fused]") {
  const int ranks = GENERATE(1, 2, 3);
  const std::string rule = GENERATE("lomo", "adalomo");
  const bool tied = GENERATE(false, true);
  CAPTURE(ranks, rule, tied);
  ModelWorkerSettings settings = fused_settings(three_blocks(tied), ranks, rule);
  settings.loss = infinite_loss();
  LocalPipeline pipeline(layout_with(ranks, tied), settings);
  const auto before = bits_of(pipeline.snapshot());
  CHECK(std::isinf(pipeline.train_fused(step_batch(2, 1), 1e-2)));
  CHECK((bits_of(pipeline.snapshot()) == before));
}

TEST_CASE("model worker: an update inside backward is the one after it, by the same norm",
          "[actors][worker][fused]") {
  const int ranks = GENERATE(1, 2, 3);
  const std::string rule = GENERATE("lomo", "adalomo");
  const bool tied = GENERATE(false, true);
  CAPTURE(ranks, rule, tied);
  LocalPipeline fused(layout_with(ranks, tied), fused_settings(three_blocks(tied), ranks, rule));
  LocalPipeline after(layout_with(ranks, tied), fused_settings(three_blocks(tied), ranks, rule));
  for (int step = 1; step <= 3; ++step) {
    const auto batch = step_batch(step, step);
    const auto before = bits_of(fused.snapshot());
    fused.run(fused.program_of(clip_program, batch));
    const double norm = fused.norm();
    CHECK((bits_of(fused.snapshot()) == before));
    CHECK(fused.train_fused(batch, 1e-2, norm) == after.train(batch, 1e-2));
    CHECK(fused.norm() == norm);
    CHECK(after.norm() == norm);
    CHECK(norm > clip_grad_norm);
    CHECK((bits_of(fused.snapshot()) == bits_of(after.snapshot())));
  }
}

TEST_CASE("model worker: inside backward a layer's gradient is freed when it is used",
          "[actors][worker][fused]") {
  const ModelConfig model = three_blocks(false);
  LocalPipeline fused(layout_with(1, false), fused_settings(model, 1, "lomo"));
  fused.train_fused(step_batch(1, 1), 1e-2);
  const std::vector<Parameter> parameters = model_parameters(model);
  std::map<int, size_t> of_layer;  // the head's matrix has a bucket of its own
  for (const Parameter& parameter : parameters) {
    const auto bytes = static_cast<size_t>(parameter.shape.numel()) * sizeof(float);
    of_layer[parameter.name == "lm_head.weight" ? 100 : parameter.layer] += bytes;
  }
  size_t largest = 0, all = 0;
  for (const auto& [layer, bytes] : of_layer) {
    largest = std::max(largest, bytes);
    all += bytes;
  }
  CHECK(peak_gradients(fused) == largest);
  LocalPipeline after(layout_with(1, false), fused_settings(model, 1, "lomo"));
  after.train(step_batch(1, 1), 1e-2);
  CHECK(peak_gradients(after) == all);
}

TEST_CASE("model worker: begun programs may not inherit tensors", "[actors][worker]") {
  ModelWorker worker(settings_of(three_blocks(false), 2));
  Program program;
  program.batches = {step_batch(1, 1)};
  program.activation_limits = {1, 1};
  worker.begin(program);
  worker.compute({TaskKind::pipeline, {schedule::ActionKind::forward, 0, 0}});
  CHECK_THAT(assertion_of([&] { worker.begin(program); }), contains("with tensors of the one before"));
  CHECK_THAT(assertion_of([&] {
               worker.compute({TaskKind::pipeline, {schedule::ActionKind::forward, 1, 0}});
             }),
             contains("rank 0 does not hold stage 1"));
}

}  // namespace
}  // namespace collie::test
