// Adapters that begin with what they take out of the matrices, against Hugging Face's peft: see
// tests/golden/make_peft_golden.py.
#include "io/checkpoint_layers.hpp"
#include "models/model_folder_source.hpp"
#include "peft/merged_source.hpp"
#include "peft/model_of_config.hpp"
#include "peft/start_source.hpp"
#include "tests/io/memory_checkpoints.hpp"
#include "tests/peft/golden_adapters.hpp"

namespace collie::test {
namespace {

// The sum over k of b [out, rank] a [rank, in].
std::vector<float> product(const std::vector<float>& b, const std::vector<float>& a, int64_t rank) {
  const auto out = static_cast<int64_t>(b.size()) / rank, in = static_cast<int64_t>(a.size()) / rank;
  std::vector<float> result;
  for (int64_t i = 0; i < out; ++i)
    for (int64_t j = 0; j < in; ++j) {
      double sum = 0;
      for (int64_t k = 0; k < rank; ++k)
        sum += static_cast<double>(b[static_cast<size_t>(i * rank + k)]) * a[static_cast<size_t>(k * in + j)];
      result.push_back(static_cast<float>(sum));
    }
  return result;
}

struct StartCase {
  explicit StartCase(const std::string& name)
      : folder(golden_folder + "peft/" + name), golden(read_json(folder + "/golden.json")) {
    path = golden_folder + golden["base"].get<std::string>();
    const nlohmann::json& settings = golden["settings"];
    Config config;
    config.model.path = path;
    config.peft.type = "lora";
    config.peft.r = settings["r"].get<int64_t>();
    config.peft.lora_alpha = settings["lora_alpha"].get<double>();
    config.peft.use_rslora = settings.value("use_rslora", false);
    config.peft.init_lora_weights = settings["init_lora_weights"].get<std::string>();
    config.peft.target_modules = settings["target_modules"].get<std::vector<std::string>>();
    peft = config.peft;
    model = model_of_config(config, load_model_config(path));
  }

  std::shared_ptr<const CheckpointSource> base() const {
    return std::make_shared<const ModelFolderSource>(path, model.base());
  }
  Checkpoint start() const {
    return Checkpoint(std::make_shared<const StartSource>(Checkpoint(base()), model, 1));
  }
  // What is left of the base.
  Checkpoint rest() const {
    const auto both = std::make_shared<const LayeredSource>(start().source(), base());
    return Checkpoint(std::make_shared<const MergedSource>(Checkpoint(both), model, true));
  }
  // Adapters of the base as it is, merged into it.
  Checkpoint merged(const ModelSpec& of, const Checkpoint& adapters) const {
    const auto both = std::make_shared<const LayeredSource>(adapters.source(), base());
    return Checkpoint(std::make_shared<const MergedSource>(Checkpoint(both), of));
  }

  std::string folder, path;
  nlohmann::json golden;
  PeftSection peft;
  ModelSpec model;
};

}  // namespace

TEST_CASE("adapters begin with what peft takes out of the matrices", "[peft][golden]") {
  const StartCase each(GENERATE("pissa_llama", "olora_qwen2"));
  CAPTURE(each.folder);
  const SafetensorsFile expected(each.folder + "/start.safetensors");
  const Checkpoint start = each.start();
  for (const auto& [matrix, adapters] : each.model.adapters) {
    INFO(matrix);
    const std::string name_a = name_of_a(matrix, adapters.front()),
                      name_b = name_of_b(matrix, adapters.front());
    const std::vector<float> a = start.evaluated(name_a, start.global_shape(name_a, "weight")),
                             b = start.evaluated(name_b, start.global_shape(name_b, "weight")),
                             peft_a = tensor_in(expected, name_in_adapter(each.model, name_a)),
                             peft_b = tensor_in(expected, name_in_adapter(each.model, name_b));
    // The signs of a pair of singular vectors are free.
    const auto sizes = [](std::vector<float> values) {
      for (float& value : values) value = std::abs(value);
      return values;
    };
    CHECK(relative_error(sizes(a), sizes(peft_a)) < 1e-4);
    CHECK(relative_error(sizes(b), sizes(peft_b)) < 1e-4);
    const int64_t rank = adapters.front().rank;
    CHECK(relative_error(product(b, a, rank), product(peft_b, peft_a, rank)) < 1e-5);
  }
}

TEST_CASE("20 steps of them have peft's losses, and end with the same matrices", "[peft][golden]") {
  const StartCase each(GENERATE("pissa_llama", "olora_qwen2"));
  CAPTURE(each.folder);
  GoldenSettings settings = settings_of_adapter(each.model, each.folder, adamw_of_adapters());
  settings.read = [&, start = each.start(), rest = each.rest()](const Parameter& parameter,
                                                                Operations& operations, Tensor& values) {
    const std::vector<float> read =
        (parameter.is_adapter ? start : rest).evaluated(parameter.name, parameter.shape);
    operations.upload(read, values);
    return true;
  };
  GoldenTrainer trainer(each.path, two_threads(), {}, settings);
  check_golden_losses(trainer, each.model, each.path, each.golden["losses"], 1e-4);
  const Checkpoint trained(
      std::make_shared<const MemoryCheckpoint>(20, nlohmann::json::object(), trainer.state().snapshot()));
  const auto equivalent = std::make_shared<const EquivalentSource>(trained, each.start(), each.model);
  Config config;
  config.model.path = each.path;
  config.peft = equivalent_adapter(each.peft);
  const Checkpoint merged =
      each.merged(model_of_config(config, each.model.architecture), Checkpoint(equivalent));
  const SafetensorsFile expected(each.folder + "/merged.safetensors");
  REQUIRE(expected.tensors().size() == each.model.adapters.size());
  for (const auto& [matrix, adapters] : each.model.adapters) {
    INFO(matrix);
    const std::string name = matrix + ".weight";
    CHECK(relative_error(merged.evaluated(name, merged.global_shape(name, "weight")),
                         tensor_in(expected, name)) < 1e-4);
  }
}

}  // namespace collie::test
