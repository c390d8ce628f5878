// What only the CPU implementation has.
#include <tbb/global_control.h>

#include <atomic>
#include <chrono>
#include <limits>
#include <thread>

#include "kernels/cpu/arena.hpp"
#include "kernels/cpu/instruction_sets.hpp"
#include "tests/catch.hpp"
#include "tests/kernels/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

Outputs block_of_work(Bench& bench) {
  const Shape shape{37, 2, 20}, flat{37, 40};
  const AttentionSpans spans{{0, 30, 37}, {0, 30, 37}};
  Tensor q = bench.input(random_values(shape, 1)), k = bench.input(random_values(shape, 2));
  Tensor v = bench.input(random_values(shape, 3)), d_out = bench.input(random_values(shape, 4));
  Tensor out = bench.output(shape), lse = bench.statistics(Shape{37, 2});
  Tensor dq = bench.output(shape), dk = bench.output(shape), dv = bench.output(shape);
  bench.ops.attention(q, k, v, spans, 0.3, out, lse);
  bench.ops.attention_backward(q, k, v, spans, 0.3, out, lse, d_out, dq, dk, dv);
  const std::vector<uint64_t> numbers(37, 3);
  AttentionScores scores(0.3);
  scores.soft_cap = 2;
  scores.dropout = 0.2;
  scores.query_rows = numbers;
  scores.first_keys = std::span(numbers).first(2);
  Tensor scored = bench.output(shape), scored_lse = bench.statistics(Shape{37, 2});
  Tensor scored_dq = bench.output(shape), scored_dk = bench.output(shape), scored_dv = bench.output(shape);
  bench.ops.attention(q, k, v, spans, scores, scored, scored_lse);
  bench.ops.attention_backward(q, k, v, spans, scores, scored, scored_lse, d_out, scored_dq, scored_dk,
                               scored_dv);
  Tensor x = bench.input(random_values(flat, 5)), weight = bench.input(random_values({40}, 6));
  Tensor y = bench.output(flat), inverse_rms = bench.output(Shape{37}), dx = bench.output(flat);
  Tensor d_weight = bench.output(Shape{40}), activated = bench.output(flat);
  bench.ops.rms_norm(x, weight, 0, 1e-5, y, inverse_rms);
  bench.ops.rms_norm_backward_input(y, x, weight, 0, inverse_rms, {}, dx);
  bench.ops.rms_norm_backward_weight(y, x, inverse_rms, d_weight, false);
  bench.ops.gated(Activation::silu, x, y, activated);
  Outputs more;
  for (const Activation activation : all_activations) {
    Tensor d_gate = bench.output(flat), d_up = bench.output(flat);
    bench.ops.gated_backward(activation, x, y, activated, d_gate, d_up);
    more.insert(more.end(), {bench.read(d_gate), bench.read(d_up)});
  }
  Tensor normed = bench.output(flat), of_rows = bench.statistics(Shape{37, 2});
  bench.ops.layer_norm(x, weight, weight, 1e-5, normed, of_rows);
  Tensor d_normed = bench.output(flat), d_norm_weight = bench.output(Shape{40}), dropped = bench.output(flat);
  bench.ops.layer_norm_backward_input(y, x, weight, of_rows, {}, d_normed);
  bench.ops.layer_norm_backward_weight(y, x, of_rows, d_norm_weight, false);
  const std::vector<uint64_t> rows(37, 5);
  bench.ops.dropout(x, 0.3, 7, rows, 0, dropped);
  for (const Tensor& each : {normed, of_rows, d_normed, d_norm_weight, dropped, scored, scored_lse, scored_dq,
                             scored_dk, scored_dv})
    more.push_back(bench.read(each));
  const double loss = cross_entropy(bench.ops, y, random_integers(37, 40, 7), 1);
  Tensor statistics = bench.ops.empty({1, 37, 3}, DType::f64, Category::workspace);
  Tensor of_shard = statistics.reshape({37, 3}), logits = bench.input(random_values(flat, 8, 3));
  bench.ops.softmax_statistics(logits, random_integers(37, 40, 9), 0, of_shard);
  const double from_statistics =
      cross_entropy_from_statistics(bench.ops, logits, random_integers(37, 40, 9), 0, statistics, 1);
  Tensor merged = bench.input(random_values(shape, 10)), sums = bench.statistics(random_values({37, 2}, 11));
  bench.ops.merge_attention(merged, sums, v, lse);
  Outputs outputs{bench.read(merged),
                  bench.read(sums),
                  bench.read(statistics),
                  bench.read(logits),
                  {static_cast<float>(from_statistics)},
                  bench.read(out),
                  bench.read(dq),
                  bench.read(dk),
                  bench.read(dv),
                  bench.read(dx),
                  bench.read(y),
                  bench.read(d_weight),
                  bench.read(activated),
                  {static_cast<float>(loss)}};
  outputs.insert(outputs.end(), more.begin(), more.end());
  return outputs;
}

// Back to the best when the test ends, however it ends.
struct BestInstructionsAfter {
  ~BestInstructionsAfter() { cpu::use_instruction_set(""); }
};

}  // namespace

TEST_CASE("every instruction set of this processor conforms", "[cpu]") {
  const BestInstructionsAfter restore;
  REQUIRE_FALSE(cpu::instruction_sets().empty());
  for (const std::string& name : cpu::instruction_sets()) {
    CAPTURE(name);
    cpu::use_instruction_set(name);
    conforms(block_of_work);
  }
  CHECK_THROWS_AS(cpu::use_instruction_set("abacus"), std::logic_error);
}

TEST_CASE("a NaN is never lost", "[cpu]") {
  const auto ops = make_cpu_operations(1, std::make_shared<MemoryAccount>());
  Bench bench(*ops, false);
  for (const size_t at : {size_t{0}, size_t{17}, size_t{39}}) {
    CAPTURE(at);
    Values poisoned = random_values({1, 40}, 8);
    poisoned.data[at] = std::numeric_limits<float>::quiet_NaN();
    Tensor logits = bench.input(poisoned);
    CHECK(std::isnan(cross_entropy(*ops, logits, std::vector<int32_t>{5}, 1)));
    Tensor gate = bench.input(poisoned), up = bench.input(random_values({1, 40}, 9)),
           out = bench.output(Shape{1, 40});
    for (const Activation activation : all_activations) {
      CAPTURE(static_cast<int>(activation));
      ops->gated(activation, gate, up, out);
      CHECK(std::isnan(bench.read(out)[at]));
      ops->activate(activation, gate, out);
      CHECK(std::isnan(bench.read(out)[at]));
    }
    Tensor of_rows = bench.statistics(Shape{1, 2});
    ops->layer_norm(gate, up.reshape({40}), {}, 1e-5, out, of_rows);
    CHECK(std::isnan(bench.read(out)[0]));
    ops->dropout(gate, 0, 1, std::vector<uint64_t>{0}, 0, out);
    CHECK(std::isnan(bench.read(out)[at]));
    CHECK(std::isnan(block_sums_of_squares(*ops, bench.input(poisoned)).front()));
    Tensor clamped = bench.input(poisoned);
    ops->clamp(clamped, 0.5);
    CHECK(std::isnan(bench.read(clamped)[at]));
    const Shape heads{1, 1, 40};
    Tensor attended = bench.output(heads), lse = bench.statistics(Shape{1, 1});
    const Tensor q = bench.input({heads, poisoned.data}), k = bench.input(random_values(heads, 10));
    ops->attention(q, k, k, {{0, 1}, {0, 1}}, 1, attended, lse);
    CHECK(std::isnan(bench.read(attended)[0]));
    AttentionScores capped(1);
    capped.soft_cap = 3;
    ops->attention(q, k, k, {{0, 1}, {0, 1}}, capped, attended, lse);
    CHECK(std::isnan(bench.read(attended)[0]));
    Tensor merged = bench.input({heads, poisoned.data}), sums = bench.statistics({{1, 1}, {0}});
    ops->merge_attention(merged, sums, k, sums);
    CHECK(std::isnan(bench.read(merged)[at]));
    Tensor shard = bench.input(poisoned);
    Tensor statistics = ops->empty({1, 3}, DType::f64, Category::workspace);
    ops->softmax_statistics(shard, std::vector<int32_t>{50}, 0, statistics);
    CHECK(std::isnan(statistics.data<double>()[1]));
    CHECK(std::isnan(cross_entropy_from_statistics(*ops, shard, std::vector<int32_t>{50}, 0,
                                                   statistics.reshape({1, 1, 3}), 1)));
  }
}

TEST_CASE("the loss over one shard is cross_entropy within rounding", "[cpu]") {
  const auto ops = make_cpu_operations(1, std::make_shared<MemoryAccount>());
  Bench bench(*ops, false);
  for (const int64_t vocab : {int64_t{1}, int64_t{100}, int64_t{4097}, int64_t{50257}}) {
    CAPTURE(vocab);
    const Values logits = random_values({5, vocab}, 12, 5);
    auto labels = random_integers(5, vocab, 13);
    labels[2] = ignored_label;
    Tensor whole = bench.input(logits), shard = bench.input(logits);
    Tensor statistics = ops->empty({5, 3}, DType::f64, Category::workspace);
    const double expected = cross_entropy(*ops, whole, labels, 0.5);
    ops->softmax_statistics(shard, labels, 0, statistics);
    const double found =
        cross_entropy_from_statistics(*ops, shard, labels, 0, statistics.reshape({1, 5, 3}), 0.5);
    CHECK(found == Approx(expected).epsilon(1e-6));
    // cross_entropy sums a row in floats from end to end: that is most of the difference.
    CHECK(relative_error(bench.read(shard), bench.read(whole)) < 5e-6);
  }
}

TEST_CASE("every shard adds the same loss, to the bit", "[cpu]") {
  const auto ops = make_cpu_operations(1, std::make_shared<MemoryAccount>());
  Bench bench(*ops, false);
  const auto labels = random_integers(300, 900, 14);
  Tensor statistics = ops->empty({3, 300, 3}, DType::f64, Category::workspace);
  std::vector<Tensor> shards;
  for (int64_t r = 0; r < 3; ++r) {
    shards.push_back(bench.input(random_values({300, 300}, static_cast<uint64_t>(15 + r), 4)));
    Tensor of_shard = statistics.rows(r, r + 1).reshape({300, 3});
    ops->softmax_statistics(shards.back(), labels, 300 * r, of_shard);
  }
  std::vector<double> losses;
  for (int64_t r = 0; r < 3; ++r)
    losses.push_back(cross_entropy_from_statistics(*ops, shards[static_cast<size_t>(r)], labels, 300 * r,
                                                   statistics, 1e-3));
  CHECK(losses[0] == losses[1]);
  CHECK(losses[0] == losses[2]);
}

TEST_CASE("attention's workspace is accounted, and bounded by tiles, not by the document", "[cpu]") {
  const auto account = std::make_shared<MemoryAccount>();
  const auto ops = make_cpu_operations(1, account);
  Bench bench(*ops, false);
  const int64_t tokens = 1500;
  const Shape shape{tokens, 1, 8};
  const AttentionSpans spans{{0, static_cast<int32_t>(tokens)}, {0, static_cast<int32_t>(tokens)}};
  Tensor q = bench.input(random_values(shape, 11)), out = bench.output(shape),
         lse = bench.statistics(Shape{tokens, 1});
  Tensor dq = bench.output(shape), dk = bench.output(shape), dv = bench.output(shape);
  ops->attention(q, q, q, spans, 1, out, lse);
  CHECK(account->peak(Category::workspace) > 0);
  ops->attention_backward(q, q, q, spans, 1, out, lse, out, dq, dk, dv);
  CHECK(account->peak(Category::workspace) < 256 * 1024);
  CHECK(account->current(Category::workspace) == 0);
}

TEST_CASE("an arena runs every task once, on as many threads as it was given", "[cpu]") {
  const tbb::global_control two(tbb::global_control::max_allowed_parallelism, 2);
  for (const int threads : {1, 2}) {
    CAPTURE(threads);
    const cpu::Arena arena(threads);
    std::vector<std::atomic<int>> runs(100);
    arena.for_each(100, [&](int64_t i) { ++runs[static_cast<size_t>(i)]; });
    for (const auto& count : runs) CHECK(count == 1);
    std::vector<int64_t> ends;
    cpu::Arena(1).for_pieces(10, 4, [&](int64_t first, int64_t last) {
      ends.insert(ends.end(), {first, last});
    });
    CHECK(ends == std::vector<int64_t>{0, 4, 4, 8, 8, 10});
  }
  // Two tasks that wait for each other get by only on two threads.
  const cpu::Arena arena(2);
  std::atomic<int> arrived{0}, met{0};
  arena.for_each(2, [&](int64_t) {
    ++arrived;
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (arrived < 2 && std::chrono::steady_clock::now() < give_up) std::this_thread::yield();
    if (arrived == 2) ++met;
  });
  CHECK(met == 2);
}

TEST_CASE("an exception in a task reaches the arena's caller", "[cpu]") {
  for (const int threads : {1, 2}) {
    const cpu::Arena arena(threads);
    CHECK_THROWS_AS(arena.for_each(10,
                                   [](int64_t i) {
                                     if (i == 7) throw std::runtime_error("task 7");
                                   }),
                    std::runtime_error);
  }
}
