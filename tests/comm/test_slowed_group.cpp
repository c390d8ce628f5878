// Artificially slow links.
#include "comm/slowed_group.hpp"

#include <chrono>

#include "tests/catch.hpp"
#include "tests/comm/collective_thread.hpp"
#include "tests/comm/oracle.hpp"
#include "tests/comm/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

std::string refusal(const std::string& spec) {
  try {
    parse_link_speed(spec);
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("a link's speed is read from latency and bandwidth") {
  CHECK(parse_link_speed("latency_us=50,gbps=0.5").latency_s == Approx(50e-6));
  CHECK(parse_link_speed("latency_us=50,gbps=0.5").bytes_per_second == Approx(62.5e6));
  CHECK(parse_link_speed("gbps=8").bytes_per_second == Approx(1e9));
  CHECK(parse_link_speed("gbps=8").latency_s == 0);
  CHECK(parse_link_speed("latency_us=1.5").bytes_per_second == 0);
}

TEST_CASE("anything else than a link's speed is refused, and what would be right is said") {
  CHECK(refusal("gbps=fast") ==
        "link speed 'gbps=fast': 'gbps=fast' has no number; write latency_us=50,gbps=0.5");
  for (const char* spec : {"", "gbps", "gbps=", "gbps=1,", "gbps=0", "gbps=-1", "gbps=inf", "latency_us=-1",
                           "latency=3", "gbps=1 ", "gbps=1,,latency_us=1"}) {
    CAPTURE(spec);
    CHECK(refusal(spec).find("write latency_us=50,gbps=0.5") != std::string::npos);
  }
}

TEST_CASE("a call takes the link's latency and its bytes' time longer, with the same result") {
  // 4,000 bytes of an all-reduce of two ranks are 4,000 bytes to send: 20 ms, and 20 ms of latency.
  const Group group = slow_down(make_in_process_group(2), {0.020, 200'000});
  std::vector<Tensor> x = {random_tensor({1000}, DType::f32, 1), random_tensor({1000}, DType::f32, 2)};
  const Bytes expected = oracle_sum(DType::f32, {bytes_of(x[0]), bytes_of(x[1])});
  const double seconds = seconds_of([&] {
    CHECK(complaint(run_ranks(2, [&](int rank) { group[at(rank)]->all_reduce_sum(x[at(rank)]); })) == "");
  });
  CHECK(seconds >= 0.040);
  CHECK(seconds < 1);
  for (const Tensor& tensor : x) CHECK(bytes_of(tensor) == expected);
}

TEST_CASE("a group of one has no link") {
  const Group group = slow_down(make_in_process_group(1), {5, 1});
  Tensor x = random_tensor({1000}, DType::f32, 1);
  CHECK(seconds_of([&] {
          group[0]->all_reduce_sum(x);
          group[0]->barrier();
        }) < 1);
}

TEST_CASE("abort ends the sleep of every end") {
  const Group group = slow_down(make_in_process_group(3), {60, 0});
  const double seconds = seconds_of([&] {
    const auto thrown = run_ranks(3, [&](int rank) {
      if (rank != 1) return group[at(rank)]->barrier();
      sleep_ms(10);
      group[1]->abort("enough");
    });
    CHECK(said(thrown[0]) == "Aborted: aborted: enough");
    CHECK(said(thrown[2]) == "Aborted: aborted: enough");
  });
  CHECK(seconds < 5);
}

TEST_CASE("a slow link in the background is hidden behind what the rank does meanwhile") {
  constexpr int rounds = 4;
  const Group group = slow_down(make_in_process_group(2), {0.050, 0});
  std::vector<double> blocked(2);
  CHECK(complaint(run_ranks(2, [&](int rank) {
          CollectiveThread driver(group[at(rank)], 2);
          CollectiveQueue::Pending before;
          for (int round = 0; round < rounds; ++round) {
            const auto pending = driver.queue().submit("barrier", [](ProcessGroup& self) { self.barrier(); });
            sleep_ms(100);  // the rank's own work
            before.wait();
            before = pending;
          }
          before.wait();
          blocked[at(rank)] = driver.queue().blocked_seconds();
        })) == "");
  // In the foreground it would be 200 ms.
  for (const double seconds : blocked) CHECK(seconds < 0.1);
}
