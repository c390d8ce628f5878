// Sums that nobody waits for.
#include "comm/async_reducer.hpp"

#include <atomic>
#include <chrono>
#include <future>

#include "tests/catch.hpp"
#include "tests/comm/oracle.hpp"
#include "tests/comm/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

size_t at(int rank) {
  return static_cast<size_t>(rank);
}

Tensor input(int rank, int sequence, const Shape& shape, DType dtype) {
  return random_tensor(shape, dtype,
                       random_key(static_cast<uint64_t>(rank), "async" + std::to_string(sequence)));
}

Bytes oracle(int size, int sequence, const Shape& shape, DType dtype) {
  std::vector<Bytes> in;
  for (int rank = 0; rank < size; ++rank) in.push_back(bytes_of(input(rank, sequence, shape, dtype)));
  return oracle_sum(dtype, in);
}

// Collects what on_done said, by submission.
struct Outcomes {
  std::mutex mutex;
  std::vector<std::string> said_;

  AsyncReducer::OnDone next() {
    const std::lock_guard lock(mutex);
    said_.push_back("nothing");
    return [this, place = said_.size() - 1](const std::exception_ptr& failure) {
      const std::lock_guard inner(mutex);
      said_[place] = said_[place] == "nothing" ? (failure ? said(failure) : "done") : "called twice";
    };
  }
};

}  // namespace

TEST_CASE("the last rank to submit completes the sum for all, bitwise in rank order") {
  const int size = GENERATE(1, 2, 3, 4);
  const DType dtype = GENERATE(DType::f32, DType::f64);
  CAPTURE(size, name(dtype));
  AsyncReducer reducer(size, 8);
  std::vector<Tensor> x;
  Outcomes outcomes;
  for (int rank = 0; rank < size; ++rank) x.push_back(input(rank, 0, {777}, dtype));
  // The last rank comes first: order of arrival must not matter.
  for (int rank = size - 1; rank >= 0; --rank) {
    CHECK(reducer.in_flight(rank) == 0);
    reducer.submit(rank, 0, x[at(rank)], outcomes.next());
    if (rank > 0) CHECK(reducer.in_flight(rank) == 1);
    if (rank > 0) CHECK(outcomes.said_[0] == "nothing");
  }
  CHECK(outcomes.said_ == std::vector<std::string>(at(size), "done"));
  for (const Tensor& tensor : x) CHECK(bytes_of(tensor) == oracle(size, 0, {777}, dtype));
  for (int rank = 0; rank < size; ++rank) CHECK(reducer.in_flight(rank) == 0);
}

TEST_CASE("many sums in flight from many threads give the oracle's bits, every time") {
  constexpr int size = 6, sums = 60;
  const int depth = GENERATE(1, 3, 8);
  CAPTURE(depth);
  AsyncReducer reducer(size, depth);
  std::vector<std::vector<Tensor>> x(size);
  std::vector<std::vector<std::promise<void>>> done(size);
  for (auto& promises : done) promises.resize(sums);
  const auto shape = [](int sequence) { return Shape{sequence % 7 == 0 ? 5000 : sequence % 5}; };
  std::atomic<int> too_many = 0;
  CHECK(complaint(run_ranks(size, [&](int rank) {
          for (int s = 0; s < sums; ++s) {
            x[at(rank)].push_back(input(rank, s, shape(s), DType::f32));
            reducer.submit(rank, static_cast<uint64_t>(s), x[at(rank)].back(),
                           [&promise = done[at(rank)][at(s)]](const std::exception_ptr& failure) {
                             failure ? promise.set_exception(failure) : promise.set_value();
                           });
            too_many += reducer.in_flight(rank) > depth;
          }
          for (auto& promise : done[at(rank)]) promise.get_future().get();
        })) == "");
  CHECK(too_many == 0);
  int different = 0;
  for (int s = 0; s < sums; ++s)
    for (int rank = 0; rank < size; ++rank)
      different += bytes_of(x[at(rank)][at(s)]) != oracle(size, s, shape(s), DType::f32);
  CHECK(different == 0);
}

TEST_CASE("a rank that is too far ahead waits for the oldest sum") {
  AsyncReducer reducer(2, 2);
  Outcomes outcomes;
  std::atomic<int> submitted = 0;
  std::thread ahead([&] {
    for (int s = 0; s < 3; ++s) {
      reducer.submit(0, static_cast<uint64_t>(s), input(0, s, {4}, DType::f32), outcomes.next());
      ++submitted;
    }
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  CHECK(submitted == 2);
  CHECK(reducer.in_flight(0) == 2);
  reducer.submit(1, 0, input(1, 0, {4}, DType::f32), outcomes.next());
  ahead.join();
  CHECK(submitted == 3);
  reducer.abort("the test is over");
}

TEST_CASE("abort completes what is in flight, once, and refuses what comes") {
  AsyncReducer reducer(2, 4);
  Outcomes outcomes;
  for (int s = 0; s < 3; ++s)
    reducer.submit(0, static_cast<uint64_t>(s), input(0, s, {4}, DType::f32), outcomes.next());
  reducer.submit(1, 0, input(1, 0, {4}, DType::f32), outcomes.next());
  reducer.abort("rank 1 died");
  reducer.abort("again");
  const std::string aborted = "Aborted: aborted: rank 1 died";
  CHECK(outcomes.said_ == std::vector<std::string>{"done", aborted, aborted, "done"});
  CHECK_THROWS_AS(reducer.submit(1, 1, input(1, 1, {4}, DType::f32), outcomes.next()), Aborted);
  CHECK(outcomes.said_.back() == "nothing");  // it was not taken
}

TEST_CASE("abort wakes a rank that waits to submit") {
  AsyncReducer reducer(2, 1);
  Outcomes outcomes;
  reducer.submit(0, 0, input(0, 0, {4}, DType::f32), outcomes.next());
  std::thread aborter([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    reducer.abort("enough");
  });
  CHECK_THROWS_AS(reducer.submit(0, 1, input(0, 1, {4}, DType::f32), outcomes.next()), Aborted);
  aborter.join();
  CHECK(outcomes.said_[0] == "Aborted: aborted: enough");
}

TEST_CASE("destruction completes what is in flight") {
  Outcomes outcomes;
  {
    AsyncReducer reducer(2, 4);
    reducer.submit(0, 0, input(0, 0, {4}, DType::f32), outcomes.next());
  }
  CHECK(outcomes.said_ == std::vector<std::string>{"Aborted: aborted: the reducer is gone"});
}

TEST_CASE("another shape or dtype under the same number is refused on every rank") {
  AsyncReducer reducer(3, 4);
  Outcomes outcomes;
  reducer.submit(0, 0, make_tensor({4}, DType::f32), outcomes.next());
  reducer.submit(1, 0, make_tensor({4}, DType::f32), outcomes.next());
  reducer.submit(1, 1, make_tensor({2}, DType::f32), outcomes.next());
  const std::string message =
      "RunError: reducer: number 0 of rank 2 is float64 [4], but that of rank 0 is float32 [4]";
  const auto thrown = run_ranks(1, [&](int) { reducer.submit(2, 0, make_tensor({4}, DType::f64), nullptr); });
  CHECK(said(thrown[0]) == message);
  CHECK(outcomes.said_ == std::vector<std::string>{message, message, message});
  CHECK_THROWS_AS(reducer.submit(0, 1, make_tensor({4}, DType::f32), nullptr), RunError);
}

TEST_CASE("what a caller of the reducer may get wrong") {
  AsyncReducer reducer(2, 4);
  const auto ignore = [](const std::exception_ptr&) {};
  CHECK_THROWS_AS(reducer.submit(2, 0, make_tensor({4}, DType::f32), ignore), std::logic_error);
  CHECK_THROWS_AS(reducer.submit(0, 1, make_tensor({4}, DType::f32), ignore), std::logic_error);
  CHECK_THROWS_AS(reducer.submit(0, 0, make_tensor({4}, DType::i32), ignore), std::logic_error);
  CHECK_THROWS_AS(reducer.submit(0, 0, {}, ignore), std::logic_error);
  CHECK_THROWS_AS(AsyncReducer(0, 1), std::logic_error);
  CHECK_THROWS_AS(AsyncReducer(1, 0), std::logic_error);
}

TEST_CASE("abort among threads that submit completes every submission exactly once") {
  constexpr int size = 4;
  for (int round = 0; round < 20; ++round) {
    std::vector<std::vector<std::atomic<int>>> calls(size);
    std::vector<int> taken(size, 0);
    for (auto& each : calls) each = std::vector<std::atomic<int>>(100000);
    {
      AsyncReducer reducer(size, 4);
      std::thread aborter([&] {
        std::this_thread::sleep_for(std::chrono::microseconds(100 * round));
        reducer.abort("enough");
      });
      const auto thrown = run_ranks(size, [&](int rank) {
        for (int s = 0; s < 100000; ++s) {
          auto& count = calls[at(rank)][at(s)];
          reducer.submit(rank, static_cast<uint64_t>(s), make_tensor({s % 50}, DType::f32),
                         [&count](const std::exception_ptr&) { ++count; });
          ++taken[at(rank)];
        }
      });
      aborter.join();
    }
    int wrong = 0;
    for (int rank = 0; rank < size; ++rank)
      for (int s = 0; s < 100000; ++s) wrong += calls[at(rank)][at(s)] != (s < taken[at(rank)] ? 1 : 0);
    CHECK(wrong == 0);
  }
}
