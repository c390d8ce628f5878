// What a rank communicates, counted.
#include "comm/metered_group.hpp"

#include <chrono>

#include "tests/catch.hpp"
#include "tests/comm/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

using Metered = std::vector<std::shared_ptr<MeteredGroup>>;

Metered metered(int size) {
  Metered ends;
  for (const auto& end : make_in_process_group(size)) ends.push_back(std::make_shared<MeteredGroup>(end));
  return ends;
}

}  // namespace

TEST_CASE("each kind of call counts the bytes that it is to move") {
  constexpr int size = 4;
  const Metered group = metered(size);
  CHECK(complaint(run_ranks(size, [&](int rank) {
          ProcessGroup& self = *group[at(rank)];
          Tensor whole = random_tensor({8}, DType::f32, 1), part = random_tensor({2}, DType::f32, 1);
          Tensor other = make_tensor({8}, DType::f32);
          self.all_reduce_sum(whole);
          self.all_reduce_sum(whole);
          self.reduce_scatter_sum(whole, part);
          self.all_gather(part, whole);
          self.broadcast(whole, 1);
          self.all_to_all(whole, other);
          if (rank == 0) self.send(part, 3);
          if (rank == 3) self.receive(part, 0);
          self.barrier();
        })) == "");
  struct Expected {
    const char* operation;
    int64_t calls, sent, received;
  };
  for (int rank = 0; rank < size; ++rank) {
    CAPTURE(rank);
    std::vector<Expected> expected = {
        {"all_reduce_sum", 2, 96, 96}, {"reduce_scatter_sum", 1, 24, 24},
        {"all_gather", 1, 24, 24},     {"broadcast", 1, rank == 1 ? 96 : 0, rank == 1 ? 0 : 32},
        {"all_to_all", 1, 24, 24},     {"barrier", 1, 0, 0}};
    if (rank == 0) expected.push_back({"send", 1, 8, 0});
    if (rank == 3) expected.push_back({"receive", 1, 0, 8});
    const std::map<std::string, Traffic> traffic = group[at(rank)]->traffic();
    CHECK(traffic.size() == expected.size());
    Traffic sum;
    for (const Expected& each : expected) {
      CAPTURE(each.operation);
      REQUIRE(traffic.count(each.operation) == 1);
      const Traffic& found = traffic.at(each.operation);
      CHECK(found.calls == each.calls);
      CHECK(found.bytes == each.sent);
      CHECK(found.received_bytes == each.received);
      CHECK(found.seconds > 0);
      sum += found;
    }
    const Traffic total = group[at(rank)]->total();
    CHECK(total.calls == sum.calls);
    CHECK(total.bytes == sum.bytes);
    CHECK(total.received_bytes == sum.received_bytes);
    CHECK(total.seconds == Approx(sum.seconds));
  }
}

TEST_CASE("a group of one moves nothing") {
  const Metered group = metered(1);
  Tensor x = random_tensor({8}, DType::f32, 1), y = make_tensor({8}, DType::f32);
  group[0]->all_reduce_sum(x);
  group[0]->broadcast(x, 0);
  group[0]->all_gather(x, y);
  CHECK(group[0]->total().bytes == 0);
  CHECK(group[0]->total().received_bytes == 0);
  CHECK(group[0]->total().calls == 3);
}

TEST_CASE("seconds are those of waiting for others too, and of calls that fail") {
  const Metered group = metered(2);
  CHECK(complaint(run_ranks(2, [&](int rank) {
          if (rank == 1) std::this_thread::sleep_for(std::chrono::milliseconds(20));
          group[at(rank)]->barrier();
        })) == "");
  CHECK(group[0]->total().seconds > 0.01);
  const double before = group[0]->total().seconds;
  group[1]->abort("enough");
  CHECK(said(run_ranks(1, [&](int) { group[0]->barrier(); })[0]) == "Aborted: aborted: enough");
  CHECK(group[0]->total().calls == 1);
  CHECK(group[0]->total().seconds > before);
}

TEST_CASE("counts may be read while calls go on") {
  const Metered group = metered(2);
  CHECK(complaint(run_ranks(3, [&](int rank) {
          for (int round = 0; round < 200; ++round) {
            if (rank == 2)
              group[0]->total();
            else
              group[at(rank)]->barrier();
          }
        })) == "");
  CHECK(group[0]->total().calls == 200);
}
