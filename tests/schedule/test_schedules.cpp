// The built-in schedules: their lists, their times and what they hold.
#include <algorithm>

#include "schedule/schedules.hpp"
#include "schedule/simulator.hpp"
#include "tests/catch.hpp"
#include "tests/schedule/support.hpp"

using namespace collie;
using namespace collie::schedule;
using namespace collie::schedule::test;

TEST_CASE("gpipe runs all forwards, then all backwards in micro-batch order") {
  const Schedule schedule = make_schedule("gpipe", {2, 3, 1, false});
  CHECK(schedule.name == "gpipe");
  CHECK(schedule.stages == 2);
  CHECK(schedule.rank_of_stage == std::vector<int>{0, 1});
  CHECK(text_of(schedule.lists[1]) == "1F0 1F1 1F2 1B0 1B1 1B2");
}

TEST_CASE("1f1b warms up, alternates and drains") {
  const Schedule schedule = make_schedule("1f1b", {3, 4, 1, false});
  CHECK(text_of(schedule.lists[0]) == "0F0 0F1 0F2 0B0 0F3 0B1 0B2 0B3");
  CHECK(text_of(schedule.lists[1]) == "1F0 1F1 1B0 1F2 1B1 1F3 1B2 1B3");
  CHECK(text_of(schedule.lists[2]) == "2F0 2B0 2F1 2B1 2F2 2B2 2F3 2B3");
}

TEST_CASE("1f1b takes fewer micro-batches than ranks") {
  const Schedule schedule = make_schedule("1f1b", {4, 2, 1, false});
  CHECK(text_of(schedule.lists[0]) == "0F0 0F1 0B0 0B1");
  CHECK(text_of(schedule.lists[2]) == "2F0 2F1 2B0 2B1");
  CHECK(text_of(schedule.lists[3]) == "3F0 3B0 3F1 3B1");
}

TEST_CASE("a split backward is I directly followed by W") {
  const Schedule schedule = make_schedule("1f1b", {2, 2, 1, true});
  CHECK(text_of(schedule.lists[0]) == "0F0 0F1 0I0 0W0 0I1 0W1");
  CHECK(text_of(schedule.lists[1]) == "1F0 1I0 1W0 1F1 1I1 1W1");
}

TEST_CASE("a receive stands right before its use and a send right after its make") {
  const Schedule schedule = with_communication(make_schedule("1f1b", {3, 2, 1, true}));
  CHECK(text_of(schedule.lists[0]) == "0F0 0SEND_F0 0F1 0SEND_F1 0RECV_B0 0I0 0W0 0RECV_B1 0I1 0W1");
  CHECK(text_of(schedule.lists[1]) ==
        "1RECV_F0 1F0 1SEND_F0 1RECV_F1 1F1 1SEND_F1 1RECV_B0 1I0 1SEND_B0 1W0 1RECV_B1 1I1 1SEND_B1 1W1");
  CHECK(text_of(schedule.lists[2]) == "2RECV_F0 2F0 2I0 2SEND_B0 2W0 2RECV_F1 2F1 2I1 2SEND_B1 2W1");
  CHECK(with_communication(schedule).lists == schedule.lists);
}

TEST_CASE("stages on the same rank exchange nothing") {
  const Schedule schedule = schedule_of("v-shape", 4, 1, {"0F0 3F0 3B0 0B0", "1F0 2F0 2B0 1B0"});
  validate(schedule);
  const Schedule complete = with_communication(schedule);
  CHECK(text_of(complete.lists[0]) == "0F0 0SEND_F0 3RECV_F0 3F0 3B0 3SEND_B0 0RECV_B0 0B0");
  CHECK(text_of(complete.lists[1]) == "1RECV_F0 1F0 2F0 2SEND_F0 2RECV_B0 2B0 1B0 1SEND_B0");
  validate(complete);
  CHECK(simulate(schedule, {}).makespan == 6);  // halves of F and of B, one after the other
}

TEST_CASE("one rank has nothing to send") {
  for (const char* name : {"gpipe", "1f1b"}) {
    const Schedule schedule = make_schedule(name, {1, 3, 1, false});
    CHECK(with_communication(schedule).lists == schedule.lists);
    CHECK(simulate(schedule, {}).makespan == 9);
    CHECK(simulate(schedule, {}).bubble_share() == 0);
  }
}

TEST_CASE("forward-only lists validate and keep nothing") {
  const Schedule schedule = forward_only(3, 2);
  validate(schedule);
  validate(schedule, {0});
  CHECK(text_of(with_communication(schedule).lists[1]) == "1RECV_F0 1F0 1SEND_F0 1RECV_F1 1F1 1SEND_F1");
  validate(with_communication(schedule));
  CHECK(simulate(schedule, {}).makespan == 4);
  CHECK(peak_activations(schedule) == std::vector<int>{0, 0, 0});
}

TEST_CASE("the makespan of 1f1b is the published one with the default credits, which are the least") {
  struct Row {
    int ranks, micro_batches;
    double makespan;
  };
  REQUIRE(Limits{}.credits == 1);
  for (const Row& row :
       {Row{2, 4, 15}, Row{4, 4, 21}, Row{4, 8, 33}, Row{4, 16, 57}, Row{8, 16, 69}, Row{8, 32, 117}}) {
    CAPTURE(row.ranks, row.micro_batches);
    const Schedule schedule = make_schedule("1f1b", {row.ranks, row.micro_batches, 1, false});
    const Timeline timeline = simulate(schedule, {});
    CHECK(timeline.makespan == row.makespan);
    CHECK(simulate(schedule, {}, {100}).makespan == row.makespan);
    CHECK_THROWS_AS(simulate(schedule, {}, {0}), UserError);
    const double idle = 3.0 * (row.ranks - 1);  // (p - 1)(F + B + W)
    CHECK(timeline.bubble_share() == Approx(idle / row.makespan));
    for (const double busy : timeline.busy) CHECK(busy == 3.0 * row.micro_batches);
  }
}

TEST_CASE("every size of the built-in schedules validates and holds what it should") {
  for (int ranks = 1; ranks <= 7; ++ranks) {
    for (int micro_batches = 1; micro_batches <= 9; ++micro_batches) {
      for (const bool split : {false, true}) {
        CAPTURE(ranks, micro_batches, split);
        const auto one = peak_activations(make_schedule("1f1b", {ranks, micro_batches, 1, split}));
        const auto all = peak_activations(make_schedule("gpipe", {ranks, micro_batches, 1, split}));
        for (int stage = 0; stage < ranks; ++stage) {
          CHECK(one[static_cast<size_t>(stage)] == std::min(ranks - stage, micro_batches));
          CHECK(all[static_cast<size_t>(stage)] == micro_batches);
        }
      }
    }
  }
}

TEST_CASE("sizes that no schedule has are refused") {
  CHECK(user_error([] {
          make_schedule("1f1b", {0, 4, 1, false});
        }) == "a schedule needs at least 1 pipeline rank, found 0");
  CHECK(user_error([] {
          make_schedule("1f1b", {4, 0, 1, false});
        }) == "a schedule needs at least 1 micro-batch, found 0");
  CHECK(user_error([] {
          make_schedule("gpipe", {4, 4, 2, false});
        }) == "schedule gpipe has one stage per rank: virtual_stages must be 1, found 2");
  CHECK(user_error([] {
          make_schedule("gpipe", {4, 4, 0, false});
        }) == "a schedule needs at least 1 virtual stage per rank, found 0");
  CHECK(user_error([] {
          make_schedule("1f1b", {100000, 100000, 1, false});
        }).find("too large") != std::string::npos);
  CHECK(user_error([] {
          make_schedule("zigzag", {2, 2, 1, false});
        }) ==
        "parallel.schedule: unknown schedule 'zigzag'; known: 1f1b, dualpipe_v, gpipe, interleaved_1f1b, "
        "zb_h1, zbv");
}

TEST_CASE("a host program's schedule is validated like a built-in one") {
  schedules().add("backwards",
                  {[](const Sizes&) { return schedule_of("backwards", 1, 2, {"0F0 0F1 0B1 0B0"}); }});
  CHECK(user_error([] {
          make_schedule("backwards", {1, 2, 1, false});
        }).find("micro-batch order") != std::string::npos);
}

TEST_CASE("a host program's schedule must have its stages where it was registered to") {
  schedules().add("mirrored", {[](const Sizes&) {
                    return schedule_of("mirrored", 2, 1, {"1F0 1B0", "0F0 0B0"});
                  }});
  CHECK(user_error([] {
          make_schedule("mirrored", {2, 1, 1, false});
        }) == "schedule mirrored: its stages are on other ranks than it was registered with");
}

TEST_CASE("an action's text reads back, and nothing else is an action") {
  for (const char* text :
       {"0F0", "2F5", "10B12", "3I4", "3W4", "0SEND_F3", "1RECV_F3", "7SEND_B0", "6RECV_B0"})
    CHECK(to_string(parse_action(text, "here")) == text);
  for (const char* text : {"", "F0", "0F", "0X1", "0F1x", "-1F0", "0F-1", "0 F0", " 0F0", "0f0", "0SEND_3",
                           "0FF0", "99999999999F0", "0F99999999999", "0UNSHARD"}) {
    CAPTURE(text);
    CHECK(user_error([&] {
            parse_action(text, "row 2");
          }).rfind("row 2: '" + std::string(text) + "' is not an", 0) == 0);
  }
}

TEST_CASE("channels and counterparts are symmetric") {
  for (const char* text : {"1SEND_F3", "2RECV_F3", "2SEND_B3", "1RECV_B3"}) {
    const Action action = parse_action(text, "");
    CHECK(counterpart(counterpart(action)) == action);
    CHECK(edge_of(counterpart(action)) == edge_of(action));
  }
  CHECK(to_string(counterpart(parse_action("1SEND_F3", ""))) == "2RECV_F3");
  CHECK(to_string(counterpart(parse_action("2SEND_B3", ""))) == "1RECV_B3");
  CHECK(edge_of(parse_action("1SEND_F3", "")) == Edge{1, 2});
  CHECK(edge_of(parse_action("1RECV_B3", "")) == Edge{2, 1});
}
