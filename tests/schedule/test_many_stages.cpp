// The schedules with several stages per rank or a split backward: their times, what they hold, where their
// stages are.
#include <algorithm>
#include <ctime>

#include "schedule/schedules.hpp"
#include "schedule/simulator.hpp"
#include "tests/catch.hpp"
#include "tests/paths.hpp"
#include "tests/schedule/support.hpp"

using namespace collie;
using namespace collie::schedule;
using namespace collie::schedule::test;

namespace {

const char* const zero_bubble_names[] = {"zb_h1", "zbv", "dualpipe_v"};

Schedule make(const std::string& name, int ranks, int micro_batches, int virtual_stages = 1) {
  return make_schedule(name, {ranks, micro_batches, stages_per_rank(name, virtual_stages), false});
}

double makespan(const Schedule& schedule, const Costs& costs = {}, int credits = 1) {
  return simulate(schedule, costs, {credits}).makespan;
}

// Most activations of all its stages that a rank holds at once.
int peak_of_rank(const Schedule& schedule, int rank) {
  int held = 0, peak = 0;
  for (const Action& action : schedule.lists[static_cast<size_t>(rank)]) {
    if (action.kind == ActionKind::forward) peak = std::max(peak, ++held);
    if (action.kind == ActionKind::backward || action.kind == ActionKind::backward_weight) --held;
  }
  return peak;
}

}  // namespace

TEST_CASE("makespans are the published ones, with one credit as with many") {
  struct Row {
    int ranks, micro_batches;
    double interleaved, zbv;
  };
  for (const Row& row : {Row{2, 4, 13.5, 12.5}, Row{4, 4, 16.5, 13.5}, Row{4, 8, 28.5, 25.5},
                         Row{4, 16, 52.5, 49.5}, Row{8, 16, 58.5, 51.5}, Row{8, 32, 106.5, 99.5}}) {
    CAPTURE(row.ranks, row.micro_batches);
    for (const int credits : {1, 100}) {
      CHECK(makespan(make("interleaved_1f1b", row.ranks, row.micro_batches), {}, credits) == row.interleaved);
      CHECK(makespan(make("zbv", row.ranks, row.micro_batches), {}, credits) == row.zbv);
    }
  }
}

TEST_CASE("a rank of interleaved_1f1b idles for (p-1)(F+B+W)/v where p divides m") {
  for (const int chunks : {2, 3, 4})
    for (const int ranks : {1, 2, 3, 5, 8})
      for (const int groups : {1, 2, 4})
        for (const Costs& costs : {Costs{1, 1, 1, 0}, Costs{1, 2, 1, 0}, Costs{3, 2, 1, 0}}) {
          CAPTURE(chunks, ranks, groups, costs.forward, costs.backward_input);
          const double once = costs.forward + costs.backward_input + costs.backward_weight;
          const Schedule schedule = make("interleaved_1f1b", ranks, ranks * groups, chunks);
          CHECK(makespan(schedule, costs) ==
                Approx(ranks * groups * once + (ranks - 1) * once / chunks).epsilon(1e-12));
        }
}

TEST_CASE("interleaved_1f1b takes any number of micro-batches, never longer than the next multiple of p") {
  for (const int chunks : {2, 3})
    for (int ranks = 2; ranks <= 8; ++ranks)
      for (int micro_batches = ranks + 1; micro_batches < 4 * ranks; ++micro_batches) {
        CAPTURE(chunks, ranks, micro_batches);
        const int multiple = (micro_batches + ranks - 1) / ranks * ranks;
        const double found = makespan(make("interleaved_1f1b", ranks, micro_batches, chunks));
        CHECK(found <= 3 * multiple + 3.0 * (ranks - 1) / chunks + 1e-9);
        // Half of what the missing ones would have taken is saved at least.
        CHECK(found <=
              3 * micro_batches + 3.0 * (ranks - 1) / chunks + 1.5 * (multiple - micro_batches) + 1e-9);
      }
}

TEST_CASE("interleaved_1f1b runs groups of p micro-batches through its stages in turn") {
  CHECK(text_of(make("interleaved_1f1b", 2, 4).lists[1]) ==
        "1F0 1F1 3F0 3B0 3F1 3B1 1F2 1B0 1F3 1B1 3F2 3B2 3F3 3B3 1B2 1B3");
  CHECK(text_of(make("interleaved_1f1b", 2, 3).lists[1]) ==
        "1F0 3F0 3B0 1F1 1F2 1B0 3F1 3B1 3F2 3B2 1B1 1B2");
  const Schedule split = make_schedule("interleaved_1f1b", {2, 2, 2, true});
  CHECK(text_of(split.lists[1]) == "1F0 1F1 3F0 3I0 3W0 3F1 3I1 3W1 1I0 1W0 1I1 1W1");
}

TEST_CASE("a rank of interleaved_1f1b holds 2(p-1-r) + (v-1)p + 1 of its stages' activations") {
  for (const int chunks : {2, 3})
    for (int ranks = 2; ranks <= 6; ++ranks)
      for (int micro_batches = 2 * ranks; micro_batches <= 4 * ranks; ++micro_batches) {
        CAPTURE(chunks, ranks, micro_batches);
        const Schedule schedule = make("interleaved_1f1b", ranks, micro_batches, chunks);
        for (int rank = 0; rank < ranks; ++rank) {
          const int most = 2 * (ranks - 1 - rank) + (chunks - 1) * ranks + 1;
          if (micro_batches % ranks == 0)
            CHECK(peak_of_rank(schedule, rank) == most);
          else
            CHECK(peak_of_rank(schedule, rank) <= most);
        }
      }
}

TEST_CASE("a rank of zb_h1 idles for (p-1) max(F+B-W, F, B) from p micro-batches on") {
  for (const Costs& costs : {Costs{1, 1, 1, 0}, Costs{2, 2, 1, 0}, Costs{1, 2, 1, 0}, Costs{3, 2, 1, 0},
                             Costs{1, 2, 2, 0}, Costs{1, 1, 2, 0}, Costs{1, 5, 3, 0}, Costs{5, 1, 3, 0}}) {
    const auto [forward, input, weight, none] = costs;
    for (int ranks = 1; ranks <= 8; ++ranks) {
      for (int micro_batches = ranks; micro_batches <= 2 * ranks + 1; ++micro_batches) {
        CAPTURE(ranks, micro_batches, forward, input, weight);
        const double expected = micro_batches * (forward + input + weight) +
                                (ranks - 1) * std::max({forward + input - weight, forward, input});
        CHECK(makespan(make("zb_h1", ranks, micro_batches), costs) == expected);
        CHECK(makespan(make("zb_h1", ranks, micro_batches), costs, 100) == expected);
      }
    }
  }
}

TEST_CASE("zb_h1 of fewer micro-batches than ranks lacks a W to fill the end for each that is missing") {
  for (int ranks = 2; ranks <= 8; ++ranks)
    for (int micro_batches = 1; micro_batches < ranks; ++micro_batches)
      CHECK(makespan(make("zb_h1", ranks, micro_batches)) ==
            3 * micro_batches + (ranks - 1) + (ranks - micro_batches));
}

TEST_CASE("zb_h1 puts off r weights' gradients on rank r, and so holds p micro-batches on every stage") {
  CHECK(text_of(make("zb_h1", 3, 4).lists[0]) == "0F0 0F1 0F2 0I0 0W0 0F3 0I1 0W1 0I2 0W2 0I3 0W3");
  CHECK(text_of(make("zb_h1", 3, 4).lists[2]) == "2F0 2I0 2F1 2I1 2F2 2I2 2W0 2F3 2I3 2W1 2W2 2W3");
  for (int ranks = 1; ranks <= 8; ++ranks)
    for (int micro_batches = 1; micro_batches <= 12; ++micro_batches)
      CHECK(peak_activations(make("zb_h1", ranks, micro_batches)) ==
            std::vector<int>(static_cast<size_t>(ranks), std::min(ranks, micro_batches)));
}

TEST_CASE("a rank of zbv idles for no more than the skew of the start from p micro-batches on") {
  for (int ranks = 1; ranks <= 10; ++ranks)
    for (int micro_batches = ranks; micro_batches <= 2 * ranks + 7; ++micro_batches) {
      CAPTURE(ranks, micro_batches);
      CHECK(makespan(make("zbv", ranks, micro_batches)) == 3 * micro_batches + 0.5 * (ranks - 1));
    }
}

TEST_CASE("zbv's idle time does not grow with the micro-batches where F, B and W take different times") {
  for (const Costs& costs : {Costs{1, 2, 1, 0}, Costs{2, 2, 1, 0}, Costs{3, 2, 1, 0}, Costs{2, 3, 2, 0}}) {
    CAPTURE(costs.forward, costs.backward_input, costs.backward_weight);
    const double once = costs.forward + costs.backward_input + costs.backward_weight;
    for (const int ranks : {2, 4, 8}) {
      const double shorter = makespan(make("zbv", ranks, 2 * ranks), costs);
      CHECK(makespan(make("zbv", ranks, 6 * ranks), costs) == shorter + 4 * ranks * once);
      CHECK(shorter <= 2 * ranks * once + (ranks - 1) * once / 2);
    }
  }
}

TEST_CASE("a rank of zbv holds no more than the first rank of 1f1b") {
  for (int ranks = 1; ranks <= 8; ++ranks)
    for (int micro_batches = 1; micro_batches <= 20; ++micro_batches) {
      CAPTURE(ranks, micro_batches);
      const Schedule schedule = make("zbv", ranks, micro_batches);
      for (int rank = 0; rank < ranks; ++rank)  // of stages half as large
        CHECK(peak_of_rank(schedule, rank) <= 2 * std::min(ranks, micro_batches));
    }
}

TEST_CASE("zbv of more ranks than one can play is refused") {
  CHECK(user_error([] { make("zbv", 1000000, 1); }) ==
        "schedule zbv of 1000000 ranks is too large: at most 4096 ranks");
}

TEST_CASE("zbv of 64 ranks and 256 micro-batches is made and simulated quickly") {
  const std::clock_t begin = std::clock();
  CHECK(makespan(make("zbv", 64, 256)) == 3 * 256 + 31.5);
  const double seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
#ifndef COLLIE_SANITIZE
  CHECK(seconds < 0.5);
#else
  CHECK(seconds < 40);
#endif
}

TEST_CASE(
    "a rank of dualpipe_v idles for no more than the skew of the start, and holds one activation more") {
  for (int ranks = 1; ranks <= 8; ++ranks)
    for (int micro_batches = 2 * ranks - 1; micro_batches <= 4 * ranks; ++micro_batches) {
      CAPTURE(ranks, micro_batches);
      const Schedule schedule = make("dualpipe_v", ranks, micro_batches);
      CHECK(makespan(schedule) == 3 * micro_batches + 0.5 * (ranks - 1));
      for (int rank = 0; rank < ranks; ++rank) CHECK(peak_of_rank(schedule, rank) <= 2 * ranks + 1);
    }
}

TEST_CASE("interleaved_1f1b and dualpipe_v are PyTorch's orders, and no schedule is slower than PyTorch's") {
  struct Row {
    const char* name;
    double theirs;
  };
  for (const Row& row : {Row{"interleaved_1f1b", 13.5}, Row{"zbv", 12.5}, Row{"dualpipe_v", 12.5}}) {
    CAPTURE(row.name);
    const Schedule theirs = make_schedule(
        collie::test::golden_file(fmt::format("schedule_{}_2_4.csv", row.name)), {2, 4, 2, false});
    const Schedule ours = make(row.name, 2, 4);
    CHECK(makespan(theirs) == row.theirs);
    CHECK(makespan(ours) <= row.theirs);
    if (std::string(row.name) != "zbv") CHECK(ours.lists == theirs.lists);
    CHECK(ours.rank_of_stage == theirs.rank_of_stage);
  }
}

TEST_CASE("every size of every schedule validates, and one credit costs no time") {
  for (const std::string name : {"interleaved_1f1b", "zb_h1", "zbv", "dualpipe_v"}) {
    for (int ranks = 1; ranks <= 7; ++ranks) {
      for (int micro_batches = 1; micro_batches <= 16; ++micro_batches) {
        if (name == "dualpipe_v" && micro_batches < 2 * ranks - 1) continue;
        for (const int chunks : name == "interleaved_1f1b" ? std::vector{2, 3, 5} : std::vector{1}) {
          for (const bool split : {false, true}) {
            CAPTURE(name, ranks, micro_batches, chunks, split);
            const Schedule schedule =
                make_schedule(name, {ranks, micro_batches, stages_per_rank(name, chunks), split});
            CHECK(schedule.name == name);
            // The two halves of an interleaved backward send so early that more credits would save a little;
            // one takes no longer than the whole backwards do.
            const bool halves = split && name == "interleaved_1f1b";
            const Sizes whole{ranks, micro_batches, schedule.stages / ranks, false};
            if (halves)
              CHECK(makespan(schedule) <= makespan(make_schedule(name, whole)) + 1e-9);
            else
              CHECK(makespan(schedule) == makespan(schedule, {}, 1000));
          }
        }
      }
    }
  }
}

TEST_CASE("schedules that split the backward do so whether or not they are asked to") {
  for (const char* name : {"zb_h1", "zbv"}) {
    const int stages = stages_per_rank(name, 1);
    CHECK(make_schedule(name, {3, 5, stages, false}).lists ==
          make_schedule(name, {3, 5, stages, true}).lists);
  }
  const auto count = [](const Schedule& schedule, ActionKind kind) {
    int found = 0;
    for (const ActionList& list : schedule.lists)
      for (const Action& action : list) found += action.kind == kind;
    return found;
  };
  for (const char* name : zero_bubble_names) CHECK(count(make(name, 3, 6), ActionKind::backward_weight) > 0);
  CHECK(count(make("dualpipe_v", 3, 6), ActionKind::backward) > 0);
  CHECK(count(make_schedule("dualpipe_v", {3, 6, 2, true}), ActionKind::backward) == 0);
}

TEST_CASE("a schedule's stages are where rank_of_stage() says before there are lists") {
  CHECK(rank_of_stage("1f1b", 3, 1) == std::vector<int>{0, 1, 2});
  CHECK(rank_of_stage("interleaved_1f1b", 3, 2) == std::vector<int>{0, 1, 2, 0, 1, 2});
  CHECK(rank_of_stage("zbv", 3, 2) == std::vector<int>{0, 1, 2, 2, 1, 0});
  CHECK(rank_of_stage(collie::test::golden_file("schedule_zbv_2_4.csv"), 2, 2) ==
        std::vector<int>{0, 1, 1, 0});
  for (const char* name : {"gpipe", "1f1b", "interleaved_1f1b", "zb_h1", "zbv", "dualpipe_v"})
    for (const int ranks : {1, 2, 5})
      CHECK(make(name, ranks, 10).rank_of_stage == rank_of_stage(name, ranks, stages_per_rank(name, 1)));
}

TEST_CASE("virtual_stages of 1 is the schedule's own number of stages per rank") {
  for (const char* name : {"gpipe", "1f1b", "zb_h1"}) CHECK(stages_per_rank(name, 1) == 1);
  for (const char* name : {"interleaved_1f1b", "zbv", "dualpipe_v"}) {
    CHECK(stages_per_rank(name, 1) == 2);
    CHECK(stages_per_rank(name, 2) == 2);
  }
  CHECK(stages_per_rank("interleaved_1f1b", 5) == 5);
  CHECK(stages_per_rank(collie::test::golden_file("schedule_zbv_2_4.csv"), 1) == 2);
  CHECK(stages_per_rank(collie::test::golden_file("schedule_gpipe_2_4.csv"), 1) == 1);
}

TEST_CASE("a number of stages per rank that the schedule does not have is refused with the right one") {
  CHECK(user_error([] { stages_per_rank("zbv", 3); }) ==
        "schedule zbv has two stages per rank: virtual_stages must be 2, found 3");
  CHECK(user_error([] { stages_per_rank("zb_h1", 2); }) ==
        "schedule zb_h1 has one stage per rank: virtual_stages must be 1, found 2");
  CHECK(user_error([] { rank_of_stage("dualpipe_v", 4, 1); }) ==
        "schedule dualpipe_v has two stages per rank: virtual_stages must be 2, found 1");
  CHECK(
      user_error([] {
        make_schedule("interleaved_1f1b", {4, 8, 1, false});
      }) ==
      "schedule interleaved_1f1b has 2 or more stages per rank: virtual_stages must be at least 2, found 1");
  CHECK(user_error([] { stages_per_rank("zbv", 0); }) ==
        "a schedule needs at least 1 virtual stage per rank, found 0");
  CHECK(user_error([] { stages_per_rank("zigzag", 1); }).find("unknown schedule 'zigzag'") !=
        std::string::npos);
  const std::string file = collie::test::golden_file("schedule_zbv_2_4.csv");
  CHECK(user_error([&] { rank_of_stage(file, 4, 1); }) ==
        "schedule " + file + ": the file has 2 ranks (rows) and 4 stages, but 4 and 4 are asked for");
}

TEST_CASE("dualpipe_v refuses fewer micro-batches than its first rank runs ahead") {
  CHECK(user_error([] { make("dualpipe_v", 4, 6); }) ==
        "schedule dualpipe_v needs at least 2 x ranks - 1 micro-batches: 7 for 4 ranks, found 6");
  CHECK(make("dualpipe_v", 1, 1).micro_batches == 1);
}

TEST_CASE("forward-only lists of any placement run with one credit as with many") {
  for (int ranks = 1; ranks <= 6; ++ranks) {
    for (int micro_batches = 1; micro_batches <= 12; ++micro_batches) {
      for (const std::vector<int>& placement :
           {rank_of_stage("1f1b", ranks, 1), rank_of_stage("zbv", ranks, 2),
            rank_of_stage("interleaved_1f1b", ranks, 3)}) {
        CAPTURE(ranks, micro_batches, placement);
        const Schedule schedule = forward_only(placement, micro_batches);
        CHECK(schedule.rank_of_stage == placement);
        validate(schedule);
        CHECK(makespan(schedule) == makespan(schedule, {}, 1000));
      }
    }
  }
}

TEST_CASE("forward-only lists keep all ranks busy") {
  for (int ranks = 1; ranks <= 8; ++ranks)
    for (int micro_batches = 1; micro_batches <= 20; ++micro_batches) {
      CAPTURE(ranks, micro_batches);
      CHECK(makespan(forward_only(ranks, micro_batches)) == micro_batches + ranks - 1);
      // In a V the last micro-batch has the ranks after the first to itself on both its ways.
      CHECK(makespan(forward_only(rank_of_stage("zbv", ranks, 2), micro_batches)) ==
            micro_batches + ranks - 1);
      CHECK(makespan(forward_only(rank_of_stage("interleaved_1f1b", ranks, 2), micro_batches)) <=
            micro_batches + ranks - 1);
    }
  CHECK(text_of(forward_only({0, 1, 1, 0}, 3).lists[0]) == "0F0 0F1 3F0 0F2 3F1 3F2");
  CHECK(text_of(forward_only({0, 1, 1, 0}, 3).lists[1]) == "1F0 2F0 1F1 2F1 1F2 2F2");
}

TEST_CASE("CSV of every schedule reads back, placement and all") {
  for (const char* name : {"interleaved_1f1b", "zb_h1", "zbv", "dualpipe_v"}) {
    const Schedule schedule = make(name, 4, 8);
    for (const Schedule& written : {schedule, with_communication(schedule)}) {
      const Schedule read = from_csv(to_csv(written), "here");
      CHECK(read.lists == written.lists);
      CHECK(read.rank_of_stage == written.rank_of_stage);
      validate(read);
    }
  }
}
