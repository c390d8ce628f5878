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
  Tensor out = bench.output(shape), lse = bench.dense_output({37, 2});
  Tensor dq = bench.output(shape), dk = bench.output(shape), dv = bench.output(shape);
  bench.ops.attention(q, k, v, spans, 0.3, out, lse);
  bench.ops.attention_backward(q, k, v, spans, 0.3, out, lse, d_out, dq, dk, dv);
  Tensor x = bench.input(random_values(flat, 5)), weight = bench.input(random_values({40}, 6));
  Tensor y = bench.output(flat), inverse_rms = bench.output(Shape{37}), dx = bench.output(flat);
  Tensor d_weight = bench.output(Shape{40}), activated = bench.output(flat);
  bench.ops.rms_norm(x, weight, 1e-5, y, inverse_rms);
  bench.ops.rms_norm_backward_input(y, x, weight, inverse_rms, dx, false);
  bench.ops.rms_norm_backward_weight(y, x, inverse_rms, d_weight, false);
  bench.ops.swiglu(x, y, activated);
  const double loss = bench.ops.cross_entropy(y, random_integers(37, 40, 7), 1);
  return {bench.read(out),      bench.read(dq),        bench.read(dk),
          bench.read(dv),       bench.read(dx),        bench.read(y),
          bench.read(d_weight), bench.read(activated), {static_cast<float>(loss)}};
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
    CHECK(std::isnan(ops->cross_entropy(logits, std::vector<int32_t>{5}, 1)));
    Tensor gate = bench.input(poisoned), up = bench.input(random_values({1, 40}, 9)),
           out = bench.output(Shape{1, 40});
    ops->swiglu(gate, up, out);
    CHECK(std::isnan(bench.read(out)[at]));
    CHECK(std::isnan(ops->sum_of_squares(bench.input(poisoned))));
    const Shape heads{1, 1, 40};
    Tensor attended = bench.output(heads), lse = bench.dense_output({1, 1});
    const Tensor q = bench.input({heads, poisoned.data}), k = bench.input(random_values(heads, 10));
    ops->attention(q, k, k, {{0, 1}, {0, 1}}, 1, attended, lse);
    CHECK(std::isnan(bench.read(attended)[0]));
  }
}

TEST_CASE("attention's workspace is accounted, and bounded by tiles, not by the document", "[cpu]") {
  const auto account = std::make_shared<MemoryAccount>();
  const auto ops = make_cpu_operations(1, account);
  Bench bench(*ops, false);
  const int64_t tokens = 1500;
  const Shape shape{tokens, 1, 8};
  const AttentionSpans spans{{0, static_cast<int32_t>(tokens)}, {0, static_cast<int32_t>(tokens)}};
  Tensor q = bench.input(random_values(shape, 11)), out = bench.output(shape),
         lse = bench.dense_output({tokens, 1});
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
