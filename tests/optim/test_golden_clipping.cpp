// Clipping by value, then by norm, and weight decay of matrices alone: whole training steps against PyTorch's
// (tests/golden/make_clipping_golden.py).
#include "tests/catch.hpp"
#include "tests/optim/golden_trainer.hpp"

using namespace collie;
using namespace collie::test;

namespace {

struct ClippingGolden {
  nlohmann::json all = read_json(golden_folder + "clipped_training.json");

  GoldenSettings settings() const {
    GoldenSettings settings;
    settings.optimizer.decay_norms_and_biases = false;
    settings.optimizer.options.set("weight_decay", all["weight_decay"].get<double>());
    settings.clip_grad_value = all["clip_grad_value"];
    settings.clip_grad_norm = all["clip_grad_norm"];
    return settings;
  }
  Difference difference(const std::string& name, const GoldenSettings& settings) const {
    return difference_from(all["models"][name], name,
                           make_cpu_operations(2, std::make_shared<MemoryAccount>()), Precision{}, settings);
  }
};

}  // namespace

TEST_CASE("20 AdamW steps clipped by value and norm follow PyTorch's losses and norms", "[golden][clip]") {
  const ClippingGolden golden;
  const std::string name = GENERATE("llama_tied", "gpt2");
  CAPTURE(name);
  const Difference difference = golden.difference(name, golden.settings());
  CHECK(difference.loss < 2e-5);
  CHECK(difference.norm < 1e-4);
}

TEST_CASE("the golden of clipping tells each of its settings from another", "[golden][clip]") {
  const ClippingGolden golden;
  const std::string name = GENERATE("llama_tied", "gpt2");
  CAPTURE(name);
  GoldenSettings decays_all = golden.settings(), no_value = golden.settings(), no_norm = golden.settings();
  decays_all.optimizer.decay_norms_and_biases = true;
  no_value.clip_grad_value = 0;
  no_norm.clip_grad_norm = 0;
  CHECK(golden.difference(name, decays_all).loss > 1e-3);
  CHECK(golden.difference(name, no_value).norm > 1e-2);
  CHECK(golden.difference(name, no_norm).loss > 1e-4);
}
