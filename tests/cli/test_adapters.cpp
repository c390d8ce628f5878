// Adapters at the command line: what a run leaves, and how generate, eval and export use it.
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/cli/workbench.hpp"
#include "tests/paths.hpp"

namespace collie::test {
namespace {

const Settings lora = {
    "peft={type: lora, r: 4, lora_alpha: 16, target_modules: all-linear, lora_dropout: 0.1}",
    "optimizer.lr=0.02", "lr_scheduler.warmup_steps=0", "train.steps=6"};

// A base, and a run of adapters over it.
struct AdaptedRun {
  Workbench bench;
  Training base;
  std::string folder;
};

const AdaptedRun& adapted_run() {
  static AdaptedRun run;
  static const bool made = [] {
    run.base = run.bench.train("base", {"train.steps=4"});
    run.folder = run.bench / "base/final";
    const Outcome outcome = run.bench.run("lora", from_model(run.folder) + lora);
    INFO(outcome.errors);
    REQUIRE(outcome.code == 0);
    return true;
  }();
  REQUIRE(made);
  return run;
}

std::string generated(const Workbench& bench, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "generate");
  for (const char* word : {"--prompt", "the dog", "--max-new-tokens", "24"}) arguments.emplace_back(word);
  const Outcome outcome = bench.command(arguments);
  INFO(outcome.errors);
  CHECK(outcome.code == 0);
  return outcome.output;
}

}  // namespace

TEST_CASE("a run of adapters leaves them alone, and every command gives the same text with them",
          "[cli][adapters]") {
  const AdaptedRun& run = adapted_run();
  const Workbench& bench = run.bench;
  CHECK(std::filesystem::exists(bench / "lora/final/adapter_model.safetensors"));
  CHECK_FALSE(std::filesystem::exists(bench / "lora/final/model.safetensors"));
  const std::string of_run = generated(bench, {"--run", "lora"});
  CHECK(generated(bench, {"--model", run.folder, "--adapter", "lora/final"}) == of_run);
  CHECK(generated(bench, {"--model", run.folder, "--adapter", "lora/final", "--set", "parallel.tp_size=2"}) ==
        of_run);
  CHECK(generated(bench, {"--model", run.folder}) != of_run);
  CHECK(generated(bench, {"--model", run.folder, "--adapter", "lora/final@0"}) ==
        generated(bench, {"--model", run.folder}));
  // Two halves are a whole.
  CHECK(generated(bench, {"--model", run.folder, "--adapter", "a=lora/final@0.5", "--adapter",
                          "b=lora/final@0.5"}) == of_run);
  const Outcome merged = bench.command({"export", "--run", "lora", "--merge", "--out", "merged"});
  INFO(merged.errors);
  CHECK(merged.code == 0);
  CHECK(generated(bench, {"--model", "merged"}) == of_run);
  const Outcome exported = bench.command({"export", "--run", "lora", "--out", "exported"});
  INFO(exported.errors);
  CHECK(exported.code == 0);
  CHECK(text_of(bench / "exported/adapter_model.safetensors") ==
        text_of(bench / "lora/final/adapter_model.safetensors"));
}

TEST_CASE("a run of adapters that is interrupted goes on bit by bit", "[cli][adapters]") {
  const AdaptedRun& run = adapted_run();
  Workbench bench;
  const Settings settings = from_model(run.folder) + lora;
  const Settings halves = settings + Settings{"checkpoint.every_n_steps=2"};
  CHECK(bench.run("halves", halves, {}, "stage.update:4:kill").code != 0);
  const Outcome resumed = bench.resume("halves", halves);
  INFO(resumed.errors);
  REQUIRE(resumed.code == 0);
  CHECK(text_of(bench / "halves/final/adapter_model.safetensors") ==
        text_of(run.bench / "lora/final/adapter_model.safetensors"));
}

TEST_CASE("adapters that are not of the model are refused before anything is computed", "[cli][adapters]") {
  const AdaptedRun& run = adapted_run();
  const Workbench& bench = run.bench;
  const auto with = [&](const std::string& folder) {
    return bench.command({"generate", "--model", run.folder, "--adapter", folder, "--prompt", "x"});
  };
  check_refused(with("nowhere"), 2, {"nowhere/adapter_config.json"});
  check_refused(with("lora/final@much"), 2, {"--adapter: found 'much' behind the @", "a number is wanted"});
  check_refused(with("a b=lora/final"), 2, {"--adapter: 'a b' is no name"});
  const std::string config = text_of(bench / "lora/final/adapter_config.json");
  const auto changed = [&](const std::string& key, const nlohmann::json& value) {
    std::filesystem::remove_all(bench / "changed");
    std::filesystem::copy(bench / "lora/final", bench / "changed");
    nlohmann::json object = nlohmann::json::parse(config);
    object[key] = value;
    bench.write("changed/adapter_config.json", object.dump());
    return with("changed");
  };
  check_refused(changed("peft_type", "LOHA"), 2,
                {"changed/adapter_config.json: peft_type: found \"LOHA\"", "\"PREFIX_TUNING\" is wanted"});
  check_refused(changed("peft_type", "IA3"), 2,
                {"changed/adapter_config.json: bias: \"none\" is not supported"});
  check_refused(changed("use_dora", true), 2, {"28 missing", "self_attn.q_proj.lora_magnitude_vector [32]"});
  check_refused(changed("use_bdlora", {{"nblocks", 2}}), 2,
                {"use_bdlora: {\"nblocks\": 2} is not supported"});
  check_refused(changed("r", 3), 2, {"changed/adapter_model.safetensors", "has shape", "is right"});
  check_refused(changed("target_modules", {"q_proj"}), 2, {"left over"});
  check_refused(changed("modules_to_save", {"lm_head"}), 2, {"modules_to_save: found \"lm_head\""});
  check_refused(bench.command({"export", "--model", run.folder, "--merge", "--out", "none"}), 2,
                {"--merge: there are no adapters"});
  CHECK_FALSE(std::filesystem::exists(bench / "none"));
}

}  // namespace collie::test
