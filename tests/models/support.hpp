// What the tests of models/ share: small models, weights, gradients, comparisons, finite differences.
#pragma once

#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/random.hpp"
#include "kernels/operations.hpp"
#include "models/accumulating_sink.hpp"
#include "models/model_config.hpp"
#include "models/resident_source.hpp"
#include "models/stage_model.hpp"
#include "tests/catch.hpp"

namespace collie::test {

struct NamedOperations {
  std::string name;
  std::unique_ptr<Operations> operations;
};

inline const std::vector<std::string> all_devices = {"reference", "cpu"};

// "reference" (double) or "cpu" (fp32); a fresh account each.
inline NamedOperations make_operations(const std::string& name) {
  auto account = std::make_shared<MemoryAccount>();
  if (name == "reference") return {name, make_reference_operations(std::move(account))};
  return {name, make_cpu_operations(2, std::move(account))};
}

// The stages of a model of two blocks.
inline const std::vector<StageRange> one_stage = {{0, 2, true, true}};
inline const std::vector<StageRange> two_stages = {{0, 1, true, false}, {1, 2, false, true}};

// Grouped queries, biases, two blocks; everything tiny.
inline ModelConfig tiny_config(bool tied = false) {
  ModelConfig config;
  config.hidden_size = 8;
  config.intermediate_size = 10;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 4;
  config.num_key_value_heads = 2;
  config.head_dim = 4;
  config.vocab_size = 11;
  config.max_position_embeddings = 64;
  config.norm.eps = 1e-5;
  config.tie_word_embeddings = tied;
  config.qkv_bias = config.output_bias = config.mlp_bias = true;
  return config;
}

// Other angles for documents of more than `original` tokens.
inline RopeScaling longrope_of(int64_t head_dim, int64_t original) {
  RopeScaling scaling{.kind = RopeScalingKind::longrope, .factor = 4, .original_positions = original};
  scaling.attention_factor = 1.1;
  for (int64_t i = 0; i < head_dim / 2; ++i) {
    scaling.short_factors.push_back(1 + 0.1 * static_cast<double>(i));
    scaling.long_factors.push_back(2 + static_cast<double>(i));
  }
  return scaling;
}

// Makes the blocks those of a family; the sizes stay, but for key/value heads where there are no groups.
inline ModelConfig as_family(ModelConfig config, const std::string& family) {
  config.model_type = family;
  if (family == "qwen2" || family == "qwen3") config.output_bias = config.mlp_bias = false;
  config.query_key_norm = family == "qwen3" || family == "gemma3_text";
  if (family.starts_with("internlm")) config.mlp_bias = false;
  if (family == "mistral" || family == "phi3") config.qkv_bias = config.output_bias = config.mlp_bias = false;
  if (family == "phi3") config.rope_scaling = longrope_of(config.head_dim, 12);
  if (family.starts_with("gemma")) {
    config.norm.weight_offset = 1;
    config.activation = Activation::gelu_tanh;
    config.embedding_scale = 3;
    config.output_bias = config.mlp_bias = config.qkv_bias = false;
  }
  // Caps that bend, scales and rotary bases of blocks. Windows have tests of their own.
  if (family == "gemma2") {
    config.blocks.assign(static_cast<size_t>(config.num_hidden_layers), {.score_scale = 0.4, .soft_cap = 2});
    config.logit_soft_cap = 1.5;
  }
  if (family == "gemma3_text") {
    config.blocks.assign(static_cast<size_t>(config.num_hidden_layers), {.score_scale = 0.4});
    config.blocks.back().rope_theta = 100;
  }
  if (family == "glm" || family == "glm4" || family == "chatglm") {
    config.output_bias = config.mlp_bias = false;
    config.rotary_dim = config.head_dim / 2;
    config.rotary_pairs = RotaryPairs::neighbours;
  }
  if (family == "falcon") {
    config.norm = {NormKind::layer, 1e-5, 0, true};
    config.gated_mlp = false;
    config.activation = Activation::gelu;
    config.parallel_branches = config.one_norm = true;
  }
  if (family == "starcoder2") {
    config.norm = {NormKind::layer, 1e-5, 0, true};
    config.gated_mlp = false;
    config.activation = Activation::gelu_tanh;
  }
  if (family == "chatglm_6b") {
    config.num_key_value_heads = config.num_attention_heads;
    config.head_dim = config.hidden_size / config.num_attention_heads;
    config.norm = {NormKind::layer, 1e-5, 0, true};
    config.gated_mlp = false;
    config.activation = Activation::gelu_tanh;
    config.rotary_dim = config.head_dim / 2;
    config.half_frequencies = true;
    config.residual_scale = std::sqrt(2.0 * static_cast<double>(config.num_hidden_layers));
    const auto tokens = static_cast<int32_t>(config.vocab_size);
    config.blanks = {tokens - 1, tokens - 2, tokens - 3};
  }
  const bool of_gptj = family == "gptj" || family == "codegen" || family == "moss";
  if (family != "gpt2" && family != "gpt_neox" && !of_gptj) return config;
  config.num_key_value_heads = config.num_attention_heads;
  config.head_dim = config.hidden_size / config.num_attention_heads;
  config.norm = {NormKind::layer, 1e-5, 0, true};
  config.gated_mlp = false;
  config.activation = family == "gpt2" ? Activation::gelu_tanh : Activation::gelu;
  if (family == "gpt2") {
    config.positions = Positions::learned;
  } else {
    config.parallel_branches = true;
    config.rotary_dim = 2;
  }
  if (of_gptj) {
    config.qkv_bias = config.output_bias = false;
    config.head_bias = true;
    config.rotary_pairs = RotaryPairs::neighbours;
  }
  return config;
}

// Values of deviation `scale` around `offset`, that depend on `purpose` alone.
inline void randomise(Operations& operations, Tensor& x, const std::string& purpose, double scale = 1,
                      double offset = 0) {
  const RandomStream stream(random_key(1, purpose));
  std::vector<float> numbers(static_cast<size_t>(x.numel()));
  for (size_t i = 0; i < numbers.size(); ++i)
    numbers[i] = static_cast<float>(offset + scale * stream.normal(i));
  operations.upload(numbers, x);
}

inline Tensor random_tensor(Operations& operations, const Shape& shape, const std::string& purpose,
                            double scale = 1, double offset = 0) {
  Tensor x = operations.empty(shape, Category::workspace);
  randomise(operations, x, purpose, scale, offset);
  return x;
}

inline std::vector<Tensor> random_weights(Operations& operations, const std::vector<Parameter>& parameters) {
  std::vector<Tensor> weights;
  for (const Parameter& parameter : parameters) {
    const bool norm = parameter.initialisation == Initialisation::ones;
    weights.push_back(
        random_tensor(operations, parameter.shape, parameter.name, norm ? 0.2 : 0.3, norm ? 1.0 : 0.0));
  }
  return weights;
}

inline std::vector<Tensor> like(Operations& operations, const std::vector<Parameter>& parameters,
                                double value) {
  std::vector<Tensor> tensors;
  for (const Parameter& parameter : parameters) {
    tensors.push_back(operations.empty(parameter.shape, Category::gradients));
    operations.fill(tensors.back(), value);
  }
  return tensors;
}

// Documents of the given lengths with random tokens; the next token is the label, each document's last label
// random.
inline MicroBatch make_batch(const std::vector<int>& lengths, int64_t vocab, const std::string& purpose) {
  const RandomStream stream(random_key(2, purpose));
  MicroBatch batch;
  batch.document_starts = {0};
  uint64_t draw = 0;
  for (const int length : lengths) {
    batch.first_tokens.push_back(1000 + static_cast<int64_t>(batch.tokens.size()));
    for (int position = 0; position < length; ++position) {
      batch.tokens.push_back(static_cast<int32_t>(stream.below(static_cast<uint64_t>(vocab), draw++)));
      if (position > 0) batch.labels.push_back(batch.tokens.back());
      batch.positions.push_back(position);
    }
    if (length > 0)
      batch.labels.push_back(static_cast<int32_t>(stream.below(static_cast<uint64_t>(vocab), draw++)));
    batch.document_starts.push_back(static_cast<int32_t>(batch.tokens.size()));
  }
  batch.target_tokens = static_cast<int64_t>(batch.labels.size());
  return batch;
}

// The same for a model that may fill in blanks: then each document has one, of either kind, and a start token
// in its first half; a document of one token has two.
inline MicroBatch make_batch_for(const ModelConfig& config, std::vector<int> lengths,
                                 const std::string& purpose) {
  if (!config.blanks.exist()) return make_batch(lengths, config.vocab_size, purpose);
  for (int& length : lengths)
    if (length == 1) length = 2;
  MicroBatch batch = make_batch(lengths, config.vocab_size - 3, purpose);
  for (size_t i = 0; i < lengths.size(); ++i) {
    if (lengths[i] == 0) continue;
    const auto begin = static_cast<size_t>(batch.document_starts[i]);
    const size_t context =
        1 + (static_cast<size_t>(lengths[i]) / 3 + i) % ((static_cast<size_t>(lengths[i]) + 1) / 2);
    batch.tokens[begin + context / 2] = i % 2 == 0 ? config.blanks.gmask : config.blanks.mask;
    batch.tokens[begin + context] = config.blanks.start;
  }
  return batch;
}

inline std::vector<float> values(Operations& operations, const Tensor& x) {
  std::vector<float> numbers(static_cast<size_t>(x.numel()));
  operations.download(x, numbers);
  return numbers;
}

inline std::vector<std::vector<float>> values(Operations& operations, const std::vector<Tensor>& all) {
  std::vector<std::vector<float>> numbers;
  for (const Tensor& x : all) numbers.push_back(values(operations, x));
  return numbers;
}

// What losses are added to: f64 [1], zero.
inline Tensor no_loss(Operations& operations) {
  Tensor sum = operations.empty({1}, DType::f64, Category::workspace);
  operations.fill(sum, 0);
  return sum;
}

inline std::vector<double> doubles(const Tensor& x) {
  REQUIRE(x.contiguous());
  return {x.data<double>(), x.data<double>() + x.numel()};
}

// d(f)/d(x) by central differences over every element of a contiguous reference tensor, restored afterwards.
inline std::vector<double> finite_differences(Tensor& x, const std::function<double()>& f) {
  REQUIRE(x.contiguous());
  constexpr double step = 1e-5;
  std::vector<double> gradient;
  for (int64_t i = 0; i < x.numel(); ++i) {
    double& element = x.data<double>()[i];
    const double kept = element;
    element = kept + step;
    const double above = f();
    element = kept - step;
    const double below = f();
    element = kept;
    gradient.push_back((above - below) / (2 * step));
  }
  return gradient;
}

// sum(x · weights): turns a layer's output into one number whose gradient for the output is `weights`.
inline double weighted_sum(const Tensor& x, const Tensor& weights) {
  const std::vector<double> a = doubles(x), b = doubles(weights);
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// |a - b| / max(|b|, floor), by Euclidean norm.
template <class A, class B>
double relative_error(const std::vector<A>& a, const std::vector<B>& b, double floor = 1e-12) {
  if (a.size() != b.size()) return INFINITY;
  double difference = 0, norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
    difference += (x - y) * (x - y);
    norm += y * y;
  }
  return std::sqrt(difference) / std::max(std::sqrt(norm), floor);
}

}  // namespace collie::test
