// Virtual tokens against Hugging Face's peft: see tests/golden/make_prompt_golden.py.
#include "models/pieces.hpp"
#include "peft/adapter_config.hpp"
#include "peft/model_of_config.hpp"
#include "peft/prompt_files.hpp"
#include "tests/io/memory_checkpoints.hpp"
#include "tests/peft/golden_adapters.hpp"

namespace collie::test {
namespace {

const std::vector<std::string> prompt_cases = {"prompt_llama", "prompt_gpt2",  "prompt_qwen2",
                                               "prompt_gemma", "prefix_llama", "prefix_wide_llama",
                                               "prefix_gpt2",  "prefix_qwen2"};

// Those whose rows an encoder makes.
const std::vector<std::string> encoder_cases = {"ptuning_llama",     "ptuning_gemma",    "ptuning_lstm_qwen2",
                                                "ptuning_lstm_gpt2", "prefix_mlp_llama", "prefix_mlp_gpt2"};

// What peft.type and its keys are, beside the adapter's folder, which has not the encoder.
PeftSection section_of_encoder(const std::string& folder) {
  const nlohmann::json object = read_json(folder + "/adapter_config.json");
  PeftSection peft;
  peft.type = object["peft_type"] == "P_TUNING" ? "p_tuning" : "prefix_tuning";
  peft.num_virtual_tokens = object["num_virtual_tokens"].get<int64_t>();
  peft.encoder_hidden_size = object["encoder_hidden_size"].get<int64_t>();
  peft.prefix_projection = object.value("prefix_projection", false);
  peft.encoder_num_layers = object.value("encoder_num_layers", int64_t{2});
  peft.encoder_reparameterization_type = object.value("encoder_reparameterization_type", "MLP");
  return peft;
}

// The name that a parameter of an encoder has in peft's module, as goldens have it.
std::string own_name(const std::string& parameter) {
  const std::string prefix = "prompt_encoder.";
  return parameter.starts_with(prefix) ? parameter.substr(prefix.size()) : parameter;
}

struct PromptCase {
  // with_encoder: as it is trained; else as its folder is used.
  explicit PromptCase(const std::string& name, bool with_encoder = false)
      : folder(golden_folder + "peft/" + name), golden(read_json(folder + "/golden.json")) {
    base = golden_folder + golden["base"].get<std::string>();
    config.peft.path = folder;
    complete_adapter_config(config);
    if (with_encoder) config.peft = section_of_encoder(folder);
    config.optimizer = adamw_of_adapters();
    model = model_of_config(config, load_model_config(base));
  }

  GoldenSettings settings() const {
    GoldenSettings all = settings_of_adapter(model, folder, config.optimizer);
    all.read = [this](const Parameter& parameter, Operations& operations, Tensor& values) {
      if (parameter.is_saved) read(parameter, operations, values);
      return parameter.is_saved;
    };
    return all;
  }

  void read(const Parameter& parameter, Operations& operations, Tensor& weight) const {
    if (!model.prompt.has_encoder()) return AdapterFolder(folder).read(model, parameter, operations, weight);
    const SafetensorsFile file(folder + "/encoder.safetensors");
    REQUIRE(file.find(own_name(parameter.name)).shape == parameter.shape.to_vector());
    const std::vector<float> values = tensor_in(file, own_name(parameter.name));
    operations.upload(values, weight);
  }

  std::string folder, base;
  nlohmann::json golden;
  Config config;
  ModelSpec model;
};

// The values of a parameter where they stand in the file's tensor.
void put_in_file_order(const PromptCase& of, const std::string& name, const std::vector<float>& own,
                       std::vector<float>& all) {
  for (const Parameter& parameter : model_parameters(of.model)) {
    if (parameter.name != name) continue;
    REQUIRE(static_cast<int64_t>(own.size()) == parameter.shape.numel());
    for_each_run(parameter_in_prompt_file(of.model, parameter), 0, parameter.shape.numel(),
                 [&](const TensorRun& run) {
                   std::copy_n(own.begin() + run.held, run.count, all.begin() + run.first);
                 });
  }
}

}  // namespace

TEST_CASE("virtual tokens that peft wrote have its logits", "[peft][prompt][golden]") {
  std::vector<std::string> all = prompt_cases;
  all.insert(all.end(), encoder_cases.begin(), encoder_cases.end());
  const PromptCase each(GENERATE_COPY(from_range(all)));
  CAPTURE(each.folder);
  check_golden_logits(each.model, each.base, each.folder, each.golden["logits"]);
}

TEST_CASE("virtual tokens that peft wrote have its gradients", "[peft][prompt][golden]") {
  const PromptCase each(GENERATE(from_range(prompt_cases)));
  CAPTURE(each.folder);
  GoldenTrainer trainer(each.base, two_threads(), {}, each.settings());
  const nlohmann::json base = read_json(each.base + "/golden.json");
  const double loss = trainer.gradients_of({batch_of(each.model, base["batch"])});
  CHECK(loss == Approx(each.golden["loss"].get<double>()).epsilon(1e-5));
  std::vector<float> all(static_cast<size_t>(prompt_in_file(each.model).shape.numel()), NAN);
  for (const auto& [name, gradient] : trainer.gradients_by_name())
    put_in_file_order(each, name, gradient, all);
  CHECK(relative_error(all, tensor_in(SafetensorsFile(each.folder + "/gradients.safetensors"),
                                      "embedding.weight")) < 1e-4);
}

namespace {

void check_training(const PromptCase& each) {
  GoldenTrainer trainer(each.base, two_threads(), {}, each.settings());
  check_golden_losses(trainer, each.model, each.base, each.golden["losses"], 1e-4);
  const Checkpoint trained(
      std::make_shared<const MemoryCheckpoint>(20, nlohmann::json::object(), trainer.state().snapshot()));
  const PromptSource source(trained, each.model);
  std::vector<float> found(static_cast<size_t>(prompt_in_file(each.model).shape.numel()));
  source.read(0, 0, found);
  CHECK(relative_error(
            found, tensor_in(SafetensorsFile(each.folder + "/trained.safetensors"), prompt_tensor)) < 1e-3);
}

}  // namespace

TEST_CASE("20 steps of virtual tokens have peft's losses and end with its weights",
          "[peft][prompt][golden]") {
  const PromptCase each(GENERATE(from_range(prompt_cases)));
  CAPTURE(each.folder);
  check_training(each);
}

TEST_CASE("20 steps of an encoder of virtual tokens have peft's losses and end with what it gives there",
          "[peft][prompt][golden]") {
  const PromptCase each(GENERATE(from_range(encoder_cases)), true);
  CAPTURE(each.folder);
  check_training(each);
}

TEST_CASE("an encoder of virtual tokens has peft's gradients", "[peft][prompt][golden]") {
  const PromptCase each(GENERATE(from_range(encoder_cases)), true);
  CAPTURE(each.folder);
  GoldenTrainer trainer(each.base, two_threads(), {}, each.settings());
  const nlohmann::json base = read_json(each.base + "/golden.json");
  const double loss = trainer.gradients_of({batch_of(each.model, base["batch"])});
  CHECK(loss == Approx(each.golden["loss"].get<double>()).epsilon(1e-5));
  const SafetensorsFile expected(each.folder + "/gradients.safetensors");
  size_t compared = 0;
  for (const auto& [name, gradient] : trainer.gradients_by_name()) {
    INFO(name);
    CHECK(relative_error(gradient, tensor_in(expected, own_name(name))) < 1e-4);
    ++compared;
  }
  CHECK(compared == expected.tensors().size());
}

}  // namespace collie::test
