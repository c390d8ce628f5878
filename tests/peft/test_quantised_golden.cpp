// Adapters of a quantised base against peft with bitsandbytes: see tests/golden/make_qlora_golden.py.
#include "peft/adapter_config.hpp"
#include "peft/model_of_config.hpp"
#include "tests/peft/golden_adapters.hpp"

namespace collie::test {
namespace {

struct QuantisedBase {
  explicit QuantisedBase(const std::string& name)
      : folder(golden_folder + "qlora/" + name), golden(read_json(folder + "/golden.json")) {
    base = golden_folder + golden["base"].get<std::string>();
    Config config;
    config.peft.path = folder;
    complete_adapter_config(config);
    config.quantization.kind = golden["kind"].get<std::string>();
    config.quantization.double_quant = golden["double_quant"].get<bool>();
    config.quantization.skip = golden["skip"].get<std::vector<std::string>>();
    model = model_of_config(config, load_model_config(base));
  }

  GoldenSettings settings() const { return settings_of_adapter(model, folder, adamw_of_adapters()); }

  std::string folder, base;
  nlohmann::json golden;
  ModelSpec model;
};

const std::vector<std::string> quantised_bases = {"nf4_llama", "nf4_gpt2", "fp4_llama", "int8_llama",
                                                  "int8_qwen2"};

}  // namespace

TEST_CASE("adapters of a quantised base have peft's gradients and losses", "[peft][quantised][golden]") {
  const QuantisedBase each(GENERATE(from_range(quantised_bases)));
  const std::string device = GENERATE("cpu", "reference");
  CAPTURE(each.folder, device);
  const auto operations = [&] {
    const auto account = std::make_shared<MemoryAccount>();
    return device == "cpu" ? make_cpu_operations(2, account) : make_reference_operations(account);
  };
  GoldenTrainer first(each.base, operations(), {}, each.settings());
  check_golden_gradients(first, each.model, each.base, each.folder, each.golden["loss"]);

  GoldenTrainer trainer(each.base, operations(), {}, each.settings());
  check_golden_losses(trainer, each.model, each.base, each.golden["losses"], 1e-3);
}

}  // namespace collie::test
