// A device that has failed, and what looks at it without waiting.
#include <future>

#include "kernels/cuda/api.hpp"
#include "kernels/cuda/cuda_operations.hpp"
#include "kernels/meta/meta_gpu_operations.hpp"
#include "tests/catch.hpp"
#include "tests/kernels/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

struct Failing {
  Failing() { emulation::fail_devices(cudaErrorLaunchFailure); }
  ~Failing() { emulation::fail_devices(cudaSuccess); }
};

}  // namespace

TEST_CASE("a device that has failed is said, and what was to be read from it may be forgotten", "[cuda]") {
  CudaOperations ops(DType::f32, 0, std::make_shared<MemoryAccount>());
  const Tensor x = doubles(ops, {1, 2});
  auto asked = ops.read(x);
  {
    const auto forgotten = std::make_unique<Deferred<std::vector<double>>>(ops.read(x));
    const Failing failing;
    CHECK_THROWS_AS(ops.check_device(), RunError);
    CHECK_THROWS_WITH(ops.check_device(), "GPU 0: CUDA: work on the device: unspecified launch failure");
    CHECK_THROWS_WITH(asked.value(), Catch::Matchers::Contains("unspecified launch failure"));
    ops.read(x);
  }
  CHECK_NOTHROW(ops.check_device());
}

TEST_CASE("looking at a device does not wait for it", "[cuda]") {
  CudaOperations ops(DType::f32, 0, std::make_shared<MemoryAccount>());
  std::promise<void> go_on;
  ops.when_done([done = go_on.get_future().share()] { done.wait(); });
  CHECK_NOTHROW(ops.check_device());
  CHECK(cudaStreamQuery(ops.stream()->bare()) == cudaErrorNotReady);
  go_on.set_value();
  ops.synchronize();
  CHECK(cudaStreamQuery(ops.stream()->bare()) == cudaSuccess);
}

TEST_CASE("calls that wait for the device come before the table's end, though its memory lives on",
          "[cuda]") {
  bool called = false;
  Tensor left;
  {
    CudaOperations ops(DType::f32, 0, std::make_shared<MemoryAccount>());
    left = doubles(ops, std::vector<double>(10000, 1));
    Tensor sum = ops.empty({1}, DType::f64, Category::workspace);
    for (int i = 0; i < 20; ++i) ops.ordered_sums(left, {{0, 1}, {0}, {10000}}, sum);
    ops.when_done([&] { called = true; });
  }
  CHECK(called);
}

TEST_CASE("what a step's end takes on a GPU is counted to the byte", "[cuda]") {
  const auto peaks_of =
      [](const std::function<std::unique_ptr<Operations>(std::shared_ptr<MemoryAccount>)>& make) {
        const auto account = std::make_shared<MemoryAccount>();
        const auto ops = make(account);
        const auto empty = [&](const Shape& shape, DType dtype) {
          return ops->empty(shape, dtype, Category::workspace);
        };
        std::vector<size_t> peaks;
        const auto note = [&] {
          ops->synchronize();
          peaks.push_back(account->peak_total());
          peaks.push_back(account->current_total());
        };
        Tensor loss_sum = empty({1}, DType::f64), logits = empty({1000, 4}, DType::f32),
               statistics = empty({1, 1000, 3}, DType::f64), sums = empty({2}, DType::f64),
               outcome = empty({3}, DType::f64), flat = empty({5000}, DType::f32);
        const std::vector<int32_t> labels(1000, 3);
        ops->fill(loss_sum, 0);
        ops->fill(logits, 1);
        ops->fill(flat, 1);
        Tensor of_shard = statistics.reshape({1000, 3});
        ops->softmax_statistics(logits, labels, 0, of_shard);
        note();
        ops->cross_entropy(logits, labels, 1, loss_sum);
        note();
        ops->cross_entropy_from_statistics(logits, std::vector<int32_t>(1000, 2), 0, statistics, 1, loss_sum);
        note();
        ops->block_sums_of_squares(flat, sums);
        note();
        OrderedRuns runs{{0, 3000}, std::vector<int32_t>(3000, 1), std::vector<int32_t>(3000, 1)};
        Tensor sum = sums.rows(0, 1);
        ops->ordered_sums(empty({2}, DType::f64), runs, sum);
        note();
        ops->step_outcome(loss_sum, sum, {1}, outcome);
        ops->read(outcome).value();
        note();
        return peaks;
      };
  CHECK(peaks_of([](auto account) { return std::make_unique<MetaGpuOperations>(DType::f32, account); }) ==
        peaks_of([](auto account) { return std::make_unique<CudaOperations>(DType::f32, 0, account); }));
}
