// Adapters of quantised matrices, cut among ranks, against one rank, and against the numbers that the codes
// stand for.
#include "peft/adapted_linear.hpp"
#include "tests/catch.hpp"
#include "tests/models/rank_harness.hpp"

namespace collie::test {
namespace {

// Blocks end within rows, and within what a rank holds of them.
ModelSpec quantised_model(const std::string& family, const Quantisation& quantisation) {
  ModelConfig config = tiny_config(family != "gpt_neox");
  config.hidden_size = 40;
  config.intermediate_size = 28;
  config.num_attention_heads = 4;
  config.num_key_value_heads = family == "llama" ? 2 : 4;
  config.head_dim = 10;
  config.vocab_size = 24;
  ModelSpec model(as_family(config, family));
  model.quantisation = quantisation;
  model.trained = {"*.lora_*"};
  for (const Parameter& parameter : model_parameters(model))
    if (parameter.shape.rank() == 2 && !parameter.is_table) {
      LowRankAdapter adapter;
      adapter.rank = 2;
      adapter.start = AdapterStart::random;
      adapter.dropout = 0.2;
      model.adapters[parameter.name.substr(0, parameter.name.rfind('.'))] = {adapter};
    }
  return model;
}

constexpr Quantisation nf4_of_64{QuantisedKind::nf4, true, 64}, fp4_of_32{QuantisedKind::fp4, false, 32},
    int8_of_rows{QuantisedKind::int8, false, 64};

}  // namespace

TEST_CASE("a quantised base cut among ranks gives the losses and gradients of one rank",
          "[peft][quantised][parallel]") {
  const std::string family = GENERATE("llama", "gpt2", "gpt_neox");
  const Quantisation quantisation = GENERATE(nf4_of_64, fp4_of_32, int8_of_rows);
  const auto [tensor, sequence, context] = GENERATE(
      table<int, bool, int>({{2, false, 1}, {4, false, 1}, {2, true, 1}, {1, false, 3}, {4, true, 2}}));
  CAPTURE(family, std::string(name(quantisation.kind)), tensor, sequence, context);
  const ModelSpec model = quantised_model(family, quantisation);
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
  size_t compared = 0;
  for (const auto& [name, gradient] : expected) {
    if (name.find(".lora_") == std::string::npos) continue;
    INFO(name);
    CHECK(relative_error(found.at(name), gradient, 1e-3) < 1e-10);
    ++compared;
  }
  CHECK(compared > 0);
}

TEST_CASE("a quantised base is not what it is in numbers", "[peft][quantised]") {
  ModelSpec model = quantised_model("llama", nf4_of_64);
  const MicroBatch batch = make_batch({5, 3, 7}, model.architecture.vocab_size, "tokens");
  Rank codes("reference", model, one_stage, {}, make_adapted_linear);
  model.quantisation = {};
  Rank numbers("reference", model, one_stage, {}, make_adapted_linear);
  const double of_codes = codes.micro_batch(batch, 1), of_numbers = numbers.micro_batch(batch, 1);
  CHECK(of_codes != Approx(of_numbers).epsilon(1e-6));
  CHECK(of_codes == Approx(of_numbers).epsilon(0.2));
}

}  // namespace collie::test
