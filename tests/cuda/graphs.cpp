// Work that is queued as CUDA graphs: the same bits, few graphs, and nothing lost in silence.
#include <cstring>
#include <thread>

#include "kernels/cuda/api.hpp"
#include "kernels/cuda/backend.hpp"
#include "kernels/cuda/cuda_operations.hpp"
#include "tests/catch.hpp"
#include "tests/kernels/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

constexpr int64_t heads = 2, head_dim = 16, hidden = heads * head_dim, vocab = 24;

struct GpuRank {
  explicit GpuRank(DType dtype = DType::f32)
      : owned(cuda_backend().make_operations(dtype, 0, std::make_shared<MemoryAccount>())), ops(*owned) {}
  cuda::Stream& stream() { return *dynamic_cast<CudaOperations&>(ops).stream(); }
  Tensor upload(const Values& values) {
    Tensor x = ops.empty(values.shape, Category::activations);
    ops.upload(values.data, x);
    return x;
  }
  Tensor filled(const Shape& shape, double value) {
    Tensor x = ops.empty(shape, Category::activations);
    ops.fill(x, value);
    return x;
  }
  std::vector<float> read(const Tensor& x) {
    std::vector<float> values(static_cast<size_t>(x.numel()));
    ops.download(x, values);
    return values;
  }
  std::unique_ptr<Operations> owned;
  Operations& ops;
};

AttentionSpans documents(int64_t tokens, int64_t each) {
  AttentionSpans spans;
  for (int64_t start = 0; start < tokens; start += each)
    spans.query_starts.push_back(static_cast<int32_t>(start));
  spans.query_starts.push_back(static_cast<int32_t>(tokens));
  spans.key_starts = spans.query_starts;
  return spans;
}

// Weights, and what a micro-batch does with them: operations of every kind that a stage queues, with tensors
// that come and go.
struct Layer {
  explicit Layer(GpuRank& the_gpu) : gpu(the_gpu) {
    for (Tensor* const moment : {&exp_avg, &exp_avg_sq}) {
      *moment = gpu.ops.empty({hidden, hidden}, gpu.ops.accumulation_dtype(), Category::optimizer);
      gpu.ops.fill(*moment, 0);
    }
    d_weight = gpu.ops.empty({hidden, hidden}, gpu.ops.accumulation_dtype(), Category::gradients);
    d_table = gpu.ops.empty({vocab, hidden}, gpu.ops.accumulation_dtype(), Category::gradients);
    gpu.ops.fill(d_weight, 0);
    gpu.ops.fill(d_table, 0);
    gpu.ops.fill(loss_sum, 0);
  }

  void micro_batch(int64_t tokens, int64_t document, uint64_t seed) {
    Operations& ops = gpu.ops;
    const auto ids = random_integers(static_cast<size_t>(tokens), vocab, seed);
    const auto activation = [&] { return ops.empty({tokens, hidden}, Category::activations); };
    Tensor x = activation(), normed = activation(), out = activation();
    ops.embedding(table, ids, x);
    {
      Tensor inverse = ops.empty({tokens}, ops.accumulation_dtype(), Category::activations);
      ops.rms_norm(x, norm, 0, 1e-5, normed, inverse);
    }
    Tensor projected = activation();
    ops.gemm(GemmForm::nt, normed, weight, projected, false);
    {
      Tensor log_sum_exp = ops.empty({tokens, heads}, ops.accumulation_dtype(), Category::activations);
      const auto split = [](const Tensor& each) { return each.reshape({each.dim(0), heads, head_dim}); };
      Tensor attended = split(out);
      ops.attention(split(projected), split(x), split(normed), documents(tokens, document), 0.25, attended,
                    log_sum_exp);
    }
    {
      Tensor copied = activation();
      ops.copy(out, copied);
      ops.add(copied, x, out);
      ops.gemm(GemmForm::tn, copied, normed, d_weight, true);
    }
    ops.embedding_backward(ids, out, d_table, true);
    Tensor logits = ops.empty({tokens, vocab}, Category::activations);
    ops.gemm(GemmForm::nt, out, table, logits, false);
    ops.cross_entropy(logits, ids, 1.0 / 16, loss_sum);
  }

  void update(int64_t step) {
    Operations& ops = gpu.ops;
    Tensor blocks = ops.empty({1}, DType::f64, Category::workspace);
    ops.block_sums_of_squares(d_weight, blocks);
    Tensor sum = ops.empty({1}, DType::f64, Category::workspace);
    ops.ordered_sums(blocks, {{0, 1}, {0}, {1}}, sum);
    ops.step_outcome(loss_sum, sum, {0.1}, outcome);
    test::update(ops, weight, d_weight, {exp_avg, exp_avg_sq},
                 step_of("adamw", {{"lr", 1e-2}}, step, outcome.rows(2, 3)));
    gpu.ops.fill(d_weight, 0);
    gpu.ops.fill(loss_sum, 0);
  }

  GpuRank& gpu;
  Tensor table = gpu.upload(random_values({vocab, hidden}, 1)),
         weight = gpu.upload(random_values({hidden, hidden}, 2, 0.2)), norm = gpu.filled({hidden}, 1),
         exp_avg, exp_avg_sq, d_weight, d_table,
         loss_sum = gpu.ops.empty({1}, DType::f64, Category::workspace),
         outcome = gpu.ops.empty({3}, DType::f64, Category::workspace);
};

struct Step {
  int64_t tokens, document;
};

// What a training of such steps, of two micro-batches each, leaves and says.
Outputs train(GpuRank& gpu, const std::vector<Step>& steps, bool graphs) {
  Layer layer(gpu);
  const auto task = [&](int64_t name, const std::function<void()>& work) {
    graphs ? gpu.ops.as_graphs(name, work) : work();
  };
  Outputs outputs(1);
  for (size_t step = 0; step < steps.size(); ++step) {
    for (uint64_t batch = 0; batch < 2; ++batch)
      task(1, [&] { layer.micro_batch(steps[step].tokens, steps[step].document, 10 * step + batch); });
    task(2, [&] { layer.update(static_cast<int64_t>(step) + 1); });
    for (const double value : gpu.ops.read(layer.outcome).value())
      outputs[0].push_back(static_cast<float>(value));
  }
  outputs.push_back(gpu.read(layer.weight));
  outputs.push_back(gpu.read(layer.d_table));
  return outputs;
}

const std::vector<Step> like_steps(5, Step{40, 20});

bool same_bits(const Outputs& a, const Outputs& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i)
    if (a[i].size() != b[i].size() || std::memcmp(a[i].data(), b[i].data(), a[i].size() * sizeof(float)) != 0)
      return false;
  return true;
}

}  // namespace

TEST_CASE("work that is queued as graphs gives the bits of work that is queued at once", "[graphs][slow]") {
  const DType dtype = GENERATE(DType::f32, DType::bf16);
  const bool alike = GENERATE(true, false);
  const std::vector<Step> unlike{{40, 20}, {40, 7}, {96, 96}, {17, 5}, {40, 20}, {70, 1}};
  const std::vector<Step>& steps = alike ? like_steps : unlike;
  GpuRank plain(dtype), recorded(dtype);
  const Outputs expected = train(plain, steps, false);
  CHECK(same_bits(train(recorded, steps, true), expected));
  CHECK(plain.ops.graph_counts().launched == 0);
  CHECK(recorded.ops.graph_counts().launched > 0);
  for (const float value : expected[1]) REQUIRE(std::isfinite(value));
}

TEST_CASE("steps of like shapes make no graphs after the first ones, and update those there are",
          "[graphs]") {
  GpuRank gpu;
  Layer layer(gpu);
  GraphCounts before;
  for (int64_t step = 0; step < 6; ++step) {
    for (uint64_t batch = 0; batch < 2; ++batch)
      gpu.ops.as_graphs(1, [&] { layer.micro_batch(40, 20, static_cast<uint64_t>(2 * step) + batch); });
    gpu.ops.as_graphs(2, [&] { layer.update(step + 1); });
    const GraphCounts now = gpu.ops.graph_counts();
    INFO("step " << step);
    CHECK(now.launched == now.made + now.updated);
    if (step == 0) CHECK(now.made > 0);  // by the second micro-batch
    if (step >= 3) CHECK(now.made == before.made);
    if (step >= 3) CHECK(now.updated > before.updated);
    before = now;
  }
}

TEST_CASE("other sizes and addresses of the same work need no other graphs", "[graphs]") {
  GpuRank gpu;
  std::vector<Tensor> held;  // so that addresses differ
  for (const int64_t rows : {3, 3, 200, 7, 64}) {
    Tensor x = gpu.filled({rows, 8}, 1), sum = gpu.filled({rows, 8}, 0);
    gpu.ops.as_graphs(1, [&] {
      gpu.ops.add(x, x, sum);
      gpu.ops.scale(sum, 3);
    });
    CHECK(gpu.read(sum) == std::vector<float>(static_cast<size_t>(rows * 8), 6));
    held.push_back(x);
    held.push_back(sum);
  }
  CHECK(gpu.ops.graph_counts().launched == 4);
  CHECK(gpu.ops.graph_counts().made == 1);
}

TEST_CASE("losses, norms and updates by them are queued without a copy to the host", "[graphs]") {
  GpuRank gpu;
  Tensor logits = gpu.upload(random_values({5, 8}, 1)), weight = gpu.filled({8}, 1),
         gradient = gpu.filled({8}, 1), exp_avg = gpu.filled({8}, 0), exp_avg_sq = gpu.filled({8}, 0);
  const std::vector<int32_t> labels{0, 1, 2, 3, 4};
  const auto doubles = [&](int64_t count) { return gpu.ops.empty({count}, DType::f64, Category::workspace); };
  Tensor loss_sum = doubles(1), blocks = doubles(1), squares = doubles(1), outcome = doubles(3);
  for (int64_t step = 1; step <= 4; ++step)
    gpu.ops.as_graphs(1, [&] {
      gpu.ops.fill(loss_sum, 0);
      gpu.ops.cross_entropy(logits, labels, 1, loss_sum);
      gpu.ops.block_sums_of_squares(gradient, blocks);
      gpu.ops.ordered_sums(blocks, {{0, 1}, {0}, {1}}, squares);
      gpu.ops.step_outcome(loss_sum, squares, {1}, outcome);
      update(gpu.ops, weight, gradient, {exp_avg, exp_avg_sq},
             step_of("adamw", {}, step, outcome.rows(2, 3)));
    });
  CHECK(gpu.ops.graph_counts().launched == 3);  // one a task
  CHECK(gpu.ops.graph_counts().made == 1);
  CHECK(gpu.ops.read(outcome).value()[1] == std::sqrt(8.0));
}

TEST_CASE("a task that changes is made anew, and right", "[graphs]") {
  GpuRank gpu;
  Tensor x = gpu.filled({4, 8}, 1), y = gpu.filled({4, 8}, 0);
  const auto kernels = [&] {
    gpu.ops.scale(x, 2);
    gpu.ops.add(x, x, y);
  };
  const auto with_copy = [&] {
    gpu.ops.scale(x, 2);
    gpu.ops.copy(x, y);
  };
  for (int i = 0; i < 3; ++i) gpu.ops.as_graphs(1, kernels);
  CHECK(gpu.read(y) == std::vector<float>(32, 16));
  CHECK(gpu.ops.graph_counts().made == 1);
  gpu.ops.as_graphs(1, with_copy);  // as many nodes, one of another kind
  CHECK(gpu.read(y) == std::vector<float>(32, 16));
  CHECK(gpu.ops.graph_counts().made == 2);
  gpu.ops.as_graphs(1, [&] { gpu.ops.scale(x, 2); });
  CHECK(gpu.read(x) == std::vector<float>(32, 32));
  CHECK(gpu.ops.graph_counts().made == 3);
}

TEST_CASE("the first time a task comes, and outside of tasks, nothing is recorded", "[graphs]") {
  GpuRank gpu;
  Tensor x = gpu.filled({4, 8}, 1);
  gpu.ops.as_graphs(1, [&] { gpu.ops.scale(x, 2); });
  gpu.ops.as_graphs(2, [&] { gpu.ops.scale(x, 2); });
  gpu.ops.scale(x, 2);
  CHECK(gpu.ops.graph_counts().launched == 0);
  CHECK(gpu.read(x) == std::vector<float>(32, 8));
}

TEST_CASE("what others must see is in the stream when they look for it", "[graphs]") {
  GpuRank gpu, other;
  Tensor x = gpu.filled({4, 8}, 1);
  for (int i = 0; i < 2; ++i)
    gpu.ops.as_graphs(1, [&] {
      gpu.ops.fill(x, 5 + i);
      CHECK(gpu.read(x) == std::vector<float>(32, static_cast<float>(5 + i)));  // a download
      gpu.ops.fill(x, 7 + i);
      std::vector<float> read(32);
      x.read(read.data());  // by the memory's own copies
      CHECK(read == std::vector<float>(32, static_cast<float>(7 + i)));
      gpu.ops.fill(x, 9 + i);
      Tensor given = gpu.filled({4, 8}, 11 + i);
      gpu.ops.release(given);
      given = other.ops.acquire(std::move(given), Category::activations);
      CHECK(other.read(given) == std::vector<float>(32, static_cast<float>(11 + i)));
      gpu.ops.synchronize();
    });
  CHECK(gpu.read(x) == std::vector<float>(32, 10));
}

TEST_CASE("another thread's waits, events and frees leave what is recorded alone", "[graphs]") {
  GpuRank gpu;
  Tensor x = gpu.filled({4, 8}, 1);
  for (int i = 0; i < 2; ++i) {
    Tensor freed = gpu.filled({4, 8}, 2);
    gpu.ops.as_graphs(1, [&] {
      gpu.ops.add(x, freed, x);
      std::thread([&, gone = std::exchange(freed, Tensor())]() mutable {
        cuda::Event event;
        gpu.stream().record(event);
        gpu.stream().wait(event);
        gone = Tensor();
        gpu.stream().synchronize();
      }).join();
      // Were the block's bytes the driver's again, they would be NaN here.
      const Tensor taken = gpu.ops.empty({4, 8}, Category::activations);
      gpu.ops.add(x, x, x);
    });
  }
  CHECK(gpu.read(x) == std::vector<float>(32, 16));  // ((1 + 2) * 2 + 2) * 2
  CHECK(gpu.ops.graph_counts().launched == 1);
}

TEST_CASE("work that was recorded before an error goes to the device, as it does without graphs",
          "[graphs]") {
  GpuRank gpu;
  Tensor x = gpu.filled({4, 8}, 1);
  for (int i = 0; i < 2; ++i)
    CHECK_THROWS_WITH(gpu.ops.as_graphs(1,
                                        [&] {
                                          gpu.ops.scale(x, 2);
                                          throw std::runtime_error("the task failed");
                                        }),
                      "the task failed");
  CHECK_NOTHROW(gpu.ops.check_device());
  CHECK(gpu.read(x) == std::vector<float>(32, 4));
  CHECK(gpu.ops.graph_counts().launched == 1);
  gpu.ops.as_graphs(1, [&] { gpu.ops.scale(x, 2); });
  CHECK(gpu.read(x) == std::vector<float>(32, 8));
}

static const auto is_lost = Catch::Matchers::Contains("work for the device was recorded, and is lost");

TEST_CASE("recorded work that the device refuses is an error at once and ever after", "[graphs]") {
  GpuRank gpu;
  Tensor x = gpu.filled({4, 8}, 1);
  gpu.ops.as_graphs(1, [] {});
  CHECK_THROWS_WITH(gpu.ops.as_graphs(1,
                                      [&] {
                                        gpu.ops.scale(x, 2);
                                        // Not for a stream that captures: the capture is of no use after it.
                                        CHECK(cudaStreamSynchronize(gpu.stream().native()) != cudaSuccess);
                                        cudaGetLastError();
                                      }),
                    is_lost);
  CHECK_THROWS_WITH(gpu.ops.scale(x, 2), is_lost);
  CHECK_THROWS_WITH(gpu.ops.synchronize(), is_lost);
  CHECK_THROWS_WITH(gpu.read(x), is_lost);
  CHECK_THROWS_WITH(gpu.ops.as_graphs(2, [] {}), is_lost);
  CHECK_THROWS_WITH(gpu.ops.check_device(), is_lost);
  CHECK_THROWS_AS(gpu.ops.check_device(), RunError);
}

TEST_CASE("a lost graph is said by the next use where another error is on its way", "[graphs]") {
  GpuRank gpu;
  Tensor x = gpu.filled({4, 8}, 1);
  gpu.ops.as_graphs(1, [] {});
  CHECK_THROWS_WITH(gpu.ops.as_graphs(1,
                                      [&] {
                                        gpu.ops.scale(x, 2);
                                        CHECK(cudaStreamSynchronize(gpu.stream().native()) != cudaSuccess);
                                        cudaGetLastError();
                                        throw std::runtime_error("the task failed");
                                      }),
                    "the task failed");
  CHECK_THROWS_WITH(gpu.ops.synchronize(), is_lost);
}
