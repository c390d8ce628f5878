// What the validator refuses, and how it says so.
#include <ctime>

#include "schedule/schedules.hpp"
#include "schedule/simulator.hpp"
#include "schedule/validator.hpp"
#include "tests/catch.hpp"
#include "tests/schedule/support.hpp"

using namespace collie;
using namespace collie::schedule;
using namespace collie::schedule::test;

namespace {

std::string refusal(const Schedule& schedule, const Limits& limits = {}) {
  return user_error([&] { validate(schedule, limits); });
}

std::string refusal(int stages, int micro_batches, const std::vector<std::string>& lists) {
  return refusal(schedule_of("test", stages, micro_batches, lists));
}

}  // namespace

TEST_CASE("a missing action is named") {
  CHECK(refusal(1, 2, {"0F0 0B0 0B1"}) == "schedule test: rank 0 lacks 0F1");
  CHECK(refusal(1, 2, {"0F0 0F1 0B0"}) == "schedule test: rank 0 lacks 0B1 (or 0I1 and 0W1)");
  CHECK(refusal(1, 1, {"0F0 0I0"}) == "schedule test: rank 0 lacks 0W0");
  CHECK(refusal(1, 1, {"0F0 0W0"}) == "schedule test: rank 0 lacks 0I0");
  CHECK(refusal(2, 1, {"0F0 0B0", "1F0"}) == "schedule test: rank 1 lacks 1B0 (or 1I0 and 1W0)");
}

TEST_CASE("a doubled action is named with both places") {
  CHECK(refusal(1, 2, {"0F0 0F1 0F0 0B0 0B1"}) ==
        "schedule test: rank 0, index 2: 0F0 is there a second time, first at rank 0, index 0");
  CHECK(refusal(1, 1, {"0F0 0B0 0I0"}) ==
        "schedule test: rank 0, index 2: 0I0 is there, but so is 0B0 at rank 0, index 1; a backward is whole "
        "(B) or "
        "two halves (I and W)");
}

TEST_CASE("an action that is out of range or on another's rank is named") {
  CHECK(refusal(1, 1, {"0F0 0B0 1F0"}) ==
        "schedule test: rank 0, index 2: 1F0 is of no stage; the stages are 0 to 0");
  CHECK(refusal(1, 1, {"0F0 0B0 0F1"}) ==
        "schedule test: rank 0, index 2: 0F1 is of no micro-batch; the micro-batches are 0 to 0");
  CHECK(refusal(2, 1, {"0F0 0B0", "1F0 1B0 0F0"}) ==
        "schedule test: rank 1, index 2: 0F0 belongs on rank 0, which holds stage 0");
}

TEST_CASE("an action before what it needs is named") {
  CHECK(refusal(1, 1, {"0B0 0F0"}) ==
        "schedule test: rank 0, index 0: 0B0 comes before 0F0, which it needs (rank 0, index 1)");
  CHECK(refusal(1, 1, {"0F0 0W0 0I0"}) ==
        "schedule test: rank 0, index 1: 0W0 comes before 0I0, which it needs (rank 0, index 2)");
  // two stages on one rank
  CHECK(refusal(2, 1, {"1F0 0F0 1B0 0B0"}) ==
        "schedule test: rank 0, index 0: 1F0 comes before 0F0, which it needs (rank 0, index 1)");
  CHECK(refusal(2, 1, {"0F0 1F0 0B0 1B0"}) ==
        "schedule test: rank 0, index 2: 0B0 comes before 1B0, which it needs (rank 0, index 3)");
}

TEST_CASE("weights' gradients out of micro-batch order are named") {
  CHECK(refusal(1, 2, {"0F0 0F1 0B1 0B0"}) ==
        "schedule test: rank 0, index 2: 0B1 adds to the weights' gradients of stage 0 before micro-batch 0; "
        "they must "
        "come in micro-batch order");
  CHECK(refusal(1, 2, {"0F0 0F1 0I0 0I1 0W1 0W0"}).find("index 4: 0W1 adds") != std::string::npos);
  CHECK(refusal(1, 2, {"0F0 0F1 0I0 0B1 0W0"}).find("index 3: 0B1 adds") != std::string::npos);
  // Inputs' gradients may come in any order, and B may mix with I and W.
  validate(schedule_of("test", 1, 3, {"0F2 0F1 0F0 0I1 0B0 0W1 0B2"}));
}

TEST_CASE("communication must be complete, in place and needed") {
  const std::vector<std::string> good = {"0F0 0SEND_F0 0RECV_B0 0B0", "1RECV_F0 1F0 1B0 1SEND_B0"};
  validate(schedule_of("test", 2, 1, good));
  CHECK(refusal(2, 1, {"0F0 0SEND_F0 0B0", good[1]}) == "schedule test: rank 0 lacks 0RECV_B0");
  CHECK(refusal(2, 1, {"0SEND_F0 0F0 0RECV_B0 0B0", good[1]}) ==
        "schedule test: rank 0, index 0: 0SEND_F0 comes before 0F0, which it needs (rank 0, index 1)");
  CHECK(refusal(2, 1, {good[0], "1F0 1RECV_F0 1B0 1SEND_B0"}) ==
        "schedule test: rank 1, index 0: 1F0 comes before 1RECV_F0, which it needs (rank 1, index 1)");
  CHECK(refusal(2, 1, {good[0], "1RECV_F0 1F0 1SEND_F0 1B0 1SEND_B0"}) ==
        "schedule test: rank 1, index 2: 1SEND_F0 has no other end on another rank");
}

TEST_CASE("backward actions do not belong in a forward-only schedule") {
  Schedule schedule = forward_only(1, 1);
  schedule.lists[0].push_back(parse_action("0B0", ""));
  CHECK(refusal(schedule) == "schedule forward_only: rank 0, index 1: 0B0 in a forward-only schedule");
}

TEST_CASE("sizes that do not fit the lists are refused") {
  Schedule schedule = make_schedule("1f1b", {2, 2, 1, false});
  schedule.lists.pop_back();
  CHECK(refusal(schedule) == "schedule 1f1b: 2 ranks need as many lists, found 1");
  schedule = make_schedule("1f1b", {2, 2, 1, false});
  schedule.rank_of_stage[1] = 2;
  CHECK(refusal(schedule) == "schedule 1f1b: stage 1 is on rank 2, but the ranks are 0 to 1");
  schedule.rank_of_stage.pop_back();
  CHECK(refusal(schedule) == "schedule 1f1b: 2 stages need as many entries in rank_of_stage, found 1");
}

TEST_CASE("a deadlock names every stuck rank, its action and what it waits for") {
  SECTION("an order that cannot be") {
    CHECK(refusal(2, 2, {"0F0 0B0 0F1 0B1", "1F0 1F1 1B0 1B1"}) ==
          "schedule test: the lists deadlock with 1 credits per edge\n"
          "  rank 0, index 2: 0RECV_B0 waits for 1SEND_B0 of rank 1\n"
          "  rank 1, index 2: 1RECV_F1 waits for 0SEND_F1 of rank 0");
  }
  SECTION("too few credits") {
    const Schedule schedule =
        schedule_of("test", 2, 3, {"0F0 0F1 0F2 0B0 0B1 0B2", "1F2 1F0 1F1 1B0 1B1 1B2"});
    validate(schedule, {3});
    CHECK(
        refusal(schedule, {2}) ==
        "schedule test: the lists deadlock with 2 credits per edge\n"
        "  rank 0, index 5: 0SEND_F2 waits for a credit from rank 1, which has yet to do 1RECV_F0, 1RECV_F1\n"
        "  rank 1, index 0: 1RECV_F2 waits for 0SEND_F2 of rank 0");
  }
  SECTION("rendezvous") {
    const Schedule schedule = make_schedule("1f1b", {2, 4, 1, false});
    CHECK(refusal(schedule, {0}) ==
          "schedule 1f1b: the lists deadlock with 0 credits per edge\n"
          "  rank 0, index 3: 0SEND_F1 waits for 1RECV_F1 of rank 1\n"
          "  rank 1, index 3: 1SEND_B0 waits for 0RECV_B0 of rank 0");
    validate(make_schedule("gpipe", {4, 8, 1, false}), {0});
  }
  SECTION("a rank that waits for a stuck one is stuck too") {
    const std::string message = refusal(3, 2, {"0F0 0F1 0B0 0B1", "1F0 1B0 1F1 1B1", "2F0 2F1 2B0 2B1"});
    for (const char* rank : {"rank 0, ", "rank 1, ", "rank 2, "})
      CHECK(message.find(rank) != std::string::npos);
  }
}

TEST_CASE("credits below zero are refused") {
  CHECK(refusal(make_schedule("gpipe", {2, 2, 1, false}), {-1}) == "credits must be at least 0, found -1");
}

TEST_CASE("absurd sizes are refused without tables of their size") {
  Schedule schedule = make_schedule("1f1b", {2, 2, 1, false});
  schedule.micro_batches = 2000000000;
  CHECK(refusal(schedule) == "schedule 1f1b: rank 0 lacks 0F2");
}

TEST_CASE("64 ranks and 256 micro-batches validate and simulate quickly") {
  const std::clock_t begin = std::clock();
  const Schedule schedule = make_schedule("1f1b", {64, 256, 1, true});
  const Timeline timeline = simulate(schedule, {1, 1, 1, 0.5});
  const double seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  CHECK(timeline.makespan > 3 * 256);
#ifndef COLLIE_SANITIZE
  CHECK(seconds < 0.2);
#else
  CHECK(seconds < 20);
#endif
}
