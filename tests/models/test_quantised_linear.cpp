// A matrix of codes multiplies as the matrix of the numbers that they stand for, without ever being one.
#include "models/quantised_linear.hpp"

#include <algorithm>

#include "kernels/held_matrix.hpp"
#include "tests/catch.hpp"
#include "tests/models/support.hpp"

namespace collie::test {
namespace {

struct Codes {
  WholeQuantised whole;
  std::vector<float> numbers;
  QuantisedMatrix held;

  Codes(Operations& operations, const Quantisation& quantisation, int64_t out, int64_t in) {
    const std::vector<float> random = values(operations, random_tensor(operations, {out, in}, "weight", 0.5));
    whole = quantise(
        quantisation, out, in,
        [&](int64_t begin, std::span<float> some) {
          std::copy_n(random.begin() + begin, some.size(), some.begin());
        },
        [](int64_t count, int64_t piece, const auto& f) {
          for (int64_t first = 0; first < count; first += piece) f(first, std::min(count, first + piece));
        });
    numbers.resize(random.size());
    whole.decode(0, numbers);
    const HeldPart all{out, in, {{0, out}}, 0, in};
    held = make_quantised_matrix(operations, quantisation, all);
    fill_quantised_matrix(operations, whole, all, held);
  }
};

constexpr Quantisation nested_nf4{QuantisedKind::nf4, true, 64}, plain_fp4{QuantisedKind::fp4, false, 32},
    int8_rows{QuantisedKind::int8, false, 64};

}  // namespace

TEST_CASE("a quantised linear computes what a dense one does with its numbers", "[linear][quantised]") {
  const std::string device = GENERATE(from_range(all_devices));
  const Quantisation quantisation = GENERATE(nested_nf4, plain_fp4, int8_rows);
  const auto [out, in] = GENERATE(table<int64_t, int64_t>({{5, 7}, {700, 37}, {37, 700}}));
  const bool bias = GENERATE(false, true);
  CAPTURE(device, std::string(name(quantisation.kind)), out, in, bias);
  constexpr int64_t tokens = 6;
  const auto owner = make_operations(device);
  Operations& operations = *owner.operations;
  const Codes codes(operations, quantisation, out, in);
  Tensor weight = operations.empty({out, in}, Category::weights);
  operations.upload(codes.numbers, weight);
  const Tensor shift = random_tensor(operations, {out}, "bias", 0.5);
  const ParameterId bias_id = bias ? 1 : no_parameter;
  const auto quantised = make_dense_linear({0, bias_id, {}, {}, true}),
             dense = make_dense_linear({0, bias_id});
  ResidentSource of_codes({Tensor(), shift}, {{0, codes.held}}), of_numbers({weight, shift});
  const std::vector<Tensor> gradients{operations.empty({out, in}, Category::gradients),
                                      operations.empty({out}, Category::gradients)};
  AccumulatingSink sink(gradients);
  LayerContext context{operations, of_codes, &sink}, plain{operations, of_numbers, nullptr};

  const Tensor x = random_tensor(operations, {tokens, in + 3}, "x").columns(2, 2 + in),
               dy = random_tensor(operations, {tokens, out + 4}, "dy").columns(3, 3 + out);
  Tensor wide = random_tensor(operations, {tokens, out + 4}, "y");
  const std::vector<float> beside = values(operations, wide.columns(out + 1, out + 4));
  Tensor y = wide.columns(1, 1 + out), expected = operations.empty({tokens, out}, Category::workspace);
  LinearStash stash;
  quantised->forward(context, x, y, &stash);
  dense->forward(plain, x, expected, nullptr);
  const auto doubles_of = [&](const Tensor& tensor) {
    const std::vector<float> all = values(operations, tensor);
    return std::vector<double>(all.begin(), all.end());
  };
  CHECK(relative_error(values(operations, y), doubles_of(expected)) < 1e-6);
  CHECK(values(operations, wide.columns(out + 1, out + 4)) == beside);

  Tensor dx = operations.empty({tokens, in}, Category::workspace),
         expected_dx = operations.empty({tokens, in}, Category::workspace);
  for (const bool accumulate : {false, true}) {
    quantised->backward_input(context, dy, dx, accumulate, stash);
    dense->backward_input(plain, dy, expected_dx, accumulate, stash);
    CHECK(relative_error(values(operations, dx), doubles_of(expected_dx)) < 1e-6);
  }
  Tensor rows = operations.empty({2, in}, Category::workspace);
  quantised->copy_rows(context, 1, rows);
  CHECK(relative_error(values(operations, rows), doubles_of(weight.rows(1, 3))) < 1e-6);
  quantised->backward_weight(context, x, dy, stash);
  CHECK(sink.contributions(0) == 0);
  CHECK(sink.contributions(1) == (bias ? 1 : 0));
  if (!bias) return;
  Tensor sums = operations.empty({out}, Category::workspace);
  operations.column_sum(dy, sums, false);
  CHECK(values(operations, gradients[1]) == values(operations, sums));
}

TEST_CASE("a quantised linear holds a tile of numbers at a time, and codes for weights",
          "[linear][quantised]") {
  constexpr int64_t out = 4096, in = 1100, tokens = 3;
  const auto account = std::make_shared<MemoryAccount>();
  const auto operations = make_cpu_operations(1, account);
  const Codes codes(*operations, nested_nf4, out, in);
  const auto bytes = static_cast<double>(account->current(Category::weights));
  CHECK(bytes < 0.53 * out * in);
  ResidentSource source({Tensor()}, {{0, codes.held}});
  LayerContext context{*operations, source, nullptr};
  const auto linear = make_quantised_linear({0, no_parameter, {}, {}, true});
  const Tensor x = random_tensor(*operations, {tokens, in}, "x"),
               dy = random_tensor(*operations, {tokens, out}, "dy");
  Tensor y = operations->empty({tokens, out}, Category::activations),
         dx = operations->empty({tokens, in}, Category::activations);
  const auto held = account->current(Category::workspace), before = account->peak(Category::workspace);
  LinearStash stash;
  linear->forward(context, x, y, &stash);
  linear->backward_input(context, dy, dx, false, stash);
  CHECK(account->peak(Category::workspace) <= std::max(before, held + most_tile_elements * sizeof(float)));
}

}  // namespace collie::test
