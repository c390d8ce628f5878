// What a step's end is made of, on every table: sums and losses that stay on the device, the step's outcome,
// and updates by a factor that only the device knows.
#include <bit>
#include <cstring>
#include <functional>
#include <future>

#include "kernels/clip_factor.hpp"
#include "tests/catch.hpp"
#include "tests/kernels/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

constexpr double infinite = std::numeric_limits<double>::infinity(),
                 not_a_number = std::numeric_limits<double>::quiet_NaN();

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

bool same_bits(const Outputs& a, const Outputs& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const auto& x, const auto& y) { return same_bits<float>(x, y); });
}

// Of so different sizes that each order of adding them has a sum of its own.
std::vector<double> uneven_doubles(size_t count, uint64_t seed) {
  const RandomStream stream(random_key(seed, "uneven doubles"));
  std::vector<double> values(count);
  for (size_t i = 0; i < count; ++i)
    values[i] = std::ldexp(stream.normal(2 * i), static_cast<int>(stream.below(60, 2 * i + 1)) - 30);
  return values;
}

std::vector<double> plain_sums(const std::vector<double>& values, const OrderedRuns& runs) {
  std::vector<double> sums;
  for (size_t i = 0; i + 1 < runs.starts.size(); ++i) {
    double sum = 0;
    for (int32_t run = runs.starts[i]; run < runs.starts[i + 1]; ++run)
      for (int32_t j = 0; j < runs.counts[static_cast<size_t>(run)]; ++j)
        sum += values[static_cast<size_t>(runs.firsts[static_cast<size_t>(run)] + j)];
    sums.push_back(sum);
  }
  return sums;
}

void sums_are_plain(const std::vector<double>& values, const OrderedRuns& runs) {
  const std::vector<double> expected = plain_sums(values, runs);
  on_every_table([&](Operations& ops) {
    Tensor sums = doubles(ops, std::vector<double>(expected.size(), not_a_number));
    ops.ordered_sums(doubles(ops, values), runs, sums);
    CHECK(same_bits(ops.read(sums).value(), expected));
  });
}

// Some sums of no run, some of many; runs of these lengths anywhere in the values.
OrderedRuns random_runs(size_t sums, size_t values, uint64_t seed) {
  constexpr int32_t lengths[] = {0, 1, 1, 1, 2, 31, 32, 33, 255, 256, 257, 512, 700};
  const RandomStream stream(random_key(seed, "runs"));
  uint64_t next = 0;
  const auto below = [&](size_t bound) { return stream.below(bound, next++); };
  OrderedRuns runs{{0}, {}, {}};
  for (size_t i = 0; i < sums; ++i) {
    const size_t several = below(3) == 0 ? below(300) : below(5);
    for (size_t run = 0; run < several; ++run) {
      runs.counts.push_back(several > 5 ? lengths[below(5)] : lengths[below(std::size(lengths))]);
      runs.firsts.push_back(
          static_cast<int32_t>(below(values - static_cast<size_t>(runs.counts.back()) + 1)));
    }
    runs.starts.push_back(static_cast<int32_t>(runs.firsts.size()));
  }
  return runs;
}

}  // namespace

TEST_CASE("ordered_sums adds one value after another, in the order given, to the bit", "[conformance]") {
  for (uint64_t seed = 0; seed < 4; ++seed) {
    CAPTURE(seed);
    sums_are_plain(uneven_doubles(3000, seed), random_runs(40, 3000, seed));
  }
}

TEST_CASE("ordered_sums takes long runs, runs that overlap, and none", "[conformance]") {
  const auto values = uneven_doubles(10100, 7);
  // All backwards, one at a time.
  OrderedRuns backwards{{0, 600}, {}, std::vector<int32_t>(600, 1)};
  for (int32_t i = 0; i < 600; ++i) backwards.firsts.push_back(599 - i);
  CHECK(plain_sums(values, backwards) != plain_sums(values, {{0, 1}, {0}, {600}}));
  sums_are_plain(values, backwards);
  sums_are_plain(values, {{0, 2, 2, 5, 6}, {50, 0, 9, 3, 3, 10099}, {10000, 10000, 0, 700, 700, 1}});
  sums_are_plain(values, {{0}, {}, {}});
  sums_are_plain(values, {{0, 0, 0}, {}, {}});
  sums_are_plain({}, {{0, 0, 1}, {0}, {0}});
  sums_are_plain({-0.0, infinite, 1, -infinite}, {{0, 1, 3, 4}, {0, 1, 2, 1}, {1, 1, 1, 3}});
}

TEST_CASE("tree_sums adds values in pairs, and nodes to the nodes beside them, to the bit", "[conformance]") {
  const auto values = uneven_doubles(9000, 3);
  // The tree by its definition: the largest power of two of values, and the rest.
  const std::function<double(size_t, size_t)> tree = [&](size_t first, size_t count) {
    if (count == 0) return 0.0;
    if (count == 1) return values[first];
    const size_t left = std::bit_ceil(count) / 2;
    return tree(first, left) + tree(first + left, count - left);
  };
  const auto sums_are = [&](const TreeRuns& runs, const std::vector<double>& expected) {
    on_every_table([&](Operations& ops) {
      Tensor sums = doubles(ops, std::vector<double>(expected.size(), not_a_number));
      ops.tree_sums(doubles(ops, values), runs, sums);
      CHECK(same_bits(ops.read(sums).value(), expected));
    });
  };
  TreeRuns runs{{0}, {}, {}, {}};
  std::vector<double> expected;
  for (const int32_t count : {0, 1, 2, 3, 31, 32, 33, 255, 256, 257, 513, 8191, 8192, 8999}) {
    runs.firsts.push_back(1);
    runs.counts.push_back(count);
    runs.heights.push_back(0);
    runs.starts.push_back(static_cast<int32_t>(runs.firsts.size()));
    expected.push_back(tree(1, static_cast<size_t>(count)));
  }
  sums_are(runs, expected);
  CHECK(tree(1, 8999) != plain_sums(values, {{0, 1}, {1}, {8999}}).front());
  // 16 values in nodes of 4, 2, 1, 1, 4 and 4, and 7 in nodes of 4, 2 and 1, which stand elsewhere.
  sums_are({{0, 6, 9, 9},
            {0, 4, 6, 7, 8, 12, 100, 104, 106},
            {4, 2, 1, 1, 4, 4, 4, 2, 1},
            {2, 1, 0, 0, 2, 2, 2, 1, 0}},
           {tree(0, 16), tree(100, 7), 0});
  sums_are({{0}, {}, {}, {}}, {});
}

TEST_CASE("a chunk's loss is summed by itself and then added to loss_sum", "[conformance]") {
  const auto tokens = GENERATE(int64_t{0}, int64_t{1}, int64_t{70}, int64_t{1500});
  constexpr int64_t vocab = 11;
  const Values logits = random_values({tokens, vocab}, 1, 3);
  auto labels = random_integers(static_cast<size_t>(tokens), vocab, 2);
  for (size_t i = 0; i < labels.size(); i += 3) labels[i] = ignored_label;
  constexpr double before = 12345678.9;
  on_every_table([&](Operations& ops) {
    Bench bench(ops, false);
    Tensor statistics = ops.empty({1, tokens, 3}, DType::f64, Category::workspace),
           sum = doubles(ops, {before});
    const auto by_statistics = [&](Tensor& loss_sum) {
      Tensor x = bench.input(logits), of_shard = statistics.reshape({tokens, 3});
      ops.softmax_statistics(x, labels, 0, of_shard);
      ops.cross_entropy_from_statistics(x, labels, 0, statistics, 1, loss_sum);
    };
    Tensor x = bench.input(logits), other = bench.input(logits), zero = doubles(ops, {0});
    const double alone = cross_entropy(ops, x, labels, 1);
    ops.cross_entropy(other, labels, 1, sum);
    CHECK(ops.read(sum).value().front() == before + alone);
    by_statistics(zero);
    by_statistics(sum);
    CHECK(ops.read(sum).value().front() == before + alone + ops.read(zero).value().front());
    if (tokens == 0) CHECK(alone == 0);
    if (tokens == 1500) CHECK(alone > 1000);
  });
}

namespace {

void outcome_is(double loss_sum, double sum_of_squares, const StepBounds& bounds, double expected) {
  CAPTURE(loss_sum, sum_of_squares, bounds.max_norm, bounds.most_loss_sum, bounds.most_norm);
  on_every_table([&](Operations& ops) {
    Tensor outcome = doubles(ops, {7, 7, 7});
    ops.step_outcome(doubles(ops, {loss_sum}), doubles(ops, {sum_of_squares}), bounds, outcome);
    const auto found = ops.read(outcome).value();
    REQUIRE(found.size() == 3);
    const auto is = [](double a, double b) {
      return std::isnan(b) ? std::isnan(a) : same_bits<double>({a}, {b});
    };
    CHECK(is(found[0], loss_sum));
    CHECK(is(found[1], std::sqrt(sum_of_squares)));
    CHECK(is(found[2], expected));
  });
}

}  // namespace

TEST_CASE("a step's outcome is its loss, its norm and what brings that down to the largest allowed",
          "[conformance]") {
  outcome_is(3.5, 4, {1}, 1 / (2 + 1e-6));
  outcome_is(3.5, 4, {2.5}, 1);
  outcome_is(3.5, 4, {2}, 2 / (2 + 1e-6));
  outcome_is(3.5, 1e300, {}, 1);
  outcome_is(-3.5, 0, {1}, 1);
  outcome_is(0, 1e300, {1e-3}, 1e-3 / (1e150 + 1e-6));
  const RandomStream stream(random_key(3, "outcomes"));
  for (uint64_t i = 0; i < 100; ++i) {
    const double squares = std::ldexp(stream.uniform(2 * i), static_cast<int>(i) - 50),
                 most = stream.uniform(2 * i + 1);
    outcome_is(stream.normal(i), squares, {most}, std::min(1.0, most / (std::sqrt(squares) + 1e-6)));
  }
}

TEST_CASE("a step whose loss or norm is not finite has a factor that is not a number", "[conformance]") {
  for (const double max_norm : {0.0, 1.0}) {
    for (const double loss : {infinite, -infinite, not_a_number})
      outcome_is(loss, 4, {max_norm}, not_a_number);
    for (const double squares : {infinite, not_a_number}) outcome_is(3.5, squares, {max_norm}, not_a_number);
    outcome_is(infinite, infinite, {max_norm}, not_a_number);
  }
}

TEST_CASE("a step above one of its bounds has a factor that is not a number", "[conformance]") {
  outcome_is(3.5, 4, {0, 3.5, 2}, 1);
  outcome_is(3.5, 4, {1, 3.5, 2}, 1 / (2 + 1e-6));
  outcome_is(std::nextafter(3.5, 4), 4, {1, 3.5, 2}, not_a_number);
  outcome_is(3.5, 4.001, {1, 3.5, 2}, not_a_number);
  outcome_is(-7, 0, {0, 3.5, 2}, 1);
}

TEST_CASE("a factor is kept if a value is finite, and is not a number from the first that is not on",
          "[conformance]") {
  on_every_table([&](Operations& ops) {
    Tensor factor = doubles(ops, {0.25});
    const auto keep = [&](double value) {
      ops.keep_if_finite(factor, doubles(ops, {value}), factor);
      return ops.read(factor).value().front();
    };
    CHECK(keep(1e300) == 0.25);
    CHECK(keep(0) == 0.25);
    CHECK(keep(-1e300) == 0.25);
    CHECK(std::isnan(keep(infinite)));
    CHECK(std::isnan(keep(1)));
    for (const double value : {-infinite, not_a_number}) {
      ops.fill(factor, 0.5);
      CHECK(std::isnan(keep(value)));
    }
  });
}

namespace {

// One range of each kind there is, in every mixture of dtypes that the table takes.
class Update {
 public:
  Update(Operations& ops, RuleCase rule, bool states_on_host) : ops_(ops), rule_(std::move(rule)) {
    for (const DType weight : {ops.dtype(), ops.accumulation_dtype()})
      for (const DType gradient : {ops.dtype(), ops.accumulation_dtype()})
        for (const DType states : state_dtypes(ops))
          for (const bool rounds : {false, true})
            for (const int64_t count : {int64_t{1}, int64_t{37}, int64_t{9001}}) {
              const auto state = [&](DType dtype) {
                return states_on_host ? ops.empty_on_host({count}, dtype, Category::optimizer)
                                      : ops.empty({count}, dtype, Category::optimizer);
              };
              UpdateTensors range{random(ops.empty({count}, weight, Category::weights)),
                                  random(ops.empty({count}, gradient, Category::gradients)),
                                  {},
                                  {},
                                  static_cast<uint64_t>(10000 * ranges_.size())};
              // The second of two is a mean of squares.
              const ElementwiseUpdate step = step_of(rule_.rule, rule_.options, 3);
              for (int i = 0; i < states_of(step); ++i)
                range.states.push_back(
                    random(state(is_wide(step, i) ? ops.accumulation_dtype() : states), i == 1));
              if (rounds) range.rounded = random(ops.empty({count}, Category::weights));
              ranges_.push_back(std::move(range));
            }
  }

  void scale_gradients(double factor) {
    for (UpdateTensors& range : ranges_) ops_.scale(range.gradient, factor);
  }
  // gradient_factor: undefined where there is none.
  void run(const std::vector<double>& gradient_factor, bool stochastic) {
    ElementwiseUpdate step = step_of(rule_.rule, rule_.options, 3);
    if (!gradient_factor.empty()) step.gradient_factor = doubles(ops_, gradient_factor);
    if (stochastic) step.rounding = stochastic_rounding(1, 3);
    ops_.update(ranges_, step);
  }
  // To nearest, where they are of another dtype.
  bool rounded_are_the_weights() {
    return std::all_of(ranges_.begin(), ranges_.end(), [&](const UpdateTensors& range) {
      if (!range.rounded.defined()) return true;
      std::vector<float> weights = values_of(range.weight);
      if (ops_.dtype() == DType::bf16)
        for (float& weight : weights) weight = host::from_bf16(host::to_bf16(weight));
      return same_bits(values_of(range.rounded), weights);
    });
  }
  // Weights, rounded weights, states.
  Outputs read() {
    Outputs outputs;
    for (const UpdateTensors& range : ranges_) {
      outputs.push_back(values_of(range.weight));
      if (range.rounded.defined()) outputs.push_back(values_of(range.rounded));
      for (const Tensor& state : range.states) outputs.push_back(values_of(state));
    }
    return outputs;
  }

 private:
  // A float32 model may have states in bfloat16, too.
  static std::vector<DType> state_dtypes(const Operations& ops) {
    if (ops.dtype() == DType::f32) return {DType::f32, DType::bf16};
    return {ops.dtype(), ops.accumulation_dtype()};
  }
  std::vector<float> values_of(const Tensor& x) {
    std::vector<float> values(static_cast<size_t>(x.numel()));
    ops_.download(x, values);
    return values;
  }
  Tensor random(Tensor x, bool positive = false) {
    Values values = random_values(x.shape(), ++seed_, 0.1);
    if (positive)
      for (float& value : values.data) value = std::abs(value) + 1e-3F;
    ops_.upload(values.data, x);
    return x;
  }

  Operations& ops_;
  RuleCase rule_;
  uint64_t seed_ = 0;
  std::vector<UpdateTensors> ranges_;
};

}  // namespace

TEST_CASE("an update by a gradient_factor is one by gradients that were scaled before", "[conformance]") {
  const RuleCase rule = GENERATE(from_range(all_rules_to_test()));
  const bool on_host = GENERATE(false, true), stochastic = GENERATE(false, true);
  CAPTURE(rule.rule, on_host, stochastic);
  on_every_table([&](Operations& ops) {
    Update by_factor(ops, rule, on_host), scaled(ops, rule, on_host), plain(ops, rule, on_host),
        by_one(ops, rule, on_host);
    by_factor.run({0.25}, stochastic);
    scaled.scale_gradients(0.25);  // exact in every dtype
    scaled.run({}, stochastic);
    plain.run({}, stochastic);
    by_one.run({1}, stochastic);
    const Outputs expected = scaled.read();
    CHECK(same_bits(by_factor.read(), expected));
    CHECK_FALSE(same_bits(plain.read(), expected));
    CHECK(same_bits(plain.read(), by_one.read()));
    CHECK(by_factor.rounded_are_the_weights());
  });
}

TEST_CASE("an update by a gradient_factor that is not a number changes nothing", "[conformance]") {
  const RuleCase rule = GENERATE(from_range(all_rules_to_test()));
  const bool on_host = GENERATE(false, true), stochastic = GENERATE(false, true);
  CAPTURE(rule.rule, on_host, stochastic);
  on_every_table([&](Operations& ops) {
    Update update(ops, rule, on_host);
    const Outputs before = update.read();
    update.run({not_a_number}, stochastic);
    CHECK(same_bits(update.read(), before));
    update.run({0.5}, stochastic);
    CHECK_FALSE(same_bits(update.read(), before));
  });
}

TEST_CASE("what is read is as it was when it was asked for, to the bit", "[conformance]") {
  const std::vector<double> values{-0.0, not_a_number, infinite, 5e-324, 1.0 / 3, -1e300};
  on_every_table([&](Operations& ops) {
    Tensor x = doubles(ops, values);
    auto all = ops.read(x), part = ops.read(x.rows(2, 5));
    ops.fill(x, 0);
    auto zeros = ops.read(x);
    ops.fill(x, 2.5);
    CHECK(same_bits(all.value(), values));
    CHECK(same_bits(part.value(), {values[2], values[3], values[4]}));
    CHECK(same_bits(zeros.value(), std::vector<double>(6, 0.0)));
    CHECK(ops.read(x).value() == std::vector<double>(6, 2.5));
    CHECK(ops.read(x.rows(3, 3)).value().empty());
  });
}

TEST_CASE("a call that waits for the device comes once, when all that was queued is done", "[conformance]") {
  const std::vector<double> values(10000, 0.5);
  on_every_table([&](Operations& ops) {
    const Tensor x = doubles(ops, values);
    Tensor sum = ops.empty_on_host({1}, DType::f64, Category::workspace);
    ops.fill(sum, 0);
    ops.synchronize();
    const double* const seen = sum.data<double>();
    std::promise<double> found;
    for (int i = 0; i < 20; ++i) ops.ordered_sums(x, {{0, 1}, {0}, {10000 - i}}, sum);
    ops.when_done([&] { found.set_value(*seen); });  // a second time would throw
    CHECK_NOTHROW(ops.check_device());
    CHECK(found.get_future().get() == 0.5 * (10000 - 19));
    ops.synchronize();
  });
}
