// The goldens that PyTorch made (tests/golden/make_model_golden.py), and models with their weights.
#pragma once

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "models/weights_io.hpp"
#include "tests/models/stage_harness.hpp"
#include "tests/paths.hpp"

namespace collie::test {

inline const std::string golden_folder = golden_file("");
inline const std::vector<std::string> checkpoints = {"llama_tied",
                                                     "llama_untied",
                                                     "llama_bias",
                                                     "gpt2",
                                                     "gpt2_untied",
                                                     "qwen2",
                                                     "qwen2_window",
                                                     "qwen3",
                                                     "gpt_neox",
                                                     "gemma",
                                                     "llama3",
                                                     "qwen2_yarn",
                                                     "mistral",
                                                     "mistral_yarn",
                                                     "gpt_neox_linear",
                                                     "phi3",
                                                     "phi3_longrope",
                                                     "internlm",
                                                     "internlm2",
                                                     "internlm2_bias",
                                                     "gemma2",
                                                     "gemma2_untied",
                                                     "gemma3_text",
                                                     "gemma3_text_untied",
                                                     "glm",
                                                     "glm4",
                                                     "chatglm",
                                                     "gptj",
                                                     "codegen",
                                                     "falcon",
                                                     "falcon_40b",
                                                     "falcon_11b",
                                                     "falcon_serial",
                                                     "chatglm_6b",
                                                     "starcoder2",
                                                     "starcoder2_plain",
                                                     "starcoder2_untied",
                                                     "starcoder2_window"};

inline nlohmann::json read_json(const std::string& file) {
  std::ifstream stream(file);
  INFO(file);
  REQUIRE(stream.good());
  return nlohmann::json::parse(stream);
}

// Documents {"tokens", "labels"} packed one after another.
inline MicroBatch pack(const nlohmann::json& documents) {
  MicroBatch batch;
  batch.document_starts = {0};
  for (const nlohmann::json& document : documents) {
    int32_t position = 0;
    for (const nlohmann::json& token : document["tokens"]) {
      batch.tokens.push_back(token.get<int32_t>());
      batch.positions.push_back(position++);
    }
    for (const nlohmann::json& label : document["labels"]) {
      batch.labels.push_back(label.get<int32_t>());
      batch.target_tokens += batch.labels.back() != ignored_label;
    }
    batch.document_starts.push_back(static_cast<int32_t>(batch.tokens.size()));
  }
  return batch;
}

// A pipeline with a checkpoint's weights; the tied head of a later stage gets a copy.
inline Pipeline load(Operations& operations, const std::string& folder,
                     const std::vector<StageRange>& ranges) {
  const ModelConfig config = load_model_config(folder);
  CHECK(check_weights(folder, config).empty());
  Pipeline pipeline(operations, config, ranges);
  for (Stage& stage : pipeline.stages)
    read_weights(WeightFolder(folder), stage.model->parameters(), operations, stage.weights);
  return pipeline;
}

// The logits of tokens first, first + 1, ...: [tokens - first, vocab], one row after another. The sequence is
// decoded token by token, but for the first ones, which come at once.
inline std::vector<float> logits_of(Pipeline& pipeline, const std::vector<int32_t>& tokens,
                                    size_t first = 0) {
  std::vector<KeyValueCache> caches(pipeline.stages.size());
  for (size_t i = 0; i < caches.size(); ++i)
    pipeline.stages[i].model->start_sequence(pipeline.operations, caches[i], 0,
                                             static_cast<int64_t>(tokens.size()));
  std::vector<float> all;
  for (size_t begin = 0, end = first + 1; end <= tokens.size(); begin = end++) {
    MicroBatch batch = empty_micro_batch();
    for (size_t t = begin; t < end; ++t) {
      batch.tokens.push_back(tokens[t]);
      batch.positions.push_back(static_cast<int32_t>(t));
    }
    batch.document_starts.push_back(static_cast<int32_t>(end - begin));
    Tensor x;
    for (size_t i = 0; i < pipeline.stages.size(); ++i) {
      LayerContext at{pipeline.operations, *pipeline.stages[i].source, nullptr};
      x = pipeline.stages[i].model->decode(at, batch, x, caches[i], {0});
    }
    const std::vector<float> row = values(pipeline.operations, x);
    all.insert(all.end(), row.begin(), row.end());
  }
  return all;
}

// One stage, or two.
inline std::vector<StageRange> ranges_of(const std::string& folder, bool cut) {
  return partition_stages(load_model_config(folder), cut ? 2 : 1, "parameters");
}

}  // namespace collie::test
