// One block of ChatGLM2 and of GLM-4 against what their own code computed: hidden states after the last norm,
// of three tokens at once and of two more, one by one.
#include <cstring>
#include <filesystem>

#include "io/safetensors.hpp"
#include "tests/catch.hpp"
#include "tests/io/temporary_folder.hpp"
#include "tests/models/golden.hpp"
#include "tests/paths.hpp"

using namespace collie;
using namespace collie::test;
using nlohmann::json;

namespace {

constexpr double eps_of_glm2 = 1e-5, eps_of_glm4 = 1.5625e-7;

// The sizes of the recorded models.
ModelConfig recorded_config(double eps) {
  return parse_model_config(json{{"model_type", "chatglm"},
                                 {"hidden_size", 32},
                                 {"ffn_hidden_size", 48},
                                 {"num_layers", 1},
                                 {"num_attention_heads", 8},
                                 {"kv_channels", 4},
                                 {"multi_query_group_num", 2},
                                 {"multi_query_attention", true},
                                 {"padded_vocab_size", 5},
                                 {"add_qkv_bias", true},
                                 {"layernorm_epsilon", eps},
                                 {"seq_length", 16},
                                 {"apply_query_key_layer_scaling", true}},
                            "config.json");
}

std::vector<int32_t> integers(const SafetensorsFile& file, const std::string& name) {
  const std::vector<std::byte> bytes = file.bytes(name);
  std::vector<int32_t> values(bytes.size() / sizeof(int32_t));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

std::vector<float> floats(const SafetensorsFile& file, const std::string& name) {
  std::vector<float> values(static_cast<size_t>(Shape::from(file.find(name).shape).numel()));
  file.to_float(name, values);
  return values;
}

// The last norm of hidden states that have not had it.
std::vector<float> normalised(Operations& operations, const SafetensorsFile& file, double eps,
                              const Tensor& x) {
  Tensor weight = operations.empty({32}, Category::weights),
         y = operations.empty(x.shape(), Category::workspace);
  operations.upload(floats(file, "transformer.encoder.final_layernorm.weight"), weight);
  Tensor statistics = operations.empty({x.dim(0)}, operations.accumulation_dtype(), Category::workspace);
  operations.rms_norm(x, weight, 0, eps, y, statistics);
  return values(operations, y);
}

}  // namespace

TEST_CASE("ChatGLM: hidden states of a prompt and of two cached steps are those of its own code",
          "[golden][chatglm]") {
  const auto [name, eps] =
      GENERATE(table<std::string, double>({{"glm2", eps_of_glm2}, {"glm4", eps_of_glm4}}));
  const std::filesystem::path recorded = shared_data("chatglm/" + name + ".safetensors");
  if (!std::filesystem::exists(recorded)) {
    WARN("skipped: " << recorded << " is not here");
    return;
  }
  const std::string device = GENERATE(from_range(all_devices));
  CAPTURE(name, device);
  const TemporaryFolder folder;
  std::filesystem::copy_file(recorded, folder / "model.safetensors");
  const SafetensorsFile file(recorded);
  const auto owner = make_operations(device);
  Operations& operations = *owner.operations;
  Pipeline pipeline(operations, recorded_config(eps), {{0, 1, true, false}});  // without a head
  Stage& stage = pipeline.stages.front();
  read_weights(WeightFolder(folder.path().string()), stage.model->parameters(), operations, stage.weights);
  KeyValueCache cache;
  stage.model->start_sequence(operations, cache, 0, 5);
  int32_t position = 0;
  for (const char* step : {"1", "2", "3"}) {
    CAPTURE(step);
    MicroBatch batch;
    batch.tokens = integers(file, std::string("expected.ids_") + step);
    for (size_t i = 0; i < batch.tokens.size(); ++i) batch.positions.push_back(position++);
    batch.document_starts = {0, static_cast<int32_t>(batch.tokens.size())};
    LayerContext context{operations, *stage.source, nullptr};
    const Tensor hidden = stage.model->decode(context, batch, {}, cache, {0});
    const std::vector<float> found = normalised(operations, file, eps, hidden),
                             expected = floats(file, std::string("expected.hidden_") + step);
    REQUIRE(found.size() == expected.size());
    float worst = 0;
    for (size_t i = 0; i < found.size(); ++i) worst = std::max(worst, std::abs(found[i] - expected[i]));
    CHECK(worst < 1e-4f);
  }
}
