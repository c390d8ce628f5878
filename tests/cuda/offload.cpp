// Activations on the host and back, while the device computes in the memory they had.
#include "kernels/cuda/cuda_operations.hpp"
#include "tests/catch.hpp"
#include "tests/kernels/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

std::vector<float> numbers(CudaOperations& operations, const Tensor& x) {
  std::vector<float> all(static_cast<size_t>(x.numel()));
  operations.download(x, all);
  return all;
}

}  // namespace

TEST_CASE("cuda: offloaded tensors come back as they were, though others had their memory meanwhile") {
  const auto account = std::make_shared<MemoryAccount>();
  CudaOperations operations(DType::f32, 0, account);
  constexpr int groups = 6;
  const auto shape_of = [](int group) { return Shape{40 + 7 * group, 65}; };
  const auto values_of = [&](int group) {
    return random_values(shape_of(group), static_cast<uint64_t>(group)).data;
  };
  for (int round = 0; round < 3; ++round) {
    std::vector<std::unique_ptr<Offloaded>> away;
    for (int group = 0; group < groups; ++group) {
      Tensor x = operations.empty(shape_of(group), Category::activations), y;
      operations.upload(values_of(group), x);
      y = operations.empty(shape_of(group), Category::activations);
      operations.add(x, x, y);
      std::vector<Tensor> tensors;
      tensors.push_back(std::move(x));
      tensors.emplace_back();
      tensors.push_back(std::move(y));
      away.push_back(operations.offload(std::move(tensors)));
      // Takes what was let go, and overwrites it.
      for (int i = 0; i < 4; ++i) {
        Tensor other = operations.empty(shape_of(group), Category::workspace);
        operations.fill(other, -1);
      }
    }
    size_t all = 0;
    for (int group = 0; group < groups; ++group)
      all += 2 * static_cast<size_t>(shape_of(group).numel()) * sizeof(float);
    CHECK(account->current(Category::activations) < all / 3);
    for (int group = groups; group-- > 0;) {
      if (group > 0) away[static_cast<size_t>(group) - 1]->fetch();
      const std::vector<Tensor> tensors = away[static_cast<size_t>(group)]->take();
      Tensor doubled = operations.empty(shape_of(group), Category::workspace);
      operations.add(tensors[0], tensors[0], doubled);
      CAPTURE(round, group);
      CHECK(numbers(operations, tensors[0]) == values_of(group));
      CHECK(!tensors[1].defined());
      CHECK(numbers(operations, tensors[2]) == numbers(operations, doubled));
      away[static_cast<size_t>(group)].reset();
    }
    CHECK(account->current(Category::activations) == 0);
  }
}

TEST_CASE("cuda: dropping what is on its way to the host harms nobody who gets its memory") {
  CudaOperations operations(DType::f32, 0, std::make_shared<MemoryAccount>());
  const Shape shape{64, 64};
  for (int round = 0; round < 20; ++round) {
    Tensor x = operations.empty(shape, Category::activations);
    operations.fill(x, round);
    operations.offload({std::move(x)}).reset();
    Tensor y = operations.empty(shape, Category::activations);
    operations.fill(y, -round);
    CHECK(numbers(operations, y) == std::vector<float>(64 * 64, static_cast<float>(-round)));
  }
}
