// A prefix of P-tuning v2, as ChatGLM-6B's own code writes it, as an adapter: against what that code
// computed.
#include "peft/ptuning_v2.hpp"

#include <cstring>
#include <filesystem>

#include "io/safetensors.hpp"
#include "models/weights_io.hpp"
#include "peft/adapter_config.hpp"
#include "peft/adapter_folder.hpp"
#include "tests/catch.hpp"
#include "tests/io/temporary_folder.hpp"
#include "tests/models/messages.hpp"
#include "tests/models/support.hpp"
#include "tests/paths.hpp"

namespace collie::test {
namespace {

using nlohmann::json;

constexpr int64_t glm_heads = 8, glm_head_dim = 4, glm_hidden = glm_heads * glm_head_dim, glm_v = 5,
                  glm_vocabulary = 5;

json recorded_model() {
  return {{"model_type", "chatglm"},
          {"hidden_size", glm_hidden},
          {"inner_hidden_size", 128},
          {"num_layers", 1},
          {"num_attention_heads", glm_heads},
          {"vocab_size", glm_vocabulary},
          {"gmask_token_id", 1},
          {"bos_token_id", 2},
          {"mask_token_id", 3},
          {"max_sequence_length", 16}};
}

std::vector<float> floats_in(const SafetensorsFile& file, const std::string& name) {
  std::vector<float> values(static_cast<size_t>(Shape::from(file.find(name).shape).numel()));
  file.to_float(name, values);
  return values;
}

// The authors' folder of a prefix of one block: [v, 2 · hidden].
void write_ptuning_v2(const TemporaryFolder& folder, const std::vector<float>& prefix,
                      const json& changes = json::object()) {
  json config = recorded_model();
  config.update({{"pre_seq_len", glm_v}, {"prefix_projection", false}});
  config.update(changes);
  folder.write("config.json", config.dump());
  const std::vector<SafetensorsItem> items = {
      {ptuning_v2_tensor, "F32", {glm_v, 2 * glm_hidden}, [&] { return std::as_bytes(std::span(prefix)); }}};
  write_safetensors(folder / "model.safetensors", items);
}

ModelSpec with_prefix(ModelConfig config) {
  ModelSpec model(std::move(config));
  model.prompt = {PromptKind::prefix, glm_v};
  model.trained = {std::string(prompt_tensor) + ".*"};
  return model;
}

// [2, heads, v, head_dim], as it is recorded, as the tensor in the folder.
std::vector<float> rows_of_prefix(const std::vector<float>& recorded) {
  std::vector<float> rows(recorded.size());
  size_t at = 0;
  for (int64_t half = 0; half < 2; ++half)
    for (int64_t head = 0; head < glm_heads; ++head)
      for (int64_t token = 0; token < glm_v; ++token)
        for (int64_t channel = 0; channel < glm_head_dim; ++channel)
          rows[static_cast<size_t>(((token * 2 + half) * glm_heads + head) * glm_head_dim + channel)] =
              recorded[at++];
  return rows;
}

}  // namespace

TEST_CASE("a folder of P-tuning v2 is a prefix, and gives the logits of ChatGLM-6B's own code",
          "[peft][prompt][chatglm]") {
  const std::filesystem::path path = shared_data("chatglm/glm_ptuning_v2.safetensors");
  if (!std::filesystem::exists(path)) {
    WARN("skipped: " << path << " is not here");
    return;
  }
  const SafetensorsFile recorded(path);
  const TemporaryFolder base, folder;
  std::filesystem::copy_file(path, base / "model.safetensors");
  write_ptuning_v2(folder, rows_of_prefix(floats_in(recorded, "expected.prefix_key_values")));
  const PeftSection peft = read_adapter_config(folder.path().string());
  CHECK(peft.type == "prefix_tuning");
  REQUIRE(peft.num_virtual_tokens == glm_v);
  const ModelSpec model = with_prefix(parse_model_config(recorded_model(), "config.json"));
  const AdapterFolder adapter(folder.path().string());
  adapter.check(model);
  const NamedOperations owner = make_operations("cpu");
  Operations& operations = *owner.operations;
  const auto stage = make_stage_model(model, {0, 1, true, true}, operations);
  std::vector<Tensor> weights = like(operations, stage->parameters(), NAN);
  for (size_t i = 0; i < weights.size(); ++i) {
    std::vector<Tensor> one{weights[i]};
    if (stage->parameters()[i].is_saved)
      adapter.read(model, stage->parameters()[i], operations, weights[i]);
    else
      read_weights(WeightFolder(base.path().string()), {stage->parameters()[i]}, operations, one);
  }
  ResidentSource source(weights);
  KeyValueCache cache;
  stage->start_sequence(operations, cache, 0, 5);
  const std::vector<float> embedding = floats_in(recorded, "transformer.word_embeddings.weight");
  int32_t position = glm_v;
  for (const auto& [step, tokens] : {std::pair("1", std::vector<int32_t>{0, 1, 2}), {"2", {3}}, {"3", {4}}}) {
    CAPTURE(step);
    MicroBatch batch = empty_micro_batch();
    batch.tokens = tokens;
    for (size_t i = 0; i < tokens.size(); ++i) batch.positions.push_back(position++);
    batch.document_starts.push_back(static_cast<int32_t>(tokens.size()));
    LayerContext context{operations, source, nullptr};
    const std::vector<float> found = values(operations, stage->decode(context, batch, {}, cache, {0}));
    const std::vector<float> states = floats_in(recorded, std::string("expected.hidden_") + step);
    const float* const last = states.data() + states.size() - glm_hidden;
    REQUIRE(found.size() == static_cast<size_t>(glm_vocabulary));
    for (int64_t id = 0; id < glm_vocabulary; ++id) {
      double logit = 0;
      for (int64_t i = 0; i < glm_hidden; ++i)
        logit += static_cast<double>(last[i]) *
                 static_cast<double>(embedding[static_cast<size_t>(id * glm_hidden + i)]);
      CHECK(static_cast<double>(found[static_cast<size_t>(id)]) == Approx(logit).margin(2e-3).epsilon(0));
    }
  }
}

TEST_CASE("a prefix of P-tuning v2 is read by blocks, as peft's is", "[peft][prompt][chatglm]") {
  const TemporaryFolder folder;
  std::vector<float> rows(static_cast<size_t>(glm_v * 2 * glm_hidden));
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<float>(i);
  write_ptuning_v2(folder, rows);
  const ModelSpec model = with_prefix(parse_model_config(recorded_model(), "config.json"));
  const AdapterFolderSource source({"", folder.path().string()}, model);
  REQUIRE(source.slices().size() == 1);
  std::vector<float> block(rows.size());  // keys, and values below them
  source.read(0, 0, block);
  for (int64_t token = 0; token < glm_v; ++token)
    for (int64_t i = 0; i < glm_hidden; ++i) {
      CHECK(block[static_cast<size_t>(token * glm_hidden + i)] ==
            rows[static_cast<size_t>(token * 2 * glm_hidden + i)]);
      CHECK(block[static_cast<size_t>((glm_v + token) * glm_hidden + i)] ==
            rows[static_cast<size_t>((token * 2 + 1) * glm_hidden + i)]);
    }
}

TEST_CASE("what of P-tuning v2 cannot be read is refused by name", "[peft][prompt][chatglm]") {
  const std::vector<float> rows(static_cast<size_t>(glm_v * 2 * glm_hidden), 0.5f);
  const TemporaryFolder projected, plain, other;
  write_ptuning_v2(projected, rows, {{"prefix_projection", true}});
  check_says(message_of([&] { read_adapter_config(projected.path().string()); }),
             {"config.json", "prefix_projection is true", "false is right"});
  write_ptuning_v2(plain, rows, {{"pre_seq_len", nullptr}});
  check_says(message_of([&] { read_adapter_config(plain.path().string()); }), {"adapter_config.json"});
  write_ptuning_v2(other, rows);
  ModelConfig config = tiny_config();
  config.num_hidden_layers = 1;
  config.num_key_value_heads = glm_heads;
  config.num_attention_heads = glm_heads;
  check_says(message_of([&] { AdapterFolder(other.path().string()).check(with_prefix(config)); }),
             {ptuning_v2_tensor, "ChatGLM-6B alone", "llama"});
  const ModelSpec longer = [&] {
    json two = recorded_model();
    two["num_layers"] = 2;
    return with_prefix(parse_model_config(two, "config.json"));
  }();
  check_says(message_of([&] { AdapterFolder(other.path().string()).check(longer); }),
             {ptuning_v2_tensor, "[5, 64]", "[5, 128]"});
}

}  // namespace collie::test
