// Low-rank adapters are trained in every layout as on one rank, and cost what they should.
#include <fmt/format.h>

#include "io/weight_folder.hpp"
#include "models/pieces.hpp"
#include "peft/adapter_config.hpp"
#include "peft/adapter_folder.hpp"
#include "peft/model_of_config.hpp"
#include "plan/memory_plan.hpp"
#include "plan/model_export.hpp"
#include "tests/actors/adapter_runs.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"

namespace collie::test {
namespace {

namespace fs = std::filesystem;

double bytes_of(const RunPlan& plan, Category category) {
  double bytes = 0;
  for (const PlannedRank& rank : predict_memory(plan))
    bytes += static_cast<double>(rank.peak_bytes[static_cast<size_t>(category)]);
  return bytes;
}

}  // namespace

TEST_CASE("adapters: every layout trains as one rank does, and resumes in another",
          "[actors][adapters][slow]") {
  check_in_layouts(adapter_maths("lora_all"), layouts_of_adapters(), 3);
  for (const MathsOptions& maths : {adapter_maths("lora"), adapter_maths("lora_all", "gpt2")})
    check_in_layouts(maths, few_layouts_of_adapters(), 2);
}

TEST_CASE("adapters: magnitudes, vectors and starts from the matrices are those of one rank in every layout",
          "[actors][adapters][slow]") {
  using Case = std::pair<const char*, const char*>;
  for (const auto& [kind, family] : {Case{"dora_all", "llama"},
                                     {"dora_all", "gpt2"},
                                     {"ia3", "gpt2"},
                                     {"pissa", "gpt2"},
                                     {"olora", "llama"},
                                     {"seq_bn", "llama"},
                                     {"double_seq_bn", "gpt2"},
                                     {"par_bn", "llama"}})
    check_in_layouts(adapter_maths(kind, family), few_layouts_of_adapters(), 2);
}

TEST_CASE("adapters: those of fused matrices, whose key heads ranks may share, are those of one rank",
          "[actors][adapters][packed][slow]") {
  const std::vector<LayoutOptions> layouts = {{1, 4, 1, 1, "1f1b", 0},
                                              {2, 2, 2, 1, "zbv", 1, true},
                                              {1, 4, 1, 2, "1f1b", 3, true},
                                              {1, 2, 2, 1, "zb_h1", 0}};
  using Case = std::pair<const char*, const char*>;
  for (const auto& [kind, family] : {Case{"lora_all", "phi3"},
                                     {"lora_all", "internlm2"},
                                     {"dora_all", "phi3"},
                                     {"pissa", "internlm2"},
                                     {"adalora_all", "phi3"}})
    check_in_layouts(adapter_maths(kind, family), layouts, 1);
}

TEST_CASE("adapters: what a run took out of the matrices is in its folder, and its adapter is of the base",
          "[actors][adapters]") {
  const std::string kind = GENERATE("pissa", "olora", "dora_all", "adalora_all", "ia3", "seq_bn");
  CAPTURE(kind);
  const TemporaryFolder folder;
  write_texts(folder);
  const MathsOptions maths = adapter_maths(kind);
  write_base(folder, maths);
  const Config config = layout_config(folder, maths, {1, 2, 1, 1, "1f1b", 0}, 3);
  LayoutOutcome outcome;
  run_to_the_end(plan_training(config, ExistingRun::refuse), outcome);
  const std::string final_folder = (folder / "run/final").string();
  const auto loss_of = [&](Config of) {
    of.data.eval = of.data.train;
    const bool of_run = !of.run.dir.empty();
    return evaluated_loss(plan_evaluation(of, of_run ? CheckpointChoice() : CheckpointChoice::base()));
  };
  const double expected = loss_of(config);
  Config by_folder = config;
  by_folder.run.dir.clear();
  by_folder.peft = {};
  by_folder.peft.path = final_folder;
  CHECK(loss_of(by_folder) == Approx(expected).epsilon(1e-5));
  const RunPlan exported = plan_export(config, CheckpointChoice::last());
  if (kind == "seq_bn") {
    CHECK_THROWS_WITH(export_model(exported, (folder / "merged").string(), true), contains("--merge: these"));
  } else {
    export_model(exported, (folder / "merged").string(), true);
    Config merged = by_folder;
    merged.peft = {};
    merged.model.path = (folder / "merged").string();
    CHECK(loss_of(merged) == Approx(expected).epsilon(1e-5));
  }
  Config base = by_folder;
  base.peft = {};
  CHECK(std::abs(loss_of(base) - expected) > 1e-4);  // three steps of vectors change little

  CHECK(plan_training(config, ExistingRun::resume).already_finished);
  if (kind != "pissa" && kind != "olora") return;
  CHECK(read_adapter_config(final_folder).r == 2 * config.peft.r);
  Config longer = config;
  longer.train.steps = 4;
  CHECK(refusal_of(longer, ExistingRun::resume) == "");
  fs::rename(folder / "run/start", folder / "run/elsewhere");
  CHECK_THAT(refusal_of(longer, ExistingRun::resume), contains("run/start: missing"));
}

TEST_CASE("adapters: bfloat16 gradients are as near to float32's in any layout as on one rank",
          "[actors][adapters][slow]") {
  const std::vector<LayoutOptions> layouts = {{1, 2, 1, 1, "1f1b", 0, true},
                                              {1, 1, 1, 2, "1f1b", 0},
                                              {1, 4, 1, 1, "1f1b", 0},
                                              {2, 2, 2, 1, "zbv", 1, true},
                                              {1, 2, 1, 2, "1f1b", 3}};
  check_bfloat16_in_layouts(adapter_maths("lora_all"), layouts);
}

TEST_CASE("adapters: checkpoints and final/ hold the adapters alone", "[actors][adapters]") {
  const LayoutOptions layout =
      GENERATE(LayoutOptions{}, LayoutOptions{2, 1, 1, 1, "1f1b", 3}, LayoutOptions{1, 2, 2, 1, "1f1b", 0});
  CAPTURE(layout.name());
  const TemporaryFolder folder;
  write_texts(folder);
  const MathsOptions maths = adapter_maths("lora_all");
  write_base(folder, maths);
  Config config = layout_config(folder, maths, layout, 3);
  config.peft.modules_to_save = {"model.norm"};
  LayoutOutcome outcome;
  run_to_the_end(plan_training(config, ExistingRun::refuse), outcome);
  const auto checkpoint = latest_checkpoint((folder / "run/checkpoints").string());
  REQUIRE(checkpoint);
  bool has_norm = false;
  for (const CheckpointSource::Slice& slice : checkpoint->source()->slices()) {
    INFO(slice.name);
    has_norm = has_norm || slice.name == "model.norm.weight";
    CHECK((slice.name.find(".lora_") != std::string::npos || slice.name == "model.norm.weight" ||
           slice.name.ends_with(".bias")));
  }
  CHECK(has_norm);
  const RunPlan plan = plan_training(config, ExistingRun::ignore);
  const std::string final_folder = (folder / "run/final").string();
  CHECK_NOTHROW(AdapterFolder(final_folder).check(plan.model));
  CHECK_FALSE(WeightFolder::is_there(final_folder));
  CHECK(plan_training(config, ExistingRun::resume).already_finished);

  // Going on from it in a new run begins where it ended.
  Config next = config;
  next.run.dir = (folder / "next").string();
  next.peft = {};
  next.peft.path = final_folder;
  const RunPlan continued = plan_training(next, ExistingRun::refuse);
  CHECK(continued.config.peft.lora_dropout == 0.1);
  CHECK(continued.model.adapters.size() == plan.model.adapters.size());
  REQUIRE(continued.weights.adapters.size() == 1);
  CHECK(continued.weights.adapters.front().folder == final_folder);

  // A resume of that run does not need the folder again.
  run_to_the_end(continued, outcome);
  fs::rename(final_folder, final_folder + ".elsewhere");
  CHECK(plan_training(next, ExistingRun::resume).already_finished);
  fs::rename(final_folder + ".elsewhere", final_folder);

  // Merged, it is a model of its own, and gives the same evaluation.
  const auto loss_of = [&](Config of) {
    of.data.eval = of.data.train;
    const bool of_run = !of.run.dir.empty();
    return evaluated_loss(plan_evaluation(of, of_run ? CheckpointChoice() : CheckpointChoice::base()));
  };
  export_model(plan_export(config, CheckpointChoice::last()), (folder / "merged").string(), true);
  Config merged = config;
  merged.run.dir.clear();
  merged.peft = {};
  merged.model.path = (folder / "merged").string();
  Config by_folder = merged;
  by_folder.model.path = config.model.path;
  by_folder.peft.path = final_folder;
  const double expected = loss_of(config);
  CHECK(loss_of(merged) == Approx(expected).epsilon(1e-5));
  CHECK(loss_of(by_folder) == Approx(expected).epsilon(1e-6));
  Config base = by_folder;
  base.peft = {};
  CHECK(std::abs(loss_of(base) - expected) > 1e-3);
}

TEST_CASE("adapters: a folder says what its adapter is, and its numbers are finite", "[actors][adapters]") {
  const TemporaryFolder folder;
  write_texts(folder);
  const MathsOptions maths = adapter_maths("lora");
  write_base(folder, maths);
  const Config config = layout_config(folder, maths, {}, 1);
  LayoutOutcome outcome;
  run_to_the_end(plan_training(config, ExistingRun::refuse), outcome);
  const std::string adapter = (folder / "run/final").string();
  Config next = config;
  next.run.dir = (folder / "next").string();
  next.peft = {};
  next.peft.path = adapter;
  CHECK(refusal_of(next) == "");
  Config other = next;
  other.peft.type = "ia3";
  other.file.places["peft.type"] = "c.yaml:7: peft.type";
  CHECK_THAT(refusal_of(other), contains("c.yaml:7: peft.type: found ia3, but the adapter in peft.path"));

  // As that of PiSSA may be, and one that peft made of a list for several families.
  const ModelConfig base = load_model_config(config.model.path);
  Config wide = next;
  wide.peft = read_adapter_config(adapter);
  wide.peft.path = adapter;
  wide.peft.r = 20;
  wide.peft.target_modules = {"W_pack", "v_proj"};
  const ModelSpec found = model_of_config(wide, base);
  CHECK(found.adapters.size() == static_cast<size_t>(base.num_hidden_layers));
  wide.peft.path.clear();
  CHECK_THROWS_WITH(model_of_config(wide, base), contains("'W_pack' matches no module"));
  wide.peft.target_modules = {"v_proj"};
  CHECK_THROWS_WITH(model_of_config(wide, base), contains("peft.r: 20 is more than"));

  std::fstream file(adapter + "/adapter_model.safetensors", std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-4, std::ios::end);
  const uint32_t nan = 0x7FC00000;
  file.write(reinterpret_cast<const char*>(&nan), sizeof nan);
  file.close();
  CHECK_THAT(refusal_of(next), contains("has nan as element") && contains("finite numbers are right"));
}

TEST_CASE("adapters: a resume on another base is refused", "[actors][adapters]") {
  const TemporaryFolder folder;
  write_texts(folder);
  const MathsOptions maths = adapter_maths("lora");
  write_base(folder, maths);
  const Config config = layout_config(folder, maths, {}, 2);
  LayoutOutcome outcome;
  run_to_the_end(plan_training(config, ExistingRun::refuse), outcome);
  Config longer = config;
  longer.train.steps = 3;
  CHECK(refusal_of(longer, ExistingRun::resume) == "");
  // Another base of the same shapes.
  fs::rename(folder / "base", folder / "first");
  Config other = layout_config(folder, MathsOptions{true, true, false, 16, 2}, {}, 1);
  other.run.dir = (folder / "base").string();
  other.run.seed = 43;
  run_to_the_end(plan_training(std::move(other), ExistingRun::refuse), outcome);
  const std::string refusal = refusal_of(longer, ExistingRun::resume);
  CHECK_THAT(refusal, contains("model.weights: is "));
}

TEST_CASE("adapters: what is frozen costs its weights alone", "[actors][adapters]") {
  const TemporaryFolder folder;
  write_texts(folder);
  const MathsOptions maths = adapter_maths("lora");
  write_base(folder, maths);
  const RunPlan all = plan_training(layout_config(folder, adapter_maths("none"), {}, 2), ExistingRun::ignore);
  const RunPlan adapters = plan_training(layout_config(folder, maths, {}, 2), ExistingRun::ignore);
  int64_t trained = 0;
  for (const Parameter& parameter : model_parameters(adapters.model))
    if (parameter.trainable) trained += parameter.shape.numel();
  CHECK(bytes_of(adapters, Category::optimizer) == static_cast<double>(2 * 4 * trained));
  CHECK(bytes_of(adapters, Category::gradients) == static_cast<double>(4 * trained));
  CHECK(bytes_of(adapters, Category::weights) ==
        bytes_of(all, Category::weights) + static_cast<double>(4 * trained));
}

TEST_CASE("adapters: what cannot be is refused before the weights are read", "[actors][adapters]") {
  const TemporaryFolder folder;
  write_texts(folder);
  write_base(folder, adapter_maths("lora"));
  const auto refusal = [&](const std::function<void(Config&)>& change) {
    Config config = layout_config(folder, adapter_maths("lora"), {}, 2);
    change(config);
    std::vector<std::string> warnings;
    try {
      check_config(config, warnings);
    } catch (const UserError& error) {
      return std::string(error.what());
    }
    return refusal_of(config);
  };
  CHECK(refusal([](Config&) {}) == "");
  CHECK_THAT(refusal([](Config& c) { c.peft.target_modules = {"q_prj"}; }),
             contains("peft.target_modules: 'q_prj' matches no module of the model; its matrices are q_proj, "
                      "k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj"));
  CHECK_THAT(refusal([](Config& c) { c.peft.target_modules = {"lm_head"}; }),
             contains("'lm_head' is the model's head, which is its embedding"));
  CHECK_THAT(
      refusal([](Config& c) {
        c.peft.rank_pattern = {{{"k_proj", 4}}};
      }),
      contains("peft.rank_pattern: 'k_proj' matches no matrix with an adapter; they are q_proj, v_proj"));
  CHECK_THAT(refusal([](Config& c) { c.peft.target_modules = {"embed_tokens"}; }),
             contains("adapters of embeddings and heads are not supported yet"));
  CHECK_THAT(refusal([](Config& c) { c.peft.target_modules = {"input_layernorm"}; }),
             contains("which is no matrix"));
  CHECK_THAT(refusal([](Config& c) { c.peft.r = 1000; }), contains("peft.r: 1000 is more than"));
  CHECK_THAT(refusal([](Config& c) {
               c.peft.layers_to_transform = {0, 8};
             }),
             contains("peft.layers_to_transform: found 8; the model has blocks 0 to 7"));
  CHECK_THAT(refusal([](Config& c) { c.peft.modules_to_save = {"embed_tokens"}; }),
             contains("is the model's head, too"));
  CHECK_THAT(refusal([](Config& c) { c.peft.modules_to_save = {"q_proj"}; }), contains("has an adapter"));
  CHECK_THAT(refusal([](Config& c) { c.peft.modules_to_save = {"score"}; }),
             contains("peft.modules_to_save: 'score' matches no module"));
  CHECK_THAT(refusal([](Config& c) { c.model.frozen = {"*norm*"}; }), contains("model.frozen: given beside"));
  CHECK_THAT(refusal([](Config& c) { c.train.trainable = {"*norm*"}; }),
             contains("train.trainable: given beside"));
  CHECK_THAT(refusal([](Config& c) { c.model.from_scratch = true; }), contains("adapters need the weights"));
  CHECK_THAT(refusal([](Config& c) { c.peft.type = "none"; }), contains("given, but peft.type is none"));
  CHECK_THAT(refusal([](Config& c) {
               c.peft.rank_pattern = {{{"q_proj", 0}}};
             }),
             contains("peft.rank_pattern.q_proj: found 0"));
  CHECK_THAT(refusal([](Config& c) { c.peft.rank_pattern = {{{"(", 4}}}; }), contains("peft.rank_pattern"));
  CHECK_THAT(refusal([](Config& c) {
               c.peft.use_dora = true;
               c.peft.init_lora_weights = "pissa";
             }),
             contains("peft.init_lora_weights: found pissa with peft.use_dora"));
  CHECK_THAT(refusal([](Config& c) {
               c.peft = {};
               c.peft.type = "ia3";
               c.peft.target_modules = {"k_proj"};
               c.peft.feedforward_modules = {"down_proj"};
             }),
             contains("peft.feedforward_modules: 'down_proj' matches none of the matrices of "
                      "peft.target_modules"));
}

TEST_CASE("trainable: patterns name all that is trained", "[actors][frozen]") {
  const TemporaryFolder folder;
  write_texts(folder);
  Config config = layout_config(folder, MathsOptions{true, true, false, 16, 2}, {}, 2);
  config.train.trainable = {"*.layers.7.*", "model.norm.weight"};
  const RunPlan plan = plan_training(config, ExistingRun::ignore);
  for (const Parameter& parameter : model_parameters(plan.model))
    CHECK(parameter.trainable ==
          (parameter.name.find(".layers.7.") != std::string::npos || parameter.name == "model.norm.weight"));
  config.train.trainable = {"*.layers.8.*"};
  CHECK_THAT(refusal_of(config), contains("train.trainable: '*.layers.8.*' matches no parameter"));
}

}  // namespace collie::test
