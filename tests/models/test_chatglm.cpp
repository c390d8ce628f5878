// One block of ChatGLM-6B, of ChatGLM2 and of GLM-4 against what their own code computed: hidden states after
// the last norm, of three tokens at once and of two more, one by one.
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

// ChatGLM-6B: the prompt is a token, the blank and the start token.
ModelConfig recorded_chatglm_6b() {
  return parse_model_config(json{{"model_type", "chatglm"},
                                 {"hidden_size", 32},
                                 {"inner_hidden_size", 128},
                                 {"num_layers", 1},
                                 {"num_attention_heads", 8},
                                 {"vocab_size", 5},
                                 {"position_encoding_2d", true},
                                 {"gmask_token_id", 1},
                                 {"bos_token_id", 2},
                                 {"mask_token_id", 3},
                                 {"max_sequence_length", 16},
                                 {"layernorm_epsilon", 1e-5}},
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

struct Recorded {
  std::string name;
  ModelConfig config;
  std::string last_norm;
};

std::vector<Recorded> all_recorded() {
  return {{"glm", recorded_chatglm_6b(), "transformer.final_layernorm"},
          {"glm2", recorded_config(eps_of_glm2), "transformer.encoder.final_layernorm"},
          {"glm4", recorded_config(eps_of_glm4), "transformer.encoder.final_layernorm"}};
}

// The last norm of hidden states that have not had it.
std::vector<float> normalised(Operations& operations, const SafetensorsFile& file, const Recorded& recorded,
                              const Tensor& x) {
  const auto load = [&](const std::string& kind) {
    Tensor tensor = operations.empty({32}, Category::weights);
    operations.upload(floats(file, recorded.last_norm + kind), tensor);
    return tensor;
  };
  const NormSettings& norm = recorded.config.norm;
  const bool is_layer = norm.kind == NormKind::layer;
  Tensor y = operations.empty(x.shape(), Category::workspace);
  Tensor statistics = operations.empty(is_layer ? Shape{x.dim(0), 2} : Shape{x.dim(0)},
                                       operations.accumulation_dtype(), Category::workspace);
  if (is_layer)
    operations.layer_norm(x, load(".weight"), load(".bias"), norm.eps, y, statistics);
  else
    operations.rms_norm(x, load(".weight"), 0, norm.eps, y, statistics);
  return values(operations, y);
}

// One stage without a head, and a sequence that it is decoding.
struct Decoding {
  Decoding(Operations& the_operations, const ModelSpec& spec, const SafetensorsFile& file)
      : operations(the_operations),
        prefix(static_cast<int32_t>(spec.prompt.tokens)),
        model(make_stage_model(spec, {0, 1, true, false}, operations)) {
    const TemporaryFolder folder;
    std::filesystem::copy_file(file.path(), folder / "model.safetensors");
    const WeightFolder weights_of_file(folder.path().string());
    for (const Parameter& parameter : model->parameters()) {
      weights.push_back(operations.empty(parameter.shape, Category::weights));
      std::vector<Tensor> own{weights.back()};
      if (parameter.name.starts_with(prompt_tensor))
        operations.upload(recorded_prefix(file), own.front());
      else
        read_weights(weights_of_file, {parameter}, operations, own);
    }
    source = std::make_unique<ResidentSource>(weights);
    model->start_sequence(operations, cache, 0, 5);
  }

  // Keys [v, heads · head_dim], and values below them; recorded as [2, heads, v, head_dim].
  static std::vector<float> recorded_prefix(const SafetensorsFile& file) {
    const std::vector<int64_t> shape = file.find("expected.prefix_key_values").shape;
    const std::vector<float> recorded = floats(file, "expected.prefix_key_values");
    const int64_t heads = shape[1], v = shape[2], head_dim = shape[3];
    std::vector<float> rows(recorded.size());
    for (int64_t i = 0; i < static_cast<int64_t>(rows.size()); ++i) {
      const int64_t channel = i % head_dim, token = i / head_dim % v, head = i / head_dim / v % heads,
                    which = i / head_dim / v / heads;
      rows[static_cast<size_t>(((which * v + token) * heads + head) * head_dim + channel)] =
          recorded[static_cast<size_t>(i)];
    }
    return rows;
  }

  // The next tokens.
  Tensor decode(std::vector<int32_t> tokens) {
    MicroBatch batch = empty_micro_batch();
    batch.tokens = std::move(tokens);
    for (size_t i = 0; i < batch.tokens.size(); ++i) batch.positions.push_back(prefix + position++);
    batch.document_starts.push_back(static_cast<int32_t>(batch.tokens.size()));
    LayerContext context{operations, *source, nullptr};
    return model->decode(context, batch, {}, cache, {0});
  }

  Operations& operations;
  int32_t prefix, position = 0;
  std::unique_ptr<StageModel> model;
  std::vector<Tensor> weights;
  std::unique_ptr<ParameterSource> source;
  KeyValueCache cache;
};

// The largest difference of what was recorded of a model, in all of its steps.
void check_recorded(const Recorded& recorded, int64_t prefix, const std::string& device, float tolerance) {
  const std::filesystem::path path = shared_data("chatglm/" + recorded.name + ".safetensors");
  if (!std::filesystem::exists(path)) {
    WARN("skipped: " << path << " is not here");
    return;
  }
  CAPTURE(recorded.name, device);
  const SafetensorsFile file(path);
  const auto owner = make_operations(device);
  ModelSpec spec(recorded.config);
  if (prefix > 0) spec.prompt = {PromptKind::prefix, prefix};
  Decoding decoding(*owner.operations, spec, file);
  for (const char* step : {"1", "2", "3"}) {
    CAPTURE(step);
    const Tensor hidden = decoding.decode(integers(file, std::string("expected.ids_") + step));
    const std::vector<float> found = normalised(*owner.operations, file, recorded, hidden),
                             expected = floats(file, std::string("expected.hidden_") + step);
    REQUIRE(found.size() == expected.size());
    float worst = 0;
    for (size_t i = 0; i < found.size(); ++i) worst = std::max(worst, std::abs(found[i] - expected[i]));
    CHECK(worst < tolerance);
  }
}

}  // namespace

TEST_CASE("ChatGLM: hidden states of a prompt and of two cached steps are those of its own code",
          "[golden][chatglm]") {
  const std::string device = GENERATE(from_range(all_devices));
  for (const Recorded& recorded : all_recorded()) check_recorded(recorded, 0, device, 1e-4f);
}

// The prefix was rounded to float16 where it was recorded.
TEST_CASE("ChatGLM-6B: the same with the prefix of P-tuning v2, which takes no positions",
          "[golden][chatglm][prompt]") {
  const std::string device = GENERATE(from_range(all_devices));
  check_recorded({"glm_ptuning_v2", recorded_chatglm_6b(), "transformer.final_layernorm"}, 5, device, 5e-4f);
}
