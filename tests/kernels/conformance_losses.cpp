// The part of the conformance suite (conformance.cpp) that is of activations, dropout, losses and sampling.
#include "tests/catch.hpp"
#include "tests/kernels/support.hpp"

using namespace collie;
using namespace collie::test;

TEST_CASE("gated units and their backward conform", "[conformance]") {
  for (const Activation activation : all_activations)
    for (const auto& [tokens, width] : matrix_sizes) {
      CAPTURE(static_cast<int>(activation), tokens, width);
      const Shape shape{tokens, width};
      const Values gate = random_values(shape, 26, 5), up = random_values(shape, 27),
                   d_out = random_values(shape, 28);
      conforms([&](Bench& bench) {
        Tensor g = bench.input(gate), u = bench.input(up);
        Tensor out = bench.output(shape), d_gate = bench.output(shape), d_up = bench.output(shape);
        bench.ops.gated(activation, g, u, out);
        bench.ops.gated_backward(activation, g, u, bench.input(d_out), d_gate, d_up);
        return Outputs{bench.read(out), bench.read(d_gate), bench.read(d_up)};
      });
    }
}

TEST_CASE("activations and their backward conform, in place or not", "[conformance]") {
  for (const Activation activation : all_activations)
    for (const auto& [tokens, width] : matrix_sizes) {
      CAPTURE(static_cast<int>(activation), tokens, width);
      const Shape shape{tokens, width};
      const Values x = random_values(shape, 26, 3), d_out = random_values(shape, 28);
      conforms([&](Bench& bench) {
        Tensor xt = bench.input(x), d = bench.input(d_out);
        Tensor out = bench.output(shape), dx = bench.output(shape);
        bench.ops.activate(activation, xt, out);
        bench.ops.activate_backward(activation, xt, d, dx);
        bench.ops.activate_backward(activation, xt, d, d);
        bench.ops.activate(activation, xt, xt);
        CHECK(bench.read(xt) == bench.read(out));
        CHECK(bench.read(d) == bench.read(dx));
        return Outputs{bench.read(out), bench.read(dx)};
      });
    }
}

TEST_CASE("activations of extreme values stay finite", "[conformance]") {
  const Values gate{{1, 10}, {-1e30F, -1000, -100, -88, -20, 20, 88, 100, 1000, 1e30F}},
      up{gate.shape, std::vector<float>(10, 1)};
  for (const Activation activation : all_activations) {
    CAPTURE(static_cast<int>(activation));
    conforms([&](Bench& bench) {
      Tensor g = bench.input(gate), u = bench.input(up);
      Tensor out = bench.output(gate.shape), d_gate = bench.output(gate.shape),
             d_up = bench.output(gate.shape);
      bench.ops.gated(activation, g, u, out);
      bench.ops.gated_backward(activation, g, u, bench.input(up), d_gate, d_up);
      return Outputs{bench.read(out), bench.read(d_gate), bench.read(d_up)};
    });
  }
}

// By norm, the largest values decide. These are compared one by one.
TEST_CASE("activations keep the digits of what is small", "[conformance]") {
  std::vector<float> points;
  for (int i = -160; i <= 160; ++i) points.push_back(static_cast<float>(i) / 32);  // bfloat16 numbers, all
  const Values x{{1, static_cast<int64_t>(points.size())}, points},
      ones{x.shape, std::vector<float>(points.size(), 1)};
  const auto reference = make_reference_operations(std::make_shared<MemoryAccount>());
  for (const Activation activation : all_activations) {
    const auto values_on = [&](Operations& ops) {
      Bench bench(ops, false);
      const Tensor xt = bench.input(x);
      Tensor out = bench.output(x.shape), dx = bench.output(x.shape);
      ops.activate(activation, xt, out);
      ops.activate_backward(activation, xt, bench.input(ones), dx);
      return std::pair(bench.read(out), bench.read(dx));
    };
    const auto [expected, expected_slope] = values_on(*reference);
    on_every_table([&, &values = expected, &slopes = expected_slope](Operations& ops) {
      const float tolerance = ops.dtype() == DType::bf16 ? 4e-3F : 1e-5F;
      const auto [found, slope] = values_on(ops);
      for (size_t i = 0; i < points.size(); ++i) {
        CAPTURE(static_cast<int>(activation), points[i]);
        // A slope passes through zero, and is of order 1 elsewhere.
        if (!(std::abs(found[i] - values[i]) <= tolerance * std::abs(values[i])))
          CHECK(found[i] == values[i]);
        if (!(std::abs(slope[i] - slopes[i]) <= tolerance)) CHECK(slope[i] == slopes[i]);
      }
    });
  }
}

namespace {

// The numbers of the rows of a part of a whole: not in order, and some beyond 32 bits.
std::vector<uint64_t> rows_of_a_part(int64_t tokens) {
  std::vector<uint64_t> rows(static_cast<size_t>(tokens));
  for (size_t i = 0; i < rows.size(); ++i)
    rows[i] = (i * 7919) % 1009 + (i % 3 == 1 ? (uint64_t{1} << 40) + (uint64_t{i} << 33) : 0);
  return rows;
}

}  // namespace

TEST_CASE("dropout conforms, its output apart or in place, to the same elements on every table",
          "[conformance]") {
  const double rate = GENERATE(0.0, 0.1, 0.5, 1.0);
  const int64_t first_column = GENERATE(0, 8, 37);
  for (const auto& [tokens, width] : matrix_sizes) {
    CAPTURE(tokens, width, rate, first_column);
    const Values x = random_values({tokens, width}, 44, 1, 3);
    const auto rows = rows_of_a_part(tokens);
    conforms([&](Bench& bench) {
      Tensor in = bench.input(x), out = bench.output(x.shape);
      bench.ops.dropout(in, rate, 0x123456789ABCDEF0, rows, first_column, out);
      bench.ops.dropout(in, rate, 0x123456789ABCDEF0, rows, first_column, in);
      CHECK(bench.read(in) == bench.read(out));
      return Outputs{bench.read(out)};
    });
  }
}

TEST_CASE("dropout drops where the host's generator says whatever part of the whole is there",
          "[conformance]") {
  const int64_t tokens = 41, width = 67;
  const uint64_t key = random_key(7, "dropout test");
  const auto rows = rows_of_a_part(tokens);
  const auto dropped = [&](int64_t token, int64_t column) {
    const uint64_t row = rows[static_cast<size_t>(token)];
    const auto words = philox4x32(
        {static_cast<uint32_t>(row), static_cast<uint32_t>(row >> 32), static_cast<uint32_t>(column / 4), 0},
        {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)});
    return static_cast<double>(words[static_cast<size_t>(column % 4)]) < 0.25 * 0x1p32;
  };
  on_every_table([&](Operations& ops) {
    Bench bench(ops, true);
    Tensor x = bench.input({{tokens, width}, std::vector<float>(static_cast<size_t>(tokens * width), 3)});
    for (const auto& [first, last] : {std::pair{0, 13}, {13, 41}})
      for (const auto& [left, right] : {std::pair{0, 24}, {24, 50}, {50, 67}}) {
        Tensor part = x.rows(first, last).columns(left, right);
        ops.dropout(part, 0.25, key, std::span(rows).subspan(static_cast<size_t>(first), part.dim(0)), left,
                    part);
      }
    const std::vector<float> found = bench.read(x);
    int64_t wrong = 0, gone = 0;
    for (int64_t i = 0; i < tokens * width; ++i) {
      const bool zero = dropped(i / width, i % width);
      gone += zero ? 1 : 0;
      if (found[static_cast<size_t>(i)] != (zero ? 0.0F : 4.0F)) ++wrong;
    }
    CHECK(wrong == 0);
    CHECK(gone == Approx(0.25 * 41 * 67).epsilon(0.1));
    CHECK(bench.padding_intact());
  });
}

TEST_CASE("dropout's masks of other keys and other rows have nothing to do with each other",
          "[conformance]") {
  const int64_t width = 4000;
  on_every_table([&](Operations& ops) {
    Bench bench(ops, false);
    const Tensor ones = bench.input({{2, width}, std::vector<float>(static_cast<size_t>(2 * width), 1)});
    const auto mask = [&](uint64_t key, uint64_t row) {
      Tensor out = bench.output(Shape{2, width});
      ops.dropout(ones, 0.5, key, std::vector<uint64_t>{row, row + 1}, 0, out);
      return bench.read(out);
    };
    const std::vector<float> one = mask(1, 5), other_key = mask(2, 5), next_row = mask(1, 6);
    const auto agree = [&](const std::vector<float>& a, size_t at, const std::vector<float>& b,
                           size_t there) {
      int64_t same = 0;
      for (size_t i = 0; i < static_cast<size_t>(width); ++i) same += a[at + i] == b[there + i] ? 1 : 0;
      return same;
    };
    const auto whole = static_cast<size_t>(width);
    CHECK(agree(one, whole, next_row, 0) == width);
    // 4 standard deviations of 4,000 fair coins.
    CHECK(std::abs(agree(one, 0, other_key, 0) - width / 2) < 127);
    CHECK(std::abs(agree(one, 0, one, whole) - width / 2) < 127);
  });
}

TEST_CASE("cross_entropy conforms and adds the same loss", "[conformance]") {
  for (const auto& [tokens, vocab] : matrix_sizes) {
    CAPTURE(tokens, vocab);
    const Values logits = random_values({tokens, vocab}, 29, 4);
    auto labels = random_integers(static_cast<size_t>(tokens), vocab, 30);
    for (size_t i = 0; i < labels.size(); i += 3) labels[i] = ignored_label;
    if (!labels.empty()) labels.back() = 0;
    conforms([&](Bench& bench) {
      Tensor x = bench.input(logits);
      const double loss = cross_entropy(bench.ops, x, labels, 0.125);
      return Outputs{bench.read(x), {static_cast<float>(loss)}};
    });
  }
}

namespace {

// One shard of several: its statistics, then its gradient by the statistics of all.
Outputs sharded_cross_entropy(Bench& bench, const Values& logits, std::span<const int32_t> labels,
                              const std::vector<int64_t>& starts) {
  const int64_t tokens = logits.shape[0], shards = static_cast<int64_t>(starts.size()) - 1;
  Tensor all = bench.input(logits);
  Tensor statistics = bench.ops.empty({shards, tokens, 3}, DType::f64, Category::workspace);
  bench.ops.fill(statistics, std::numeric_limits<double>::quiet_NaN());
  Outputs outputs;
  for (int64_t r = 0; r < shards; ++r) {
    const auto i = static_cast<size_t>(r);
    Tensor of_shard = statistics.rows(r, r + 1).reshape({tokens, 3});
    bench.ops.softmax_statistics(all.columns(starts[i], starts[i + 1]), labels, starts[i], of_shard);
  }
  outputs.push_back(bench.read(statistics));
  for (int64_t r = 0; r < shards; ++r) {
    const auto i = static_cast<size_t>(r);
    Tensor shard = all.columns(starts[i], starts[i + 1]);
    const double loss = cross_entropy_from_statistics(bench.ops, shard, labels, starts[i], statistics, 0.125);
    outputs.push_back({static_cast<float>(loss)});
  }
  outputs.push_back(bench.read(all));
  return outputs;
}

}  // namespace

TEST_CASE("cross_entropy over shards of the vocabulary conforms", "[conformance]") {
  for (const auto& [tokens, vocab] : matrix_sizes) {
    const std::vector<std::vector<int64_t>> all{
        {0, vocab}, {0, vocab / 2, vocab}, {0, vocab / 5, vocab / 3, vocab / 3, vocab}};
    for (const auto& starts : all) {
      CAPTURE(tokens, vocab, starts);
      const Values logits = random_values({tokens, vocab}, 38, 4);
      auto labels = random_integers(static_cast<size_t>(tokens), vocab, 39);
      for (size_t i = 0; i < labels.size(); i += 3) labels[i] = ignored_label;
      if (!labels.empty()) labels.back() = 0;
      // A shard without columns has -infinity for its largest logit, which has no norm.
      conforms([&](Bench& bench) {
        Outputs outputs = sharded_cross_entropy(bench, logits, labels, starts);
        for (float& value : outputs.front())
          if (value == -std::numeric_limits<float>::infinity()) value = -1e3F;
        return outputs;
      });
    }
  }
}

namespace {

// Multiples of 1/4, which every dtype has, so that all tables see the same logits.
Values exact_logits(int64_t tokens, int64_t vocab) {
  Values logits = random_values({tokens, vocab}, 61, 3);
  for (float& value : logits.data) value = std::round(value * 4) / 4;
  return logits;
}

// gumbel_max of the shards that begin at `starts`, [shards, tokens, 2].
std::vector<double> gumbel_max_of(Bench& bench, const Values& logits, std::span<const uint64_t> rows,
                                  const std::vector<int64_t>& starts) {
  const Tensor all = bench.input(logits);
  const int64_t tokens = logits.shape[0];
  std::vector<double> found;
  for (size_t i = 0; i + 1 < starts.size(); ++i) {
    Tensor best = bench.ops.empty({tokens, 2}, DType::f64, Category::workspace);
    bench.ops.fill(best, std::numeric_limits<double>::quiet_NaN());
    bench.ops.gumbel_max(all.columns(starts[i], starts[i + 1]), starts[i], 0xFEDCBA9876543210, rows, best);
    for (const double x : bench.ops.read(best.reshape({2 * tokens})).value()) found.push_back(x);
  }
  return found;
}

}  // namespace

TEST_CASE("gumbel_max finds the same ids on every table, of the whole vocabulary or over its shards",
          "[conformance]") {
  for (const auto& [tokens, vocab] : matrix_sizes) {
    if (vocab == 0) continue;
    CAPTURE(tokens, vocab);
    const Values logits = exact_logits(tokens, vocab);
    const auto rows = rows_of_a_part(tokens);
    const auto reference = make_reference_operations(std::make_shared<MemoryAccount>());
    Bench exact(*reference, false);
    const std::vector<double> expected = gumbel_max_of(exact, logits, rows, {0, vocab});
    on_every_table([&](Operations& ops) {
      Bench bench(ops, true);
      const auto same = [&](const std::vector<double>& found) {
        for (size_t i = 0; i < expected.size(); i += 2) {
          if (found[i + 1] != expected[i + 1]) return false;
          if (std::abs(found[i] - expected[i]) > 1e-12 * (1 + std::abs(expected[i]))) return false;
        }
        return found.size() == expected.size();
      };
      CHECK(same(gumbel_max_of(bench, logits, rows, {0, vocab})));
      const auto shards = gumbel_max_of(bench, logits, rows, {0, vocab / 5, vocab / 3, vocab / 3, vocab});
      std::vector<double> best(shards.begin(), shards.begin() + 2 * tokens);
      for (size_t i = 0; i < shards.size(); i += 2) {
        const size_t token = i % best.size();
        if (!(shards[i] > best[token])) continue;
        best[token] = shards[i];
        best[token + 1] = shards[i + 1];
      }
      CHECK(same(best));
    });
  }
}

TEST_CASE("gumbel_max draws each id as often as the softmax says", "[conformance]") {
  constexpr int64_t tokens = 2000;
  const std::vector<float> logits{0, 1.5F, -1, 2, 0.25F, -std::numeric_limits<float>::infinity(), 1};
  Values rows_of_logits{{tokens, 7}, {}};
  for (int64_t i = 0; i < tokens; ++i)
    rows_of_logits.data.insert(rows_of_logits.data.end(), logits.begin(), logits.end());
  std::vector<uint64_t> rows(tokens);
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = 1'000'000 + i;
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
  on_every_table([&](Operations& ops) {
    Bench bench(ops, false);
    const std::vector<double> found = gumbel_max_of(bench, rows_of_logits, rows, {0, 7});
    std::vector<double> counts(7);
    for (size_t i = 1; i < found.size(); i += 2) counts[static_cast<size_t>(found[i])] += 1;
    CHECK(counts[5] == 0);
    double chi_squared = 0;
    for (size_t i = 0; i < 7; ++i) {
      const double expected = tokens * std::exp(static_cast<double>(logits[i])) / sum;
      if (expected > 0) chi_squared += (counts[i] - expected) * (counts[i] - expected) / expected;
    }
    CHECK(chi_squared < 20.5);  // 0.1 % of draws of five degrees of freedom are above
  });
}

TEST_CASE("gumbel_max of logits that are no numbers is the first id", "[conformance]") {
  const float nan = std::numeric_limits<float>::quiet_NaN(), least = -std::numeric_limits<float>::infinity();
  on_every_table([&](Operations& ops) {
    Bench bench(ops, false);
    Tensor logits = bench.input({{3, 2}, {nan, nan, least, least, nan, 0}});
    Tensor best = ops.empty({3, 2}, DType::f64, Category::workspace);
    ops.gumbel_max(logits, 40, 7, std::vector<uint64_t>{5, 6, 7}, best);
    const std::vector<double> found = ops.read(best.reshape({6})).value();
    CHECK(found[0] == -std::numeric_limits<double>::infinity());
    CHECK(found[1] == 40);
    CHECK(found[2] == -std::numeric_limits<double>::infinity());
    CHECK(found[3] == 40);
    CHECK(std::isfinite(found[4]));
    CHECK(found[5] == 41);
  });
}
