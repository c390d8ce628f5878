// Whole models against what PyTorch computed: see tests/golden/make_model_golden.py.
#include <algorithm>
#include <filesystem>

#include "io/safetensors.hpp"
#include "tests/catch.hpp"
#include "tests/models/golden.hpp"
#include "tests/paths.hpp"

using namespace collie;
using namespace collie::test;
using nlohmann::json;

TEST_CASE("logits agree with PyTorch", "[golden]") {
  const std::string name = GENERATE(from_range(checkpoints)), device = GENERATE(from_range(all_devices));
  CAPTURE(name, device);
  const auto owner = make_operations(device);
  const std::string folder = golden_folder + name;
  Pipeline pipeline = load(*owner.operations, folder, ranges_of(folder, false));
  const json golden = read_json(folder + "/golden.json");
  for (size_t s = 0; s < golden["sequences"].size(); ++s) {
    CAPTURE(s);
    std::vector<float> expected;
    for (const json& row : golden["logits"][s])
      for (const json& logit : row) expected.push_back(logit.get<float>());
    const size_t first = golden.contains("first") ? golden["first"][s].get<size_t>() : 0;
    const std::vector<float> found =
        logits_of(pipeline, golden["sequences"][s].get<std::vector<int32_t>>(), first);
    REQUIRE(found.size() == expected.size());
    float worst = 0;
    for (size_t i = 0; i < found.size(); ++i) worst = std::max(worst, std::abs(found[i] - expected[i]));
    CHECK(worst < 1e-5f);
  }
}

TEST_CASE("the loss and every parameter's gradient agree with PyTorch", "[golden]") {
  const std::string name = GENERATE(from_range(checkpoints)), device = GENERATE(from_range(all_devices));
  const bool cut = GENERATE(false, true);
  CAPTURE(name, device, cut);
  const auto owner = make_operations(device);
  const std::string folder = golden_folder + name;
  Pipeline pipeline = load(*owner.operations, folder, ranges_of(folder, cut));
  const json golden = read_json(folder + "/golden.json");
  const MicroBatch batch = pack(golden["batch"]);
  REQUIRE(batch.target_tokens == golden["target_tokens"].get<int64_t>());
  REQUIRE(batch.tokens.size() > 256);
  const auto targets = static_cast<double>(batch.target_tokens);
  const double loss = pipeline.micro_batch(batch, 1.0 / targets) / targets;
  CHECK(loss == Approx(golden["loss"].get<double>()).margin(1e-5).epsilon(0));
  CHECK(pipeline.evaluate(batch) / targets == Approx(loss).margin(1e-6).epsilon(0));

  const SafetensorsFile expected(folder + "/gradients.safetensors");
  const auto found = pipeline.gradients_by_name();
  CHECK(found.size() == expected.tensors().size());
  for (const auto& [parameter, gradient] : found) {
    std::vector<float> reference(gradient.size());
    expected.to_float(parameter, reference);
    CAPTURE(parameter);
    // The floor is for gradients that are rounding noise, such as a key bias's.
    CHECK(relative_error(gradient, reference, 1e-3) < 2e-5);
  }
}

TEST_CASE("stories260K: the loss and greedy decoding agree with PyTorch", "[golden][stories]") {
  const std::string folder = shared_data("stories260K");
  if (!std::filesystem::exists(folder)) {
    WARN("skipped: " << folder << " is not here");
    return;
  }
  const std::string device = GENERATE(from_range(all_devices));
  const bool cut = GENERATE(false, true);
  CAPTURE(device, cut);
  const auto owner = make_operations(device);
  Pipeline pipeline = load(*owner.operations, folder, ranges_of(folder, cut));
  const json golden = read_json(golden_folder + "stories260k.json");

  const auto tokens = golden["tokens"].get<std::vector<int32_t>>();
  const std::vector<int32_t> inputs(tokens.begin(), tokens.end() - 1),
      labels(tokens.begin() + 1, tokens.end());
  const MicroBatch batch = pack(json::array({{{"tokens", inputs}, {"labels", labels}}}));
  const double loss = pipeline.evaluate(batch) / static_cast<double>(batch.target_tokens);
  CHECK(loss == Approx(golden["loss"].get<double>()).margin(1e-5).epsilon(0));

  // Greedy decoding from BOS: PyTorch's ids fed back, so that one difference shows as one.
  const auto expected = golden["greedy"].get<std::vector<int32_t>>();
  std::vector<int32_t> fed = {1};
  fed.insert(fed.end(), expected.begin(), expected.end() - 1);
  const std::vector<float> logits = logits_of(pipeline, fed);
  const size_t vocab = logits.size() / fed.size();
  std::vector<int32_t> chosen;
  for (size_t t = 0; t < fed.size(); ++t) {
    const auto row = logits.begin() + static_cast<std::ptrdiff_t>(t * vocab);
    chosen.push_back(
        static_cast<int32_t>(std::max_element(row, row + static_cast<std::ptrdiff_t>(vocab)) - row));
  }
  CHECK(chosen == expected);
}
