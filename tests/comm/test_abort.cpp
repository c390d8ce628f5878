// Every wait of every group can be cancelled from outside.
#include <algorithm>
#include <atomic>
#include <chrono>

#include "tests/catch.hpp"
#include "tests/comm/implementations.hpp"

using namespace collie;
using namespace collie::test;

namespace {

using Clock = std::chrono::steady_clock;

// What a wait may take to end after abort(). A few milliseconds in truth; a loaded machine and sanitizers
// need more.
constexpr std::chrono::milliseconds soon{2000};

void each_operation(
    const std::function<void(const char*, const std::function<void(ProcessGroup&)>&)>& visit) {
  visit("all_reduce_sum", [](ProcessGroup& self) {
    Tensor x = random_tensor({8}, DType::f32, 1);
    self.all_reduce_sum(x);
  });
  visit("reduce_scatter_sum", [](ProcessGroup& self) {
    Tensor x = random_tensor({2 * self.size()}, DType::f32, 1), y = make_tensor({2}, DType::f32);
    self.reduce_scatter_sum(x, y);
  });
  visit("all_gather", [](ProcessGroup& self) {
    Tensor x = random_tensor({2}, DType::f32, 1), y = make_tensor({2 * self.size()}, DType::f32);
    self.all_gather(x, y);
  });
  visit("broadcast", [](ProcessGroup& self) {
    Tensor x = random_tensor({8}, DType::f32, 1);
    self.broadcast(x, 0);
  });
  visit("all_to_all", [](ProcessGroup& self) {
    Tensor x = random_tensor({2 * self.size()}, DType::f32, 1), y = make_tensor(x.shape(), DType::f32);
    self.all_to_all(x, y);
  });
  visit("send", [](ProcessGroup& self) {
    Tensor x = random_tensor({8}, DType::f32, 1);
    self.send(x, (self.rank() + 1) % self.size());
  });
  visit("receive", [](ProcessGroup& self) {
    Tensor x = random_tensor({8}, DType::f32, 1);
    self.receive(x, (self.rank() + 1) % self.size());
  });
  visit("barrier", [](ProcessGroup& self) { self.barrier(); });
}

}  // namespace

TEST_CASE("abort wakes every operation, and later ones do not begin") {
  const Implementation implementation = GENERATE(from_range(implementations()));
  CAPTURE(implementation.name);
  each_operation([&](const char* name, const auto& call) {
    CAPTURE(name);
    const Group group = implementation.make(3);
    // Rank 2 never comes; it aborts once the others surely wait. (Were they late, they would find it aborted:
    // the same.)
    const auto thrown = run_ranks(3, [&](int rank) {
      if (rank != 2) return call(*group[at(rank)]);
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      group[2]->abort("rank 2: disk full");
    });
    CHECK(said(thrown[0]) == "Aborted: aborted: rank 2: disk full");
    CHECK(said(thrown[1]) == "Aborted: aborted: rank 2: disk full");
    CHECK(said(thrown[2]) == "");
    for (const auto& later : run_ranks(3, [&](int rank) { call(*group[at(rank)]); }))
      CHECK(said(later) == "Aborted: aborted: rank 2: disk full");
    for (const auto& asked : run_ranks(3, [&](int rank) { group[at(rank)]->check(); }))
      CHECK(said(asked) == "Aborted: aborted: rank 2: disk full");
  });
}

TEST_CASE("abort before anything has begun, also of a group of one") {
  const Implementation implementation = GENERATE(from_range(implementations()));
  const int size = GENERATE(1, 3);
  const Group group = implementation.make(size);
  group[0]->abort("never mind");
  for (const auto& thrown : run_ranks(size, [&](int rank) { group[at(rank)]->barrier(); }))
    CHECK(said(thrown) == "Aborted: aborted: never mind");
}

TEST_CASE("the first cause counts") {
  const Implementation implementation = GENERATE(from_range(implementations()));
  const Group group = implementation.make(2);
  group[1]->abort("first");
  group[0]->abort("second");
  CHECK(said(run_ranks(1, [&](int) { group[0]->barrier(); })[0]) == "Aborted: aborted: first");
}

TEST_CASE("63 of 64 waiting ranks are gone soon after abort") {
  const Implementation implementation = GENERATE(from_range(implementations()));
  CAPTURE(implementation.name);
  const int size = std::min(64, implementation.most_ranks), aborter = size / 4;
  const Group group = implementation.make(size);
  Clock::time_point aborted;
  std::vector<Clock::time_point> gone(at(size));
  const auto thrown = run_ranks(size, [&](int rank) {
    if (rank == aborter) {
      std::this_thread::sleep_for(std::chrono::milliseconds(30));
      aborted = Clock::now();
      return group[at(aborter)]->abort("a rank died");
    }
    try {
      Tensor x = random_tensor({16}, DType::f32, 1);
      group[at(rank)]->all_reduce_sum(x);
    } catch (const Aborted&) {
      gone[at(rank)] = Clock::now();
      throw;
    }
  });
  for (int rank = 0; rank < size; ++rank) {
    if (rank == aborter) continue;
    CHECK(said(thrown[at(rank)]) == "Aborted: aborted: a rank died");
    CHECK(gone[at(rank)] - aborted < soon);
  }
}

TEST_CASE("abort in the middle of traffic leaves every rank with either its result or Aborted", "[slow]") {
  const Implementation implementation = GENERATE(from_range(implementations()));
  constexpr int size = 4;
  for (int round = 0; round < 20; ++round) {
    const Group group = implementation.make(size);
    // Of 8 and of 40,000 elements: both ways of working.
    std::vector<int64_t> done(size, 0);
    std::atomic<int> wrong = 0;
    std::thread aborter([&] {
      std::this_thread::sleep_for(std::chrono::microseconds(100 + 150 * round));
      group[0]->abort("enough");
    });
    const auto thrown = run_ranks(size, [&](int rank) {
      while (true) {
        Tensor x = make_tensor({done[at(rank)] % 2 == 0 ? 8 : 40000}, DType::f32);
        for (int64_t i = 0; i < x.numel(); ++i) x.data<float>()[i] = static_cast<float>(rank + 1);
        group[at(rank)]->all_reduce_sum(x);
        for (int64_t i = 0; i < x.numel(); ++i) wrong += x.data<float>()[i] != 10;
        ++done[at(rank)];
      }
    });
    aborter.join();
    for (const auto& each : thrown) CHECK(said(each) == "Aborted: aborted: enough");
    for (const int64_t count : done) CHECK(std::abs(count - done[0]) <= 1);
    CHECK(wrong == 0);
  }
}

TEST_CASE("aborting one group leaves another of the same threads alone") {
  const Implementation implementation = GENERATE(from_range(implementations()));
  const Group first = implementation.make(2), second = implementation.make(2);
  first[0]->abort("gone");
  CHECK(complaint(run_ranks(2, [&](int rank) { second[at(rank)]->barrier(); })) == "");
}
