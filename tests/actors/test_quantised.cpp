// Adapters of a quantised base are trained in every layout as on one rank, and cost what they should.
#include <fmt/format.h>

#include "io/files.hpp"
#include "kernels/quantise.hpp"
#include "models/pieces.hpp"
#include "peft/adapter_folder.hpp"
#include "plan/memory_plan.hpp"
#include "plan/model_export.hpp"
#include "tests/actors/adapter_runs.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"
#include "tests/models/support.hpp"

namespace collie::test {
namespace {

namespace fs = std::filesystem;

MathsOptions quantised_maths(const std::string& kind, const std::string& peft = "lora_all",
                             const std::string& family = "llama", const std::string& dtype = "float32") {
  MathsOptions maths = adapter_maths(peft, family, dtype);
  maths.quantisation = kind;
  return maths;
}

double peak_of(const RunPlan& plan, Category category, size_t rank = 0) {
  return static_cast<double>(predict_memory(plan).at(rank).peak_bytes[static_cast<size_t>(category)]);
}

}  // namespace

TEST_CASE("quantised: every layout trains as one rank does, and resumes in another",
          "[actors][quantised][slow]") {
  check_in_layouts(quantised_maths("nf4"), layouts_of_adapters(), 3);
  for (const MathsOptions& maths :
       {quantised_maths("int8", "lora"), quantised_maths("nf4", "lora_all", "gpt2"),
        quantised_maths("nf4", "lora_all", "phi3"), quantised_maths("nf4", "adalora_all")})
    check_in_layouts(maths, few_layouts_of_adapters(), 2);
}

TEST_CASE("quantised: bfloat16 gradients are as near to float32's in any layout as on one rank",
          "[actors][quantised][slow]") {
  // Codes are those of weights that are rounded to model.dtype first; the base of these runs is in bfloat16.
  const std::vector<LayoutOptions> layouts = {{1, 2, 1, 1, "1f1b", 0, true}, {2, 2, 2, 1, "zbv", 1, true}};
  check_bfloat16_in_layouts(quantised_maths("nf4"), layouts);
}

TEST_CASE("quantised: a run's adapter, its evaluation and its merged model agree", "[actors][quantised]") {
  const std::string kind = GENERATE("nf4", "fp4", "int8"), family = GENERATE("llama", "gpt2");
  CAPTURE(kind, family);
  const TemporaryFolder folder;
  write_texts(folder);
  const MathsOptions maths = quantised_maths(kind, "lora_all", family);
  write_base(folder, maths);
  const Config config = layout_config(folder, maths, {}, 3);
  LayoutOutcome outcome;
  run_to_the_end(plan_training(config, ExistingRun::refuse), outcome);
  const auto checkpoint = latest_checkpoint((folder / "run/checkpoints").string());
  REQUIRE(checkpoint);
  for (const CheckpointSource::Slice& slice : checkpoint->source()->slices()) {
    INFO(slice.name);
    CHECK((slice.name.find(".lora_") != std::string::npos || slice.name.ends_with(".bias")));
  }
  CHECK(plan_training(config, ExistingRun::resume).already_finished);
  const std::string final_folder = (folder / "run/final").string();
  CHECK_NOTHROW(AdapterFolder(final_folder).check(plan_training(config, ExistingRun::ignore).model));

  const auto loss_of = [&](Config of) {
    of.data.eval = of.data.train;
    const bool of_run = !of.run.dir.empty();
    return evaluated_loss(plan_evaluation(of, of_run ? CheckpointChoice() : CheckpointChoice::base()));
  };
  const double expected = loss_of(config);
  export_model(plan_export(config, CheckpointChoice::last()), (folder / "merged").string(), true);
  Config merged = config;
  merged.run.dir.clear();
  merged.peft = {};
  merged.quantization = {};
  merged.model.path = (folder / "merged").string();
  CHECK(loss_of(merged) == Approx(expected).epsilon(1e-5));
  Config by_folder = config;
  by_folder.run.dir.clear();
  by_folder.peft = {};
  by_folder.peft.path = final_folder;
  CHECK(loss_of(by_folder) == Approx(expected).epsilon(1e-6));
  // The base in numbers is another model.
  by_folder.quantization = {};
  CHECK(std::abs(loss_of(by_folder) - expected) > (kind == "int8" ? 1e-7 : 1e-5));
}

TEST_CASE("quantised: a resume with other codes is refused", "[actors][quantised]") {
  const TemporaryFolder folder;
  write_texts(folder);
  const MathsOptions maths = quantised_maths("nf4");
  write_base(folder, maths);
  const Config config = layout_config(folder, maths, {}, 2);
  LayoutOutcome outcome;
  run_to_the_end(plan_training(config, ExistingRun::refuse), outcome);
  Config longer = config;
  longer.train.steps = 3;
  CHECK(refusal_of(longer, ExistingRun::resume) == "");
  Config other = longer;
  other.quantization.kind = "fp4";
  CHECK_THAT(refusal_of(other, ExistingRun::resume), contains("quantization.kind: is"));
  other = longer;
  other.quantization.block_size = 32;
  CHECK_THAT(refusal_of(other, ExistingRun::resume), contains("quantization.block_size: is 32"));
  other = longer;
  other.quantization = {};
  CHECK_THAT(refusal_of(other, ExistingRun::resume), contains("quantization."));
}

TEST_CASE("quantised: a matrix costs its codes and scales, on every rank that shares the data",
          "[actors][quantised]") {
  const TemporaryFolder folder;
  write_texts(folder);
  const MathsOptions maths = quantised_maths("nf4", "lora");
  write_base(folder, maths);
  MathsOptions in_numbers = maths;
  in_numbers.quantisation = "none";
  const auto planned = [&](const MathsOptions& of, const LayoutOptions& layout) {
    return plan_training(layout_config(folder, of, layout, 2), ExistingRun::ignore);
  };
  const RunPlan codes = planned(maths, {}), numbers = planned(in_numbers, {});
  double matrices = 0, bytes = 0;
  for (const Parameter& parameter : model_parameters(codes.model)) {
    if (!parameter.quantisation.is_there()) continue;
    const auto elements = static_cast<double>(parameter.shape.numel());
    matrices += elements;
    // A byte for two codes; a row has its place, and a scale for each block that it touches.
    const auto rows = static_cast<double>(parameter.shape[0]);
    const int64_t blocks =
        QuantisedMatrix::blocks_of_row(parameter.quantisation, parameter.shape[1], 0, parameter.shape[1]);
    const int64_t nested = nested_count(parameter.quantisation, parameter.shape[0], parameter.shape[1]);
    bytes += elements / 2 + rows * static_cast<double>(8 + blocks) + 4 * static_cast<double>(nested);
  }
  CHECK(matrices > 0);
  CHECK(peak_of(codes, Category::weights) == peak_of(numbers, Category::weights) - 4 * matrices + bytes);
  for (const Category category : {Category::gradients, Category::optimizer})
    CHECK(peak_of(codes, category) == peak_of(numbers, category));
  // ZeRO 3 divides what is in numbers alone, and pads it.
  const LayoutOptions sharded{2, 1, 1, 1, "1f1b", 3};
  CHECK(peak_of(planned(maths, sharded), Category::weights) > bytes);
  CHECK(peak_of(planned(maths, sharded), Category::weights) <
        peak_of(planned(in_numbers, sharded), Category::weights));
  // Tensor parallelism divides codes, too.
  CHECK(peak_of(planned(maths, {1, 2, 1, 1}), Category::weights) < 0.75 * peak_of(codes, Category::weights));
}

TEST_CASE("quantised: what cannot be is refused before the weights are read", "[actors][quantised]") {
  const TemporaryFolder folder;
  write_texts(folder);
  write_base(folder, quantised_maths("nf4"));
  const auto refusal = [&](const std::function<void(Config&)>& change) {
    Config config = layout_config(folder, quantised_maths("nf4", "lora"), {}, 2);
    change(config);
    return refusal_of(config);
  };
  CHECK(refusal([](Config&) {}) == "");
  CHECK_THAT(refusal([](Config& c) { c.peft = {}; }),
             contains("quantization.kind: found nf4, but there are no adapters to train"));
  CHECK_THAT(refusal([](Config& c) {
               c.peft = {};
               c.train.trainable = {"*norm*"};
             }),
             contains("there are no adapters to train"));
  CHECK_THAT(refusal([](Config& c) { c.model.from_scratch = true; }),
             contains("model.from_scratch has no weights"));
  CHECK_THAT(refusal([](Config& c) { c.peft.modules_to_save = {"layers.1.mlp.up_proj"}; }),
             contains("peft.modules_to_save: model.layers.1.mlp.up_proj.weight is trained"));
  CHECK(refusal([](Config& c) {
          c.peft.modules_to_save = {"layers.1.mlp.up_proj"};
          c.quantization.skip = {"up_proj"};
        }) == "");
  CHECK_THAT(
      refusal([](Config& c) { c.quantization.skip = {"up_prj"}; }),
      contains("quantization.skip: 'up_prj' matches no matrix of the model's blocks; they are q_proj"));
  CHECK_THAT(refusal([](Config& c) { c.quantization.skip = {"*_proj"}; }),
             contains("leaves no matrix to quantise"));
  CHECK_THAT(refusal([](Config& c) {
               c.quantization.kind = "none";
               c.quantization.block_size = 32;
             }),
             contains("quantization.block_size: given, but quantization.kind is none"));
  CHECK_THAT(refusal([](Config& c) { c.quantization.block_size = 96; }),
             contains("quantization.block_size: found 96"));
  CHECK_THAT(refusal([](Config& c) { c.quantization.block_size = 16; }),
             contains("quantization.block_size: found 16"));
  CHECK_THAT(refusal([](Config& c) {
               c.quantization.kind = "int8";
               c.quantization.block_size = 128;
             }),
             contains("int8 has one scale a row"));
  CHECK_THAT(
      refusal([](Config& c) { c.quantization.compute_dtype = "bfloat16"; }),
      contains(
          "quantization.compute_dtype: found bfloat16, but products are computed in model.dtype, float32"));
  CHECK_THAT(refusal([](Config& c) { c.quantization.kind = "int4"; }),
             contains("quantization.kind: found 'int4'"));
}

TEST_CASE("quantised: a folder of codes is trained as the folder of numbers that they were made of",
          "[actors][quantised]") {
  const std::string name = GENERATE("nf4_llama", "nf4_gpt2", "int8_llama", "int8_qwen2");
  CAPTURE(name);
  const std::string golden = std::string(COLLIE_SOURCE_DIR) + "/tests/golden/";
  const TemporaryFolder folder;
  std::string letters;
  for (int i = 0; i < 4000; ++i) letters += "abc"[i * i % 7 % 3];
  folder.write("train.txt", letters);
  fs::create_directory(folder / "letters");
  folder.write("letters/tokenizer.json",
               R"({"version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": null,)"
               R"( "post_processor": null, "decoder": null, "model": {"type": "BPE",)"
               R"( "vocab": {"a": 0, "b": 1, "c": 2}, "merges": []}})");
  folder.write("letters/tokenizer_config.json", R"({"eos_token": "c"})");
  const auto losses_of = [&](const std::string& model, const std::string& kind, const LayoutOptions& layout,
                             const std::string& run, const std::vector<std::string>& skip = {"lm_head"}) {
    Config config = layout_config(folder, quantised_maths(kind), layout, 3);
    config.quantization.skip = skip;
    config.run.dir = (folder / run).string();
    config.model.path = model;
    config.tokenizer.kind = "auto";
    config.tokenizer.path = (folder / "letters").string();
    LayoutOutcome outcome;
    run_to_the_end(plan_training(config, ExistingRun::refuse), outcome);
    return outcome.losses;
  };
  const std::string kind = name.substr(0, name.find('_'));
  const nlohmann::json description =
      nlohmann::json::parse(read_text_file(golden + "qlora/" + name + "/golden.json"));
  const std::string numbers = golden + description["base"].get<std::string>();
  const std::string codes = golden + "qlora/" + name + "/quantised";
  const std::vector<double> expected =
      losses_of(numbers, kind, {}, "numbers", description["skip"].get<std::vector<std::string>>());
  CHECK(losses_of(codes, kind, {}, "codes") == expected);
  CHECK(losses_of(codes, "none", {}, "unsaid") == expected);  // the folder says it
  const std::vector<double> shared = losses_of(codes, "none", {1, 2, 1, 1}, "shared");
  for (size_t step = 0; step < expected.size(); ++step)
    CHECK(shared[step] == Approx(expected[step]).epsilon(1e-5));
}

}  // namespace collie::test
