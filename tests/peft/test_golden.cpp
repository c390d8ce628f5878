// Adapters against Hugging Face's peft, and bottlenecks against the library adapters: see
// tests/golden/make_peft_golden.py and make_bottleneck_golden.py.
#include "peft/adapter_config.hpp"
#include "peft/model_of_config.hpp"
#include "tests/io/memory_checkpoints.hpp"
#include "tests/peft/golden_adapters.hpp"

namespace collie::test {
namespace {

const std::vector<std::string> cases = {"lora_llama", "lora_all_llama", "rslora_qwen2", "lora_bias_llama",
                                        "lora_gpt2",  "loraplus_llama", "dora_llama",   "dora_qwen2",
                                        "dora_gpt2",  "ia3_llama",      "ia3_qwen2",    "ia3_gpt2",
                                        "lora_phi3",  "dora_phi3"};

struct Case {
  explicit Case(const std::string& name)
      : folder(golden_folder + "peft/" + name), golden(read_json(folder + "/golden.json")) {
    base = golden_folder + golden["base"].get<std::string>();
    config.peft.path = folder;
    complete_adapter_config(config);
    config.peft.loraplus_lr_ratio = golden["lr_ratio"].get<double>();
    config.optimizer = adamw_of_adapters();
    add_loraplus_group(config);
    model = model_of_config(config, load_model_config(base));
  }

  GoldenSettings settings() const { return settings_of_adapter(model, folder, config.optimizer); }

  std::string folder, base;
  nlohmann::json golden;
  Config config;
  ModelSpec model;
};

}  // namespace

TEST_CASE("an adapter that peft wrote has its logits", "[peft][golden]") {
  const Case each(GENERATE(from_range(cases)));
  CAPTURE(each.folder);
  check_golden_logits(each.model, each.base, each.folder, each.golden["logits"]);
}

TEST_CASE("an adapter that peft wrote has its gradients", "[peft][golden]") {
  const Case each(GENERATE(from_range(cases)));
  CAPTURE(each.folder);
  GoldenTrainer trainer(each.base, two_threads(), {}, each.settings());
  check_golden_gradients(trainer, each.model, each.base, each.folder, each.golden["loss"]);
}

TEST_CASE("20 steps of adapters have peft's losses and end with its weights", "[peft][golden]") {
  const Case each(GENERATE(from_range(cases)));
  CAPTURE(each.folder);
  GoldenTrainer trainer(each.base, two_threads(), {}, each.settings());
  check_golden_losses(trainer, each.model, each.base, each.golden["losses"], 1e-4);
  const SafetensorsFile expected(each.folder + "/trained.safetensors");
  const Checkpoint trained(
      std::make_shared<const MemoryCheckpoint>(20, nlohmann::json::object(), trainer.state().snapshot()));
  for (const NamedTensor& tensor : adapter_tensors(each.model)) {
    const std::string in_file = name_in_adapter(each.model, tensor.name);
    INFO(in_file);
    const std::vector<float> found = trained.evaluated(tensor.name, tensor.shape);
    CHECK(relative_error(found, tensor_in(expected, in_file)) < 1e-3);
  }
}

}  // namespace collie::test
