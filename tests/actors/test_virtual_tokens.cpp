// Virtual tokens are trained in every layout as on one rank, and are refused where they cannot be.
#include <fmt/format.h>

#include "actors/cluster.hpp"
#include "io/weight_folder.hpp"
#include "models/pieces.hpp"
#include "peft/adapter_folder.hpp"
#include "peft/prompt_files.hpp"
#include "plan/memory_plan.hpp"
#include "plan/model_export.hpp"
#include "plan/report.hpp"
#include "tests/actors/adapter_runs.hpp"
#include "tests/actors/threaded_config.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"
#include "tests/models/support.hpp"

namespace collie::test {
namespace {

namespace fs = std::filesystem;

// Several documents a window, so that virtual tokens stand within them.
MathsOptions maths_of_prompt(const std::string& peft, const std::string& family = "llama",
                             const std::string& dtype = "float32") {
  MathsOptions maths = adapter_maths(peft, family, dtype);
  maths.masked = true;
  return maths;
}

std::vector<int32_t> generated(RunPlan plan) {
  ThreadedConfig config;
  caf::actor_system system(config);
  caf::scoped_actor self(system);
  spawn_run(system, std::move(plan), caf::actor_cast<caf::actor>(self));
  std::vector<int32_t> tokens;
  bool ended = false;
  while (!ended)
    self->receive([](const RunStarted&) {},
                  [&](const TokenGenerated& event) { tokens.push_back(event.token); },
                  [&](const RunEnded& end) {
                    if (end.exit_code != 0) throw RunError("{}", end.message);
                    ended = true;
                  });
  return tokens;
}

}  // namespace

TEST_CASE("virtual tokens: every layout trains as one rank does, and resumes in another",
          "[actors][prompt][slow]") {
  for (const MathsOptions& maths : {maths_of_prompt("prompt"), maths_of_prompt("prefix")})
    check_in_layouts(maths, layouts_of_adapters(), 3);
  for (const MathsOptions& maths : {maths_of_prompt("prompt", "gpt2"), maths_of_prompt("prefix", "gpt2"),
                                    maths_of_prompt("ptuning"), maths_of_prompt("ptuning_lstm")})
    check_in_layouts(maths, few_layouts_of_adapters(), 2);
}

TEST_CASE("virtual tokens: a projected prefix trains in every layout without a pipeline as on one rank",
          "[actors][prompt][slow]") {
  const std::vector<LayoutOptions> layouts = {{2, 1, 1, 1, "1f1b", 1},       {2, 1, 1, 1, "1f1b", 3},
                                              {1, 2, 1, 1, "1f1b", 0, true}, {1, 1, 1, 2, "1f1b", 0},
                                              {1, 4, 1, 1, "1f1b", 0},       {1, 2, 1, 2, "1f1b", 3, true}};
  for (const char* family : {"llama", "gpt2"})
    check_in_layouts(maths_of_prompt("prefix_mlp", family), layouts, 1);
}

TEST_CASE("virtual tokens: dropout has the same masks in every layout", "[actors][prompt][slow]") {
  for (const char* peft : {"prompt", "prefix"}) {
    MathsOptions maths = maths_of_prompt(peft, "gpt2");
    maths.dropout = true;
    const LayoutOutcome expected = run_layouts(maths, {{{}, 1}, {{}, 3}});
    for (const LayoutOptions& layout :
         {LayoutOptions{1, 1, 1, 2, "1f1b", 0}, LayoutOptions{1, 2, 2, 1, "1f1b", 0, true}}) {
      INFO(maths.name() << ", " << layout.name());
      CHECK(complaint_of(run_layouts(maths, {{layout, 1}, {layout, 3}}), expected, false,
                         maths.loss_tolerance(), maths.gradient_tolerance()) == "");
    }
  }
}

TEST_CASE("virtual tokens: bfloat16 gradients are as near to float32's in any layout as on one rank",
          "[actors][prompt][slow]") {
  const std::vector<LayoutOptions> layouts = {{1, 2, 1, 1, "1f1b", 0, true},
                                              {1, 1, 1, 2, "1f1b", 0},
                                              {1, 4, 1, 1, "1f1b", 0},
                                              {2, 2, 2, 1, "zbv", 1, true}};
  for (const char* peft : {"prompt", "prefix", "ptuning"})
    check_bfloat16_in_layouts(maths_of_prompt(peft), layouts);
}

TEST_CASE("virtual tokens: checkpoints and final/ hold them alone, and all commands use them",
          "[actors][prompt]") {
  const std::string peft =
      GENERATE(as<std::string>(), "prompt", "prefix", "ptuning", "ptuning_lstm", "prefix_mlp");
  const bool is_encoded = peft != "prompt" && peft != "prefix";
  const LayoutOptions layout = GENERATE_COPY(LayoutOptions{2, 1, 1, 1, "1f1b", 3},
                                             LayoutOptions{1, 2, peft == "prefix_mlp" ? 1 : 2, 1, "1f1b", 0});
  CAPTURE(peft, layout.name());
  const TemporaryFolder folder;
  write_texts(folder);
  const MathsOptions maths = maths_of_prompt(peft);
  write_base(folder, maths);
  const Config config = layout_config(folder, maths, layout, 3);
  LayoutOutcome outcome;
  run_to_the_end(plan_training(config, ExistingRun::refuse), outcome);
  const auto checkpoint = latest_checkpoint((folder / "run/checkpoints").string());
  REQUIRE(checkpoint);
  for (const CheckpointSource::Slice& slice : checkpoint->source()->slices())
    CHECK(slice.name.starts_with(is_encoded ? "prompt_encoder." : "prompt_embeddings"));
  const RunPlan plan = plan_training(config, ExistingRun::ignore);
  const std::string final_folder = (folder / "run/final").string();
  CHECK_NOTHROW(AdapterFolder(final_folder).check(plan.model));
  CHECK(plan_training(config, ExistingRun::resume).already_finished);

  // Going on from it in a new run begins where it ended, but where the folder lacks an encoder.
  Config next = config;
  next.run.dir = (folder / "next").string();
  next.peft = {};
  next.peft.path = final_folder;
  if (is_encoded) {
    CHECK_THAT(refusal_of(next), contains("has what the encoder of its virtual tokens gave"));
  } else {
    const RunPlan continued = plan_training(next, ExistingRun::refuse);
    CHECK(continued.model.prompt.tokens == plan.model.prompt.tokens);
    CHECK(continued.model.prompt.kind == plan.model.prompt.kind);
    LayoutOutcome more;
    run_to_the_end(continued, more);
    CHECK(std::abs(more.losses.front() - outcome.losses.front()) > 1e-5);
  }

  // The run, its folder as peft.path, and --adapter give the same evaluation and the same text, the base
  // another.
  Config base = config;
  base.run.dir.clear();
  base.peft = {};
  Config by_folder = base;
  by_folder.peft.path = final_folder;
  const std::vector<AdapterChoice> choice = parse_adapter_choices({final_folder});
  const auto evaluated = [&](Config of, std::vector<AdapterChoice> adapters = {}) {
    of.data.eval = of.data.train;
    const bool of_run = !of.run.dir.empty();
    return evaluated_loss(
        plan_evaluation(of, of_run ? CheckpointChoice() : CheckpointChoice::base(), std::move(adapters)));
  };
  const double expected = evaluated(config);
  CHECK(evaluated(by_folder) == Approx(expected).epsilon(1e-6));
  CHECK(evaluated(base, choice) == Approx(expected).epsilon(1e-6));
  CHECK(std::abs(evaluated(base) - expected) > 1e-3);
  const auto text = [&](Config of, const CheckpointChoice& from, std::vector<AdapterChoice> adapters = {}) {
    of.parallel.dp_size = 1;
    return generated(plan_generation(of, {"What is 3 times", 12, {}}, from, std::move(adapters)));
  };
  const std::vector<int32_t> of_run = text(config, CheckpointChoice::last());
  CHECK_FALSE(of_run.empty());
  CHECK(text(base, CheckpointChoice::base(), choice) == of_run);
  CHECK(text(base, CheckpointChoice::base()) != of_run);

  // They cannot be merged, added up or scaled.
  const auto refused = [](const auto& command) {
    try {
      command();
    } catch (const UserError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK_THAT(refused([&] {
               export_model(plan_export(base, CheckpointChoice::base(), choice), (folder / "merged").string(),
                            true);
             }),
             contains("--merge: the adapter is virtual tokens"));
  CHECK_THAT(refused([&] {
               plan_export(base, CheckpointChoice::base(), parse_adapter_choices({final_folder + "@0.5"}));
             }),
             contains("is more than low-rank adapters"));
  CHECK_THAT(refused([&] {
               plan_export(base, CheckpointChoice::base(),
                           parse_adapter_choices({"a=" + final_folder, "b=" + final_folder}));
             }),
             contains("is more than low-rank adapters"));
}

TEST_CASE("virtual tokens: the plan counts them", "[actors][prompt]") {
  const TemporaryFolder folder;
  write_texts(folder);
  write_base(folder, maths_of_prompt("prompt"));
  const RunPlan plain =
      plan_training(layout_config(folder, maths_of_prompt("none"), {}, 2), ExistingRun::ignore);
  for (const char* peft : {"prompt", "prefix", "ptuning", "ptuning_lstm", "prefix_mlp"}) {
    const RunPlan plan =
        plan_training(layout_config(folder, maths_of_prompt(peft), {}, 2), ExistingRun::ignore);
    int64_t trained = 0;
    for (const Parameter& parameter : model_parameters(plan.model))
      if (parameter.trainable) trained += parameter.shape.numel();
    CHECK((plan.model.prompt.has_encoder() || trained == prompt_in_file(plan.model).shape.numel()));
    const auto bytes_of = [&](Category category) {
      double bytes = 0;
      for (const PlannedRank& rank : predict_memory(plan))
        bytes += static_cast<double>(rank.peak_bytes[static_cast<size_t>(category)]);
      return bytes;
    };
    CHECK(bytes_of(Category::optimizer) == static_cast<double>(2 * 4 * trained));
    CHECK(bytes_of(Category::gradients) == static_cast<double>(4 * trained));
    const PlanReport report = make_plan_report(plan), of_plain = make_plan_report(plain);
    CHECK(report.tokens == of_plain.tokens);
    CHECK(report.trained_parameters == trained);
  }
}

TEST_CASE("virtual tokens: what cannot be is refused before the weights are read", "[actors][prompt]") {
  const TemporaryFolder folder;
  write_texts(folder);
  write_base(folder, maths_of_prompt("prompt"));
  const auto refusal = [&](const std::string& peft, const std::function<void(Config&)>& change) {
    Config config = layout_config(folder, maths_of_prompt(peft), {}, 2);
    change(config);
    return refusal_of(config);
  };
  for (const char* peft : {"prompt", "prefix", "ptuning", "ptuning_lstm", "prefix_mlp"}) {
    CHECK(refusal(peft, [](Config&) {}) == "");
    CHECK_THAT(refusal(peft, [](Config& c) { c.peft.num_virtual_tokens.reset(); }),
               contains("peft.num_virtual_tokens: missing"));
    CHECK_THAT(refusal(peft, [](Config& c) { c.peft.num_virtual_tokens = 0; }),
               contains("peft.num_virtual_tokens: found 0"));
    CHECK_THAT(refusal(peft, [](Config& c) { c.peft.num_virtual_tokens = 64; }),
               contains("64 virtual tokens leave no room in the model's 64 positions"));
    CHECK_THAT(refusal(peft, [](Config& c) { c.peft.num_virtual_tokens = 32; }),
               contains("32 virtual tokens before windows of 33 (data.sequence_length) leave no room in the "
                        "model's 64 positions (max_position_embeddings); at most 31 do"));
    CHECK(refusal(peft, [](Config& c) { c.peft.num_virtual_tokens = 31; }) == "");
    CHECK_THAT(refusal(peft, [](Config& c) { c.peft.r = 4; }), contains("peft.r: given, but peft.type is "));
    CHECK_THAT(refusal(peft, [](Config& c) { c.peft.modules_to_save = {"lm_head"}; }),
               contains("peft.modules_to_save: given, but peft.type is "));
    CHECK_THAT(refusal(peft, [](Config& c) { c.model.frozen = {"*norm*"}; }),
               contains("model.frozen: given beside"));
    CHECK_THAT(refusal(peft, [](Config& c) { c.model.from_scratch = true; }),
               contains("adapters need the weights"));
  }
  CHECK_THAT(refusal("prefix", [](Config& c) { c.peft.encoder_hidden_size = 8; }),
             contains("peft.encoder_hidden_size: given, but peft.prefix_projection: true is wanted with it"));
  CHECK_THAT(refusal("ptuning", [](Config& c) { c.peft.encoder_num_layers = 3; }),
             contains("peft.encoder_num_layers: given, but peft.encoder_reparameterization_type: LSTM"));
  CHECK_THAT(refusal("ptuning", [](Config& c) { c.peft.encoder_dropout = 0.1; }),
             contains("peft.encoder_dropout: given, but peft.encoder_reparameterization_type: LSTM"));
  CHECK_THAT(refusal("ptuning_lstm", [](Config& c) { c.peft.encoder_num_layers = 1; }),
             contains("peft.encoder_dropout: found 0.2, but an LSTM of one layer"));
  CHECK_THAT(refusal("prefix_mlp", [](Config& c) { c.parallel.pp_size = 2; }),
             contains("peft.prefix_projection: 2 stages"));
  CHECK_THAT(refusal("prefix", [](Config& c) { c.peft.prompt_tuning_init = "SAMPLE_VOCAB"; }),
             contains("peft.prompt_tuning_init: given, but peft.type is prefix_tuning"));
  CHECK_THAT(refusal("ptuning_lstm", [](Config& c) { c.peft.prefix_projection = true; }),
             contains("peft.prefix_projection: given, but peft.type is p_tuning"));
  CHECK_THAT(refusal("lora", [](Config& c) { c.peft.num_virtual_tokens = 4; }),
             contains("peft.num_virtual_tokens: given, but peft.type is lora"));
  CHECK_THAT(refusal("prompt", [](Config& c) { c.peft.type = "none"; }),
             contains("peft.num_virtual_tokens: given, but peft.type is none"));
  CHECK_THAT(refusal("prompt", [](Config& c) { c.peft.prompt_tuning_init = "TEXT"; }),
             contains("peft.prompt_tuning_init_text: missing"));
  CHECK_THAT(refusal("prompt", [](Config& c) { c.peft.prompt_tuning_init_text = "dog"; }),
             contains("peft.prompt_tuning_init_text: given, but peft.prompt_tuning_init is RANDOM"));
  CHECK_THAT(refusal("prompt", [](Config& c) { c.peft.prompt_tuning_init = "random"; }),
             contains("peft.prompt_tuning_init: found"));
}

}  // namespace collie::test
