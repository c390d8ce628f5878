// What tests compare with goldens of adapters (tests/golden/make_peft_golden.py and its like): the logits of
// an adapter's folder, its gradients, and the losses of 20 steps.
#pragma once

#include "io/safetensors.hpp"
#include "peft/adapted_linear.hpp"
#include "peft/adapter_folder.hpp"
#include "tests/catch.hpp"
#include "tests/optim/golden_trainer.hpp"

namespace collie::test {

inline std::unique_ptr<Operations> two_threads() {
  return make_cpu_operations(2, std::make_shared<MemoryAccount>());
}

inline std::vector<float> tensor_in(const SafetensorsFile& file, const std::string& name) {
  std::vector<float> values(static_cast<size_t>(file.find(name).elements));
  file.to_float(name, values);
  return values;
}

// The optimizer that make_peft_golden.py trains adapters with.
inline OptimizerConfig adamw_of_adapters() {
  OptimizerConfig optimizer = golden_adamw();
  optimizer.options.set("lr", 1e-2);
  return optimizer;
}

// Of a model whose adapter begins as the folder has it. `model` must outlive what is made with them.
inline GoldenSettings settings_of_adapter(const ModelSpec& model, const std::string& folder,
                                          const OptimizerConfig& optimizer) {
  GoldenSettings all(optimizer);
  all.model = [&model](const ModelConfig&) { return model; };
  all.linears = make_adapted_linear;
  all.read = [&model, folder](const Parameter& parameter, Operations& operations, Tensor& values) {
    if (parameter.is_saved) AdapterFolder(folder).read(model, parameter, operations, values);
    return parameter.is_saved;
  };
  return all;
}

// The micro-batch of a golden's documents, with the virtual tokens that the model has.
inline MicroBatch batch_of(const ModelSpec& model, const nlohmann::json& documents) {
  return with_prompt(pack(documents), model.prompt, model.architecture.vocab_size);
}

// Decodes the sequences of base's golden.json, a token at a time, with the adapter in `folder`. logits
// [sequences][tokens][vocabulary]
inline void check_golden_logits(const ModelSpec& model, const std::string& base, const std::string& folder,
                                const nlohmann::json& logits) {
  CHECK_NOTHROW(AdapterFolder(folder).check(model));
  const auto operations = two_threads();
  const auto stage =
      make_stage_model(model, ranges_of(base, false)[0], *operations, {}, {}, make_adapted_linear);
  std::vector<Tensor> weights = like(*operations, stage->parameters(), NAN);
  for (size_t i = 0; i < weights.size(); ++i) {
    const Parameter& parameter = stage->parameters()[i];
    std::vector<Tensor> one{weights[i]};
    if (parameter.is_saved)
      AdapterFolder(folder).read(model, parameter, *operations, weights[i]);
    else
      read_weights(WeightFolder(base), {parameter}, *operations, one);
  }
  ResidentSource source(weights);
  const nlohmann::json sequences = read_json(base + "/golden.json")["sequences"];
  for (size_t s = 0; s < sequences.size(); ++s) {
    std::vector<float> expected, found;
    KeyValueCache cache;
    stage->start_sequence(*operations, cache, 0,
                          model.prompt.in_document() + static_cast<int64_t>(sequences[s].size()));
    for (size_t t = 0; t < sequences[s].size(); ++t) {
      MicroBatch token;
      token.tokens = {sequences[s][t].get<int32_t>()};
      token.labels = {ignored_label};
      token.positions = {static_cast<int32_t>(t)};
      token.document_starts = {0, 1};
      const MicroBatch batch = with_prompt(token, model.prompt, model.architecture.vocab_size, {t == 0});
      LayerContext context{*operations, source, nullptr};
      const std::vector<float> row = values(*operations, stage->decode(context, batch, {}, cache, {0}));
      found.insert(found.end(), row.begin(), row.end());
      for (const nlohmann::json& value : logits[s][t]) expected.push_back(value.get<float>());
    }
    REQUIRE(found.size() == expected.size());
    for (size_t i = 0; i < found.size(); ++i) {
      INFO("sequence " << s << ", logit " << i);
      REQUIRE(found[i] == Approx(expected[i]).margin(1e-4));
    }
  }
}

// The loss of base's `batch`, and the gradient of each parameter of the adapter in `folder`.
inline void check_golden_gradients(GoldenTrainer& trainer, const ModelSpec& model, const std::string& base,
                                   const std::string& folder, const nlohmann::json& loss) {
  const nlohmann::json golden = read_json(base + "/golden.json");
  CHECK(trainer.gradients_of({pack(golden["batch"])}) == Approx(loss.get<double>()).epsilon(1e-5));
  const SafetensorsFile expected(folder + "/gradients.safetensors");
  size_t compared = 0;
  for (const auto& [name, gradient] : trainer.gradients_by_name()) {
    const std::string in_file = name_in_adapter(model, name);
    INFO(in_file);
    CHECK(relative_error(gradient, tensor_in(expected, in_file)) < 1e-4);
    ++compared;
  }
  CHECK(compared == expected.tensors().size());
}

// Takes the 20 steps of base's golden.json.
inline void check_golden_losses(GoldenTrainer& trainer, const ModelSpec& model, const std::string& base,
                                const nlohmann::json& losses, double bound) {
  const nlohmann::json steps = read_json(base + "/golden.json")["steps"];
  for (size_t step = 0; step < 20; ++step) {
    std::vector<MicroBatch> batches;
    for (const nlohmann::json& documents : steps[step % steps.size()])
      batches.push_back(batch_of(model, documents));
    INFO("step " << step);
    CHECK(std::abs(trainer.step(batches) - losses[step].get<double>()) < bound);
  }
}

}  // namespace collie::test
