// The averaged weights of schedule-free AdamW, and those of the callback ema, wherever a user meets them: in
// a run's evaluations, in `eval` of its checkpoint, and in final/. What is stored in bfloat16, and resumed.

#include "actors/cluster.hpp"
#include "io/files.hpp"
#include "io/safetensors.hpp"
#include "io/sealed_json.hpp"
#include "tests/actors/layout_runs.hpp"
#include "tests/actors/threaded_config.hpp"
#include "tests/catch.hpp"
#include "tests/models/golden.hpp"
#include "tests/models/messages.hpp"

namespace collie::test {
namespace {

MathsOptions of_schedule_free(const std::string& dtype = "float32", bool master = true) {
  MathsOptions maths;
  maths.optimizer = "adamw_schedule_free";
  maths.sequences_per_step = 4;
  maths.dtype = dtype;
  maths.master = master;
  if (!master) maths.rounding = "stochastic";
  return maths;
}

MathsOptions with_ema(const std::string& optimizer, const std::string& dtype = "float32",
                      bool master = true) {
  MathsOptions maths = of_schedule_free(dtype, master);
  maths.optimizer = optimizer + " averaged";
  return maths;
}

const LayoutOptions on_one_rank;

// The evaluations of a run, or of an evaluation alone.
std::vector<double> evaluations_of(RunPlan plan) {
  ThreadedConfig config;
  caf::actor_system system(config);
  caf::scoped_actor self(system);
  spawn_run(system, std::move(plan), caf::actor_cast<caf::actor>(self));
  std::vector<double> losses;
  bool ended = false;
  while (!ended)
    self->receive([](const RunStarted&) {}, [](const StepFinished&) {},
                  [&](const EvaluationFinished& evaluation) { losses.push_back(evaluation.loss); },
                  [](const CheckpointSaved&) {},
                  [&](const RunEnded& end) {
                    if (end.exit_code != 0) throw RunError("{}", end.message);
                    ended = true;
                  },
                  caf::after(std::chrono::seconds(120)) >> [] { throw RunError("the run says nothing"); });
  return losses;
}

Config evaluated(const TemporaryFolder& folder, const MathsOptions& maths, const LayoutOptions& layout,
                 int64_t steps) {
  Config config = layout_config(folder, maths, layout, steps);
  config.data.eval = config.data.train;
  config.data.eval[0].path = (folder / "eval.txt").string();
  config.eval.every_n_steps = 1;
  return config;
}

}  // namespace

TEST_CASE("a run, eval of its checkpoint, and final/ have the same averaged weights",
          "[actors][schedule_free][slow]") {
  const MathsOptions maths =
      GENERATE(of_schedule_free(), of_schedule_free("bfloat16"), of_schedule_free("bfloat16", false),
               with_ema("muon"), with_ema("adamw", "bfloat16"), with_ema("lion", "bfloat16", false));
  const LayoutOptions layout =
      GENERATE(LayoutOptions{}, LayoutOptions{1, 1, 2, 1, "1f1b"}, LayoutOptions{2, 1, 2, 1, "zbv", 1},
               LayoutOptions{2, 2, 1, 1, "1f1b", 3});
  INFO(maths.name() << ", " << layout.name());
  const TemporaryFolder folder;
  write_texts(folder);
  const Config config = evaluated(folder, maths, layout, 3);
  const std::vector<double> during = evaluations_of(plan_training(config, ExistingRun::refuse));
  REQUIRE(during.size() == 3);
  // A layout that evaluates as the run did gives its bits.
  CHECK(evaluations_of(plan_evaluation(config)) == std::vector<double>{during.back()});
  Config of_final = config;
  of_final.model.from_scratch = false;
  of_final.model.config = nlohmann::json::object();
  of_final.model.path = (folder / "run" / "final").string();
  CHECK(evaluations_of(plan_evaluation(of_final, CheckpointChoice::base())) ==
        std::vector<double>{during.back()});

  // The trained weights are others: a checkpoint has them beside z.
  const auto checkpoint = latest_checkpoint((folder / "run" / "checkpoints").string());
  REQUIRE(checkpoint);
  const std::string name = "model.layers.0.mlp.up_proj.weight";
  const Shape shape = checkpoint->global_shape(name, "weight");
  const auto account = std::make_shared<MemoryAccount>();
  Tensor trained = Tensor::host(shape, DType::f32, account, Category::workspace),
         average = Tensor::host(shape, DType::f32, account, Category::workspace);
  checkpoint->read(name, "weight", shape, {0, 0}, trained);
  checkpoint->read_evaluated(name, shape, {0, 0}, average);
  CHECK_FALSE(
      std::equal(trained.data<float>(), trained.data<float>() + trained.numel(), average.data<float>()));
}

TEST_CASE("an evaluation after every step changes no bit of a run with averages, nor does a resume",
          "[actors][schedule_free][slow]") {
  const MathsOptions maths =
      GENERATE(of_schedule_free(), of_schedule_free("bfloat16", false), with_ema("adafactor"));
  INFO(maths.name());
  const auto losses = [&](int64_t every, const std::vector<int64_t>& until) {
    const TemporaryFolder folder;
    write_texts(folder);
    LayoutOutcome outcome;
    for (const int64_t steps : until) {
      Config config = evaluated(folder, maths, on_one_rank, steps);
      config.eval.every_n_steps = every;
      run_to_the_end(plan_training(std::move(config), ExistingRun::resume), outcome);
    }
    return outcome.losses;
  };
  const std::vector<double> expected = losses(0, {6});
  CHECK(losses(1, {6}) == expected);
  CHECK(losses(1, {2, 3, 6}) == expected);  // among them in the warm-up, when the shares change
}

TEST_CASE("moving averages change no bit of training, and are those of one rank in every layout",
          "[actors][averages][slow]") {
  const std::string optimizer = GENERATE("adamw", "lomo");
  const auto evaluations = [&](const LayoutOptions& layout) {
    const TemporaryFolder folder;
    write_texts(folder);
    return evaluations_of(
        plan_training(evaluated(folder, with_ema(optimizer), layout, 4), ExistingRun::refuse));
  };
  const std::vector<double> expected = evaluations(on_one_rank);
  for (const LayoutOptions& layout :
       {LayoutOptions{2, 2, 1, 1, "1f1b", 3, true}, LayoutOptions{1, 1, 2, 2, "zb_h1", 1},
        LayoutOptions{1, 1, 2, 1, "dualpipe_v"}}) {
    INFO(optimizer << ", " << layout.name());
    const std::vector<double> found = evaluations(layout);
    REQUIRE(found.size() == expected.size());
    for (size_t i = 0; i < found.size(); ++i) CHECK(found[i] == Approx(expected[i]).epsilon(1e-5));
    MathsOptions without = with_ema(optimizer);
    without.optimizer = optimizer;
    const auto in_halves = [&](const MathsOptions& maths) {
      return run_layouts(maths, {{layout, 1}, {layout, 2}, {layout, 4}});
    };
    CHECK(complaint_of(in_halves(with_ema(optimizer)), in_halves(without), true) == "");
  }
}

TEST_CASE("a resume with moving averages that the run has not, or with another decay, is refused",
          "[actors][averages]") {
  const TemporaryFolder folder;
  write_texts(folder);
  const Config with = layout_config(folder, with_ema("adamw"), on_one_rank, 1);
  LayoutOutcome outcome;
  run_to_the_end(plan_training(with, ExistingRun::refuse), outcome);
  Config longer = with;
  longer.train.steps = 2;
  CHECK_NOTHROW(plan_training(longer, ExistingRun::resume));
  longer.callbacks.front().options.set("decay", 0.7);
  check_says(message_of([&] { plan_training(longer, ExistingRun::resume); }),
             {"callbacks.ema.decay", "0.7", "0.6"});
  longer.callbacks.clear();
  check_says(message_of([&] { plan_training(longer, ExistingRun::resume); }), {"callbacks.ema.decay", "0.6"});
}

TEST_CASE("states in bfloat16 give the same bits in every pipeline and ZeRO stage, and after a resume",
          "[actors][state_dtype][slow]") {
  MathsOptions maths =
      GENERATE(MathsOptions{}, of_schedule_free("bfloat16"), of_schedule_free("bfloat16", false));
  maths.sequences_per_step = 4;
  maths.state_dtype = "bfloat16";
  maths.rounding = "stochastic";
  INFO(maths.name());
  const auto run_in = [&](const LayoutOptions& first, const LayoutOptions& then) {
    return run_layouts(maths, {{first, 1}, {first, 3}, {then, 4}});
  };
  const LayoutOutcome expected = run_layouts(maths, {{on_one_rank, 1}, {on_one_rank, 4}});
  CHECK(expected.losses.back() < expected.losses.front());
  CHECK(complaint_of(run_in({1, 1, 2, 1, "1f1b"}, {1, 1, 2, 1, "zbv"}), expected, true) == "");
  LayoutOptions replicas{2, 1, 1, 1, "1f1b"}, sharded = replicas;
  sharded.zero = 1;
  CHECK(complaint_of(run_in(sharded, replicas), run_in(replicas, sharded), true) == "");
  MathsOptions wide = maths;
  wide.state_dtype = "float32";
  wide.rounding = maths.master ? "nearest" : "stochastic";
  const LayoutOutcome of_wide = run_layouts(wide, {{on_one_rank, 1}, {on_one_rank, 4}});
  CHECK(loss_difference(expected, of_wide) < 2e-2);
  CHECK(loss_difference(expected, of_wide) > 0);
}

TEST_CASE("a resume with states of another dtype is refused by the key, or converts them where it is allowed",
          "[actors][state_dtype][slow]") {
  MathsOptions wide, narrow;
  wide.sequences_per_step = narrow.sequences_per_step = 4;
  narrow.state_dtype = "bfloat16";
  const auto run_across = [](const MathsOptions& first, const MathsOptions& then,
                             const std::vector<std::string>& allowed) {
    const TemporaryFolder folder;
    write_texts(folder);
    LayoutOutcome outcome;
    run_to_the_end(plan_training(layout_config(folder, first, on_one_rank, 1), ExistingRun::resume), outcome);
    run_to_the_end(plan_training(layout_config(folder, then, on_one_rank, 3), ExistingRun::resume, allowed),
                   outcome);
    return outcome;
  };
  check_says(message_of([&] { run_across(wide, narrow, {}); }),
             {"optimizer.state_dtype", "\"bfloat16\"", "\"float32\"", "--allow-change"});
  const LayoutOutcome expected = run_across(wide, wide, {});
  for (const LayoutOutcome& found : {run_across(wide, narrow, {"optimizer.state_dtype"}),
                                     run_across(narrow, wide, {"optimizer.state_dtype"})}) {
    REQUIRE(found.losses.size() == 3);
    CHECK(loss_difference(found, expected) < 2e-2);
  }
}

TEST_CASE("a checkpoint of a version without optimizer.state_dtype is resumed with float32",
          "[actors][state_dtype]") {
  MathsOptions maths;
  maths.sequences_per_step = 4;
  const TemporaryFolder folder;
  write_texts(folder);
  LayoutOutcome outcome;
  run_to_the_end(plan_training(layout_config(folder, maths, on_one_rank, 1), ExistingRun::resume), outcome);
  const std::string manifest = (folder / "run" / "checkpoints" / "step-00000001" / "manifest.json").string();
  nlohmann::json object = unseal(read_stream(manifest, size_t{1} << 24), manifest);
  CHECK(object.at("metadata").at("maths").at("optimizer").erase("state_dtype") == 1);
  object.erase("sha256");
  std::ofstream(manifest) << seal(object);
  CHECK_NOTHROW(plan_training(layout_config(folder, maths, on_one_rank, 2), ExistingRun::resume));
  maths.state_dtype = "bfloat16";
  check_says(
      message_of([&] { plan_training(layout_config(folder, maths, on_one_rank, 2), ExistingRun::resume); }),
      {"optimizer.state_dtype", "started with \"float32\""});
}

}  // namespace collie::test
