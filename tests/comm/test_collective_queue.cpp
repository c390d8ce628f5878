// Collectives in the background of a rank.
#include "comm/collective_queue.hpp"

#include <atomic>
#include <chrono>
#include <future>
#include <optional>

#include "tests/catch.hpp"
#include "tests/comm/collective_thread.hpp"
#include "tests/comm/oracle.hpp"
#include "tests/comm/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

using Pending = CollectiveQueue::Pending;

std::shared_ptr<ProcessGroup> lonely() {
  return make_in_process_group(1)[0];
}

void nothing(ProcessGroup&) {}

std::string said_by(const Pending& pending) {
  return said(run_ranks(1, [&](int) { pending.wait(); })[0]);
}

}  // namespace

TEST_CASE("operations run in the order of their submission, one for each run_next") {
  CollectiveQueue queue(lonely(), 4);
  CHECK(!queue.run_next());
  std::string order;
  std::vector<Pending> pending;
  for (const char letter : {'a', 'b', 'c'})
    pending.push_back(
        queue.submit(std::string(1, letter), [&order, letter](ProcessGroup&) { order += letter; }));
  CHECK(order.empty());
  CHECK(queue.in_flight() == 3);
  CHECK(queue.run_next());
  CHECK(order == "a");
  CHECK(pending[0].done());
  CHECK(!pending[1].done());
  CHECK(queue.run_next());
  CHECK(queue.run_next());
  CHECK(!queue.run_next());
  CHECK(order == "abc");
  for (const Pending& each : pending) each.wait();
  CHECK(queue.in_flight() == 0);
}

TEST_CASE("a handle of nothing is done") {
  const Pending pending;
  CHECK(pending.done());
  pending.wait();
}

TEST_CASE("on_submit is called once for each submission that was queued, and may drive the queue") {
  int calls = 0;
  CollectiveQueue* self = nullptr;
  CollectiveQueue queue(lonely(), 1, [&] {
    ++calls;
    self->run_next();
  });
  self = &queue;
  for (int i = 0; i < 3; ++i) CHECK(queue.submit("nothing", nothing).done());
  CHECK(calls == 3);
  queue.abort("enough");
  queue.submit("late", nothing);
  CHECK(calls == 3);
}

TEST_CASE("background sums are those of the oracle, with any number in flight") {
  const int size = GENERATE(2, 3);
  const int depth = GENERATE(1, 3, 16);
  constexpr int rounds = 20;
  const Group group = make_in_process_group(size);
  const auto input = [](int rank, int round) {
    return random_tensor({50 + round}, DType::f32,
                         random_key(static_cast<uint64_t>(rank), "background" + std::to_string(round)));
  };
  std::vector<std::vector<Tensor>> x(at(size));
  CHECK(complaint(run_ranks(size, [&](int rank) {
          CollectiveThread driver(group[at(rank)], depth);
          std::vector<Pending> pending;
          for (int round = 0; round < rounds; ++round) {
            Tensor tensor = input(rank, round);
            x[at(rank)].push_back(tensor);
            pending.push_back(driver.queue().submit(
                "sum", [tensor](ProcessGroup& self) mutable { self.all_reduce_sum(tensor); }));
          }
          for (const Pending& each : pending) each.wait();
        })) == "");
  for (int round = 0; round < rounds; ++round) {
    std::vector<Bytes> in;
    for (int rank = 0; rank < size; ++rank) in.push_back(bytes_of(input(rank, round)));
    const Bytes expected = oracle_sum(DType::f32, in);
    for (int rank = 0; rank < size; ++rank) CHECK(bytes_of(x[at(rank)][at(round)]) == expected);
  }
}

TEST_CASE("submit waits while max_in_flight are in flight, the running one among them") {
  CollectiveQueue queue(lonely(), 2);
  queue.submit("one", nothing);
  queue.submit("two", nothing);
  std::atomic<bool> submitted = false;
  std::thread submitter([&] {
    queue.submit("three", nothing);
    submitted = true;
  });
  sleep_ms(20);
  CHECK(!submitted);
  CHECK(queue.in_flight() == 2);
  CHECK(queue.run_next());
  submitter.join();
  CHECK(queue.in_flight() == 2);
}

TEST_CASE("wait blocks until the operation has run, and the time is counted") {
  CollectiveThread driver(lonely(), 4);
  std::atomic<bool> ran = false;
  const Pending pending = driver.queue().submit("slow", [&](ProcessGroup&) {
    sleep_ms(100);
    ran = true;
  });
  CHECK(driver.queue().blocked_seconds() == 0);
  pending.wait();
  CHECK(ran);
  const double blocked = driver.queue().blocked_seconds();
  CHECK(blocked > 0);
  pending.wait();
  CHECK(driver.queue().blocked_seconds() == blocked);
}

TEST_CASE("an operation is destroyed before its handle is done") {
  CollectiveThread driver(lonely(), 4);
  const auto account = std::make_shared<int>(0);
  const Pending pending = driver.queue().submit("held", [account](ProcessGroup&) { sleep_ms(5); });
  pending.wait();
  CHECK(account.use_count() == 1);
}

TEST_CASE("after a failure every pending and every later operation fails with it") {
  CollectiveQueue queue(lonely(), 4);
  const auto held = std::make_shared<int>(0);
  const Pending good = queue.submit("good", nothing);
  const Pending bad = queue.submit("bad", [](ProcessGroup&) { throw RunError("the cable is cut"); });
  const Pending pending = queue.submit("pending", [held](ProcessGroup&) {});
  CHECK(queue.run_next());
  CHECK(queue.run_next());
  CHECK(!queue.run_next());
  CHECK(held.use_count() == 1);
  const Pending later = queue.submit("later", [held](ProcessGroup&) {});
  CHECK(held.use_count() == 1);
  CHECK(said_by(good) == "");
  for (const Pending& each : {bad, pending, later}) {
    CHECK(each.done());
    CHECK(said_by(each) == "RunError: the cable is cut");
    CHECK(said_by(each) == "RunError: the cable is cut");
  }
  queue.abort("too late");
  CHECK(said_by(later) == "RunError: the cable is cut");
}

TEST_CASE("abort wakes waiters and blocked submitters; an operation that runs is let run") {
  const Group group = make_in_process_group(2);
  CollectiveQueue queue(group[0], 2);
  std::promise<void> running, go_on;
  const Pending first = queue.submit("first", [&](ProcessGroup&) {
    running.set_value();
    go_on.get_future().wait();
  });
  const Pending second = queue.submit("second", nothing);
  std::thread driver([&] { queue.run_next(); });
  running.get_future().wait();
  std::thread aborter([&] {
    sleep_ms(10);
    queue.abort("rank 1: disk full");
    queue.abort("second cause");
  });
  const auto thrown = run_ranks(3, [&](int waiter) {
    if (waiter == 0) first.wait();
    if (waiter == 1) second.wait();
    if (waiter == 2) queue.submit("third", nothing).wait();
  });
  for (const auto& each : thrown) CHECK(said(each) == "Aborted: aborted: rank 1: disk full");
  aborter.join();
  go_on.set_value();
  driver.join();
  CHECK(said_by(first) == "Aborted: aborted: rank 1: disk full");
  CHECK(queue.in_flight() == 0);
}

TEST_CASE("the group's abort reaches the waiters of its queue") {
  const Group group = make_in_process_group(2);
  CollectiveThread driver(group[0], 2);
  const Pending pending = driver.queue().submit("barrier", [](ProcessGroup& self) { self.barrier(); });
  group[1]->abort("rank 1 is gone");
  CHECK(said_by(pending) == "Aborted: aborted: rank 1 is gone");
}

TEST_CASE("handles outlive their queue") {
  std::optional<CollectiveQueue> queue(std::in_place, lonely(), 2);
  const Pending done = queue->submit("done", nothing), never = queue->submit("never", nothing);
  queue->run_next();
  queue.reset();
  CHECK(said_by(done) == "");
  CHECK(said_by(never) == "Aborted: aborted: the queue of collectives is gone");
}

TEST_CASE("a span for every operation that was run, handed out once") {
  CollectiveQueue queue(lonely(), 4);
  queue.submit(
      "gather layer 3", [](ProcessGroup&) { sleep_ms(2); }, 4096);
  queue.submit("reduce layer 2", [](ProcessGroup&) { throw RunError("no"); });
  queue.submit("never", nothing);
  while (queue.run_next()) {
  }
  const std::vector<OperationSpan> spans = queue.take_spans();
  REQUIRE(spans.size() == 2);
  CHECK(spans[0].label == "gather layer 3");
  CHECK(spans[0].bytes == 4096);
  CHECK(spans[0].end_s - spans[0].start_s > 0.001);
  CHECK(spans[1].label == "reduce layer 2");
  CHECK(spans[1].start_s >= spans[0].end_s);
  CHECK(queue.take_spans().empty());
}

TEST_CASE("a queue needs a group and room for one operation") {
  CHECK_THROWS_AS(CollectiveQueue(nullptr, 1), std::logic_error);
  CHECK_THROWS_AS(CollectiveQueue(lonely(), 0), std::logic_error);
}

TEST_CASE("a deferred queue runs what is waited for and all before it, on the waiting thread") {
  CollectiveQueue queue(lonely(), 4, CollectiveQueue::Undriven{});
  std::string order;
  std::vector<Pending> pending;
  for (const char letter : {'a', 'b', 'c'})
    pending.push_back(queue.submit(
        std::string(1, letter), [&order, letter](ProcessGroup&) { order += letter; }, 10));
  CHECK(order.empty());
  pending[1].wait();
  CHECK(order == "ab");
  CHECK(queue.in_flight() == 1);
  CHECK(said_by(queue.submit("wrong", [](ProcessGroup&) { throw RunError("it broke"); })) ==
        "RunError: it broke");
  CHECK(order == "abc");
}

TEST_CASE("a deferred queue makes room for what is submitted") {
  CollectiveQueue queue(lonely(), 2, CollectiveQueue::Undriven{});
  int done = 0;
  for (int i = 0; i < 5; ++i) queue.submit("one", [&done](ProcessGroup&) { ++done; });
  CHECK(done == 3);
  CHECK(queue.in_flight() == 2);
}

TEST_CASE("a deferred queue gets on by bytes, the oldest operation first, and not while it is empty") {
  CollectiveQueue queue(lonely(), 4, CollectiveQueue::Undriven{});
  int done = 0;
  const auto submit = [&] {
    queue.submit(
        "ten bytes", [&done](ProcessGroup&) { ++done; }, 10);
  };
  queue.advance(100);
  submit();
  submit();
  queue.advance(9);
  CHECK(done == 0);
  queue.advance(1);
  CHECK(done == 1);
  queue.advance(15);
  CHECK(done == 2);
  submit();
  queue.advance(9);
  CHECK(done == 2);
}
