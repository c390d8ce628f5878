// Whole training steps with other optimizers than AdamW against PyTorch's:
// tests/golden/make_optimizer_losses.py.
#include "tests/catch.hpp"
#include "tests/optim/golden_trainer.hpp"
#include "tests/optim/rule_options.hpp"

using namespace collie;
using namespace collie::test;
using nlohmann::json;

TEST_CASE("20 steps of an optimizer follow PyTorch's losses", "[golden]") {
  const std::string device = GENERATE(from_range(all_devices));
  const json golden = read_json(golden_folder + "optimizer_losses.json");
  for (const json& each : golden.at("cases")) {
    const auto checkpoint = each.at("checkpoint").get<std::string>();
    if (device == "reference" && checkpoint != "llama_tied") continue;  // it is slow
    CAPTURE(device, checkpoint, each.at("rule").get<std::string>());
    OptimizerConfig config;
    config.name = each.at("rule").get<std::string>();
    config.options = options_of_rule(config.name, each.at("options"));
    config.decay_norms_and_biases = true;  // as PyTorch does
    if (!config.options.has("lr")) config.options.set("lr", golden.at("lr").get<double>());
    const bool quantised = config.name == "adamw_8bit";
    const double tolerance = quantised || config.name == "muon" ? 1e-3 : 1e-4;
    if (quantised) config.options.set("min_8bit_size", int64_t{256});
    const std::string folder = golden_folder + checkpoint;
    GoldenTrainer trainer(folder, make_operations(device).operations, {}, config);
    const json steps = read_json(folder + "/golden.json").at("steps");
    const json& losses = each.at("losses");
    REQUIRE(losses.size() == 20);
    for (size_t step = 0; step < losses.size(); ++step) {
      CAPTURE(step);
      std::vector<MicroBatch> batches;
      auto number = 1000 * static_cast<int64_t>(step + 1);  // of the next token
      for (const json& documents : steps[step % steps.size()]) {
        batches.push_back(pack(documents));
        const std::vector<int32_t>& starts = batches.back().document_starts;
        for (size_t i = 0; i + 1 < starts.size(); ++i)
          batches.back().first_tokens.push_back(number + starts[i]);
        number += starts.back();
      }
      trainer.estimate(batches, golden.at("seed").get<uint64_t>());
      CHECK(trainer.step(batches) == Approx(losses[step].get<double>()).margin(tolerance).epsilon(0));
    }
  }
}
