// Low-rank adapters against finite differences, and cut among ranks against one rank.
#include "peft/adapted_linear.hpp"

#include "models/pieces.hpp"
#include "tests/catch.hpp"
#include "tests/models/rank_harness.hpp"

namespace collie::test {
namespace {

// Sizes that four ranks can share.
ModelConfig config_of(const std::string& family, int64_t kv_heads) {
  ModelConfig config = tiny_config(family != "gpt_neox");
  config.hidden_size = 32;
  config.intermediate_size = 20;
  config.num_attention_heads = 8;
  config.num_key_value_heads = kv_heads;
  config.vocab_size = 24;
  return as_family(config, family);
}

// Every matrix has one, some have two; no two are alike.
ModelSpec adapted(const ModelConfig& config, double dropout) {
  ModelSpec model(config);
  int64_t number = 0;
  for (const Parameter& parameter : model_parameters(config)) {
    if (parameter.shape.rank() != 2 || parameter.is_table) continue;
    const std::string matrix = parameter.name.substr(0, parameter.name.rfind('.'));
    LowRankAdapter adapter;
    adapter.rank = 1 + number % 3;
    adapter.scale = 0.5 + 0.25 * static_cast<double>(number % 2);
    adapter.dropout = dropout;
    model.adapters[matrix].push_back(adapter);
    adapter.name = "second";
    if (number++ % 2 == 0) model.adapters[matrix].push_back(adapter);
  }
  return model;
}

// Every matrix has one with a magnitude.
ModelSpec with_magnitudes(const ModelConfig& config, double dropout) {
  ModelSpec model = adapted(config, dropout);
  for (auto& [matrix, adapters] : model.adapters) {
    adapters.resize(1);
    adapters.front().has_magnitude = true;
  }
  return model;
}

// Every matrix has triplets. `orthogonality`: of each.
ModelSpec with_triplets(const ModelConfig& config, double dropout, double orthogonality) {
  ModelSpec model = adapted(config, dropout);
  for (auto& [matrix, adapters] : model.adapters) {
    adapters.resize(1);
    adapters.front().rank += 1;
    adapters.front().has_values = true;
    adapters.front().orthogonality = orthogonality;
  }
  return model;
}

// Whether its bias is added to a sum over tensor ranks.
bool adds_bias_to_sum(const ModelConfig& config, const std::string& matrix) {
  bool has_bias = false;
  for (const Parameter& parameter : model_parameters(config))
    has_bias = has_bias || parameter.name == matrix + ".bias";
  for (const char* name : {"o_proj", "down_proj", "c_proj", "attention.dense", "dense_4h_to_h"})
    if (matrix.ends_with(name)) return has_bias;
  return false;
}

// Every matrix has a vector, of what it reads or of what it gives, where that can be.
ModelSpec with_vectors(const ModelConfig& config) {
  ModelSpec model(config);
  int64_t number = 0;
  for (const auto& [matrix, adapters] : adapted(config, 0).adapters)
    model.vectors[matrix] = {number++ % 2 == 0 || adds_bias_to_sum(config, matrix)};
  return model;
}

ModelSpec with_bottlenecks(const ModelConfig& config, BottleneckAdapter::Reads reads) {
  ModelSpec model(config);
  model.bottleneck =
      BottleneckAdapter{3, Activation::silu, 1.5, reads, reads != BottleneckAdapter::Reads::sum, false};
  return model;
}

ModelSpec of_kind(const std::string& kind, const ModelConfig& config, double dropout) {
  if (kind == "vectors") return with_vectors(config);
  if (kind == "given") return with_bottlenecks(config, BottleneckAdapter::Reads::given);
  if (kind == "sum") return with_bottlenecks(config, BottleneckAdapter::Reads::sum);
  if (kind == "input") return with_bottlenecks(config, BottleneckAdapter::Reads::input);
  if (kind == "triplets") return with_triplets(config, dropout, 0);
  if (kind == "orthogonal triplets") return with_triplets(config, dropout, 0.02);
  return kind == "magnitudes" ? with_magnitudes(config, dropout) : adapted(config, dropout);
}

// |G - I|, with G of the rows of x [rows, columns], or of its columns.
double distance_from_orthogonal(const std::vector<double>& x, int64_t rows, int64_t columns, bool by_rows) {
  const int64_t n = by_rows ? rows : columns, length = by_rows ? columns : rows;
  double squares = 0;
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) {
      double product = i == j ? -1 : 0;
      for (int64_t k = 0; k < length; ++k)
        product += by_rows
                       ? x[static_cast<size_t>(i * columns + k)] * x[static_cast<size_t>(j * columns + k)]
                       : x[static_cast<size_t>(k * columns + i)] * x[static_cast<size_t>(k * columns + j)];
      squares += product * product;
    }
  return std::sqrt(squares);
}

// Its gradient times `weight`, by finite differences.
std::vector<double> orthogonality_differences(const std::vector<double>& x, int64_t rows, int64_t columns,
                                              bool by_rows, double weight) {
  constexpr double step = 1e-5;
  std::vector<double> gradient;
  for (size_t i = 0; i < x.size(); ++i) {
    std::vector<double> above = x, below = x;
    above[i] += step;
    below[i] -= step;
    gradient.push_back(weight *
                       (distance_from_orthogonal(above, rows, columns, by_rows) -
                        distance_from_orthogonal(below, rows, columns, by_rows)) /
                       (2 * step));
  }
  return gradient;
}

double forward_loss(Rank& rank, const MicroBatch& batch) {
  const double sum = rank.forward(batch, 1);
  rank.stashes.clear();
  return sum;
}

}  // namespace

TEST_CASE("gradients of adapters and of what they wrap agree with finite differences",
          "[peft][differences]") {
  const auto recompute = GENERATE(Recompute::none, Recompute::selective, Recompute::full);
  const std::string kind = GENERATE("low-rank", "magnitudes", "triplets", "vectors", "given", "sum", "input");
  const double dropout = GENERATE(0.0, 0.3);
  CAPTURE(static_cast<int>(recompute), kind, dropout);
  const ModelSpec model = of_kind(kind, tiny_config(), dropout);
  Rank rank("reference", model, one_stage, {}, make_adapted_linear, {recompute, false});
  const MicroBatch batch = make_batch({3, 1, 4}, model.architecture.vocab_size, "tokens");
  rank.micro_batch(batch, 1);
  Rank::Stage& stage = rank.stages.front();
  const auto f = [&] { return forward_loss(rank, batch); };
  // Forward hands the head's gradient over once more, so what is compared is kept.
  std::vector<std::vector<double>> gradients;
  for (const Tensor& gradient : stage.gradients) gradients.push_back(numbers(*rank.operations, gradient));
  for (size_t i = 0; i < gradients.size(); ++i) {
    const Parameter& parameter = stage.model->parameters()[i];
    if (parameter.is_table) continue;
    // The lengths of a matrix's rows count as constants in backward, but not in differences.
    if (kind == "magnitudes" && parameter.shape.rank() == 2) continue;
    INFO(parameter.name);
    CHECK(relative_error(gradients[i], finite_differences(stage.weights[i], f), 1e-4) < 1e-6);
  }
}

TEST_CASE("adapters cut among ranks give the losses and gradients of one rank", "[peft][parallel]") {
  const std::string family = GENERATE("llama", "gpt2", "gpt_neox");
  const int64_t kv_heads = GENERATE(1, 2, 8);
  if (family != "llama" && kv_heads != 8) return;
  const auto [tensor, sequence, context] = GENERATE(
      table<int, bool, int>({{2, false, 1}, {4, false, 1}, {2, true, 1}, {1, false, 3}, {4, true, 2}}));
  const std::string kind =
      GENERATE("low-rank", "magnitudes", "orthogonal triplets", "vectors", "given", "sum", "input");
  const double dropout = GENERATE(0.0, 0.3);
  const bool drops = kind == "low-rank" || kind == "magnitudes" || kind == "orthogonal triplets";
  if (!drops && dropout > 0) return;
  if (kind == "sum" && family == "gpt_neox") return;  // refused
  CAPTURE(family, kv_heads, tensor, sequence, context, kind, dropout);
  const ModelSpec model = of_kind(kind, config_of(family, kv_heads), dropout);
  Grid one(model, two_stages, {}, make_adapted_linear);
  Grid grid(model, two_stages, {tensor, sequence, context}, make_adapted_linear);
  for (const std::vector<int>& lengths : std::vector<std::vector<int>>{{5, 3, 7}, {1}, {2, 19, 1}}) {
    const MicroBatch batch = make_batch(lengths, model.architecture.vocab_size, "tokens");
    const double expected = one.ranks[0]->micro_batch(batch, 0.05);
    CHECK(grid.sum_of_losses([&](Rank& rank) { return rank.micro_batch(batch, 0.05); }) ==
          Approx(expected).epsilon(1e-10));
  }
  const auto expected = one.gradients(), found = grid.gradients();
  REQUIRE(found.size() == expected.size());
  for (const auto& [name, gradient] : expected) {
    INFO(name);
    CHECK(relative_error(found.at(name), gradient, 1e-3) < 1e-10);
  }
}

TEST_CASE("the gradient of triplets has that of how far they are from orthogonal ones",
          "[peft][differences]") {
  constexpr double weight = 0.7;
  const ModelSpec plain = with_triplets(tiny_config(), 0, 0), model = with_triplets(tiny_config(), 0, weight);
  Rank without("reference", plain, one_stage, {}, make_adapted_linear),
      with("reference", model, one_stage, {}, make_adapted_linear);
  const MicroBatch batch = make_batch({3, 1, 4}, model.architecture.vocab_size, "tokens");
  CHECK(with.micro_batch(batch, 1) == without.micro_batch(batch, 1));  // it is not in the loss
  const Rank::Stage &stage = with.stages.front(), &other = without.stages.front();
  int compared = 0;
  for (size_t i = 0; i < stage.gradients.size(); ++i) {
    const Parameter& parameter = stage.model->parameters()[i];
    const std::vector<double> weights = numbers(*with.operations, stage.weights[i]);
    std::vector<double> expected = numbers(*without.operations, other.gradients[i]);
    const bool is_a = parameter.name.ends_with(".lora_A"), is_b = parameter.name.ends_with(".lora_B");
    if (is_a || is_b) {
      const std::vector<double> term =
          orthogonality_differences(weights, parameter.shape[0], parameter.shape[1], is_a, weight);
      for (size_t k = 0; k < term.size(); ++k) expected[k] += term[k];
      ++compared;
    }
    INFO(parameter.name);
    CHECK(relative_error(numbers(*with.operations, stage.gradients[i]), expected, 1e-3) < 1e-7);
  }
  CHECK(compared == 2 * static_cast<int>(model.adapters.size()));
}

TEST_CASE("adapters of a frozen model have the gradients that they have when all is trained", "[peft]") {
  ModelSpec model = adapted(config_of("llama", 2), 0.2);
  Grid all(model, two_stages, {2, true, 1}, make_adapted_linear);
  model.trained = {"*.lora_*"};
  Grid alone(model, two_stages, {2, true, 1}, make_adapted_linear);
  const MicroBatch batch = make_batch({5, 3, 7}, model.architecture.vocab_size, "tokens");
  all.sum_of_losses([&](Rank& rank) { return rank.micro_batch(batch, 0.05); });
  // In two halves, as schedules with split backward have it.
  alone.sum_of_losses([&](Rank& rank) {
    const double sum = rank.forward(batch, 0.05);
    rank.backward_input(batch);
    rank.backward_weight(batch);
    return sum;
  });
  const auto expected = all.gradients(), found = alone.gradients();
  for (const auto& [name, gradient] : expected) {
    if (name.find("lora_") == std::string::npos) continue;
    INFO(name);
    CHECK(found.at(name) == gradient);
  }
}

}  // namespace collie::test
