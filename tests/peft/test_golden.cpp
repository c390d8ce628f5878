// Adapters against Hugging Face's peft, and bottlenecks against the library adapters: see
// tests/golden/make_peft_golden.py and make_bottleneck_golden.py.
#include "io/safetensors.hpp"
#include "peft/adapted_linear.hpp"
#include "peft/adapter_config.hpp"
#include "peft/adapter_folder.hpp"
#include "peft/model_of_config.hpp"
#include "tests/catch.hpp"
#include "tests/io/memory_checkpoints.hpp"
#include "tests/optim/golden_trainer.hpp"

namespace collie::test {
namespace {

const std::vector<std::string> cases = {"lora_llama", "lora_all_llama", "rslora_qwen2", "lora_bias_llama",
                                        "lora_gpt2",  "loraplus_llama", "dora_llama",   "dora_qwen2",
                                        "dora_gpt2",  "ia3_llama",      "ia3_qwen2",    "ia3_gpt2"};

struct Case {
  explicit Case(const std::string& name)
      : folder(golden_folder + "peft/" + name), golden(read_json(folder + "/golden.json")) {
    base = golden_folder + golden["base"].get<std::string>();
    config.peft.path = folder;
    complete_adapter_config(config);
    config.peft.loraplus_lr_ratio = golden["lr_ratio"].get<double>();
    config.optimizer = golden_adamw();
    config.optimizer.options.set("lr", 1e-2);
    add_loraplus_group(config);
    model = model_of_config(config, load_model_config(base));
  }

  GoldenSettings settings() const {
    GoldenSettings all(config.optimizer);
    all.model = [this](const ModelConfig&) { return model; };
    all.linears = make_adapted_linear;
    all.read = [this](const Parameter& parameter, Operations& operations, Tensor& values) {
      if (parameter.is_saved) AdapterFolder(folder).read(model, parameter, operations, values);
      return parameter.is_saved;
    };
    return all;
  }

  std::string folder, base;
  nlohmann::json golden;
  Config config;
  ModelSpec model;
};

std::vector<float> tensor_in(const SafetensorsFile& file, const std::string& name) {
  std::vector<float> values(static_cast<size_t>(file.find(name).elements));
  file.to_float(name, values);
  return values;
}

std::unique_ptr<Operations> cpu_operations_here() {
  return make_cpu_operations(2, std::make_shared<MemoryAccount>());
}

}  // namespace

TEST_CASE("an adapter that peft wrote has its logits", "[peft][golden]") {
  const Case each(GENERATE(from_range(cases)));
  CAPTURE(each.folder);
  CHECK_NOTHROW(AdapterFolder(each.folder).check(each.model));
  const auto operations = cpu_operations_here();
  const auto stage =
      make_stage_model(each.model, ranges_of(each.base, false)[0], *operations, {}, {}, make_adapted_linear);
  std::vector<Tensor> weights = like(*operations, stage->parameters(), NAN);
  for (size_t i = 0; i < weights.size(); ++i) {
    const Parameter& parameter = stage->parameters()[i];
    std::vector<Tensor> one{weights[i]};
    if (parameter.is_saved)
      AdapterFolder(each.folder).read(each.model, parameter, *operations, weights[i]);
    else
      read_weights(WeightFolder(each.base), {parameter}, *operations, one);
  }
  ResidentSource source(weights);
  const nlohmann::json sequences = read_json(each.base + "/golden.json")["sequences"];
  for (size_t s = 0; s < sequences.size(); ++s) {
    std::vector<float> expected, found;
    KeyValueCache cache;
    stage->start_sequence(*operations, cache, 0, static_cast<int64_t>(sequences[s].size()));
    for (size_t t = 0; t < sequences[s].size(); ++t) {
      MicroBatch batch;
      batch.tokens = {sequences[s][t].get<int32_t>()};
      batch.positions = {static_cast<int32_t>(t)};
      batch.document_starts = {0, 1};
      LayerContext context{*operations, source, nullptr};
      const std::vector<float> row = values(*operations, stage->decode(context, batch, {}, cache, {0}));
      found.insert(found.end(), row.begin(), row.end());
      for (const nlohmann::json& value : each.golden["logits"][s][t]) expected.push_back(value.get<float>());
    }
    REQUIRE(found.size() == expected.size());
    for (size_t i = 0; i < found.size(); ++i) {
      INFO("sequence " << s << ", logit " << i);
      REQUIRE(found[i] == Approx(expected[i]).margin(1e-4));
    }
  }
}

TEST_CASE("an adapter that peft wrote has its gradients", "[peft][golden]") {
  const Case each(GENERATE(from_range(cases)));
  CAPTURE(each.folder);
  GoldenTrainer trainer(each.base, cpu_operations_here(), {}, each.settings());
  const nlohmann::json base = read_json(each.base + "/golden.json");
  const double loss = trainer.gradients_of({pack(base["batch"])});
  CHECK(loss == Approx(each.golden["loss"].get<double>()).epsilon(1e-5));
  const SafetensorsFile expected(each.folder + "/gradients.safetensors");
  size_t compared = 0;
  for (const auto& [name, gradient] : trainer.gradients_by_name()) {
    const std::string in_file = name_in_adapter(each.model, name);
    INFO(in_file);
    CHECK(relative_error(gradient, tensor_in(expected, in_file)) < 1e-4);
    ++compared;
  }
  CHECK(compared == expected.tensors().size());
}

TEST_CASE("20 steps of adapters have peft's losses and end with its weights", "[peft][golden]") {
  const Case each(GENERATE(from_range(cases)));
  CAPTURE(each.folder);
  GoldenTrainer trainer(each.base, cpu_operations_here(), {}, each.settings());
  const nlohmann::json steps = read_json(each.base + "/golden.json")["steps"];
  for (size_t step = 0; step < 20; ++step) {
    std::vector<MicroBatch> batches;
    for (const nlohmann::json& documents : steps[step % steps.size()]) batches.push_back(pack(documents));
    INFO("step " << step);
    CHECK(std::abs(trainer.step(batches) - each.golden["losses"][step].get<double>()) < 1e-4);
  }
  const SafetensorsFile expected(each.folder + "/trained.safetensors");
  const Checkpoint trained(
      std::make_shared<const MemoryCheckpoint>(20, nlohmann::json(), trainer.state().snapshot()));
  for (const NamedTensor& tensor : adapter_tensors(each.model)) {
    const std::string in_file = name_in_adapter(each.model, tensor.name);
    INFO(in_file);
    Tensor values =
        Tensor::host(tensor.shape, DType::f32, std::make_shared<MemoryAccount>(), Category::workspace);
    trained.read(tensor.name, "weight", tensor.shape,
                 std::vector<int64_t>(static_cast<size_t>(tensor.shape.rank()), 0), values);
    const std::vector<float> found(values.data<float>(), values.data<float>() + values.numel());
    CHECK(relative_error(found, tensor_in(expected, in_file)) < 1e-3);
  }
}

}  // namespace collie::test
