#include "kernels/memory.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <thread>
#include <vector>

#include "kernels/tensor.hpp"
#include "tests/catch.hpp"

using namespace collie;

namespace {

// Turns poison on for a scope.
struct Poisoned {
  Poisoned() { set_poison(true); }
  ~Poisoned() { set_poison(false); }
};

}  // namespace

TEST_CASE("an account knows what is held and the most that was, by category and in total", "[memory]") {
  MemoryAccount account;
  account.add(Category::weights, 100);
  account.add(Category::activations, 50);
  account.remove(Category::activations, 50);
  account.add(Category::gradients, 30);
  CHECK(account.current(Category::weights) == 100);
  CHECK(account.current(Category::activations) == 0);
  CHECK(account.peak(Category::activations) == 50);
  CHECK(account.current_total() == 130);
  CHECK(account.peak_total() == 150);
}

TEST_CASE("an account that several threads use loses nothing", "[memory]") {
  MemoryAccount account;
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 10000; ++i) {
        account.add(Category::workspace, 3);
        account.remove(Category::workspace, 3);
      }
      account.add(Category::weights, 7);
    });
  for (auto& thread : threads) thread.join();
  CHECK(account.current(Category::workspace) == 0);
  CHECK(account.peak(Category::workspace) >= 3);
  CHECK(account.peak(Category::workspace) <= 9);
  CHECK(account.current_total() == 21);
}

TEST_CASE("categories have names", "[memory]") {
  CHECK(name(Category::weights) == "weights");
  CHECK(name(Category::workspace) == "workspace");
}

TEST_CASE("host blocks are aligned, of any size, and reused", "[memory]") {
  for (const size_t bytes :
       {size_t{0}, size_t{1}, size_t{64}, size_t{65}, size_t{1000}, size_t{4097}, size_t{1} << 20}) {
    CAPTURE(bytes);
    void* const block = allocate_host(bytes);
    CHECK(reinterpret_cast<uintptr_t>(block) % 64 == 0);
    std::fill_n(static_cast<uint8_t*>(block), bytes, uint8_t{1});
    free_host(block, bytes);
  }
#ifndef __SANITIZE_ADDRESS__
  release_cached_host_blocks();
  void* const block = allocate_host(100000);
  free_host(block, 100000);
  CHECK(cached_host_bytes() >= 100000);
  CHECK(cached_host_bytes() <= 100000 * 9 / 8);
  CHECK(allocate_host(100001) == block);  // rounds to the same size
  CHECK(cached_host_bytes() == 0);
  free_host(block, 100001);
  release_cached_host_blocks();
  CHECK(cached_host_bytes() == 0);
#endif
}

TEST_CASE("poison fills fresh and reused blocks with NaN", "[memory]") {
  const Poisoned poisoned;
  for (int round = 0; round < 2; ++round) {
    auto* const block = static_cast<uint8_t*>(allocate_host(1000));
    CHECK(std::all_of(block, block + 1000, [](uint8_t byte) { return byte == 0xFF; }));
    std::fill_n(block, 1000, uint8_t{0});
    free_host(block, 1000);
  }
  const auto account = std::make_shared<MemoryAccount>();
  const Tensor x = Tensor::host({5}, DType::f32, account, Category::weights);
  CHECK(std::isnan(x.data<float>()[4]));
}
