// kernels/meta charges what kernels/cuda takes, operation by operation.
#include <numeric>

#include "kernels/cuda/backend.hpp"
#include "kernels/meta/meta_gpu_operations.hpp"
#include "tests/catch.hpp"
#include "tests/kernels/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

void charge_the_same(const std::function<void(Operations&)>& work) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    INFO(name(dtype));
    const auto account = std::make_shared<MemoryAccount>(), counted = std::make_shared<MemoryAccount>();
    const auto gpu = cuda_backend().make_operations(dtype, 0, account);
    MetaGpuOperations meta(dtype, counted);
    const size_t before = counted->peak(Category::workspace);
    work(*gpu);
    work(meta);
    CHECK(counted->peak(Category::workspace) == account->peak(Category::workspace));
    CHECK(counted->current(Category::workspace) == account->current(Category::workspace));
    CHECK(counted->peak(Category::workspace) > before);
  }
}

Tensor made(Operations& ops, const Shape& shape) {
  Tensor x = ops.empty(shape, Category::activations);
  ops.fill(x, 0.5);
  return x;
}

std::vector<uint64_t> numbers(size_t count) {
  std::vector<uint64_t> all(count);
  std::iota(all.begin(), all.end(), 7);
  return all;
}

}  // namespace

TEST_CASE("the weight gradient of layer_norm is charged with its slices' sums", "[cuda]") {
  charge_the_same([](Operations& ops) {
    const Tensor x = made(ops, {200, 40});
    Tensor statistics = ops.empty({200, 2}, ops.accumulation_dtype(), Category::activations),
           d_weight = made(ops, {40});
    ops.fill(statistics, 1);
    ops.layer_norm_backward_weight(x, x, statistics, d_weight, false);
  });
}

TEST_CASE("dropout is charged with the numbers of its rows", "[cuda]") {
  charge_the_same([](Operations& ops) {
    Tensor x = made(ops, {300, 8});
    ops.dropout(x, 0.5, 3, numbers(300), 0, x);
    ops.dropout(x, 0.5, 4, numbers(300), 0, x);  // the same rows
  });
}

TEST_CASE("attention with dropout is charged with the numbers of its queries and keys", "[cuda]") {
  charge_the_same([](Operations& ops) {
    const Tensor q = made(ops, {70, 2, 8}), k = made(ops, {90, 1, 8});
    Tensor out = made(ops, {70, 2, 8}), dq = made(ops, {70, 2, 8}), dk = made(ops, {90, 1, 8}),
           dv = made(ops, {90, 1, 8});
    Tensor sums = ops.empty({70, 2}, ops.accumulation_dtype(), Category::activations);
    const std::vector<uint64_t> rows = numbers(70), first_keys{0, 50};
    AttentionScores scores(1);
    scores.dropout = 0.5;
    scores.query_rows = rows;
    scores.first_keys = first_keys;
    const AttentionSpans spans{{0, 30, 70}, {0, 40, 90}};
    ops.attention(q, k, k, spans, scores, out, sums);
    ops.attention_backward(q, k, k, spans, scores, out, sums, out, dq, dk, dv);
  });
}
