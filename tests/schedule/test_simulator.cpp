// Times, against hand-made examples and against a simulator that just counts ticks.
#include <algorithm>
#include <limits>
#include <map>
#include <set>

#include "base/random.hpp"
#include "schedule/schedules.hpp"
#include "schedule/simulator.hpp"
#include "tests/catch.hpp"
#include "tests/schedule/support.hpp"

using namespace collie;
using namespace collie::schedule;
using namespace collie::schedule::test;

namespace {

// Start and end of one action.
std::pair<double, double> times_of(const Timeline& timeline, const std::string& text) {
  for (const auto& rank : timeline.ranks)
    for (const TimedAction& timed : rank)
      if (to_string(timed.action) == text) return {timed.start, timed.end};
  FAIL(text << " is not in the timeline");
  return {};
}

// Numbers one after the other.
struct Dice {
  RandomStream stream;
  uint64_t index = 0;
  int below(int bound) { return static_cast<int>(stream.below(static_cast<uint64_t>(bound), index++)); }
};

// A random schedule whose lists come from one global order of actions, so that it runs with enough credits.
Schedule random_schedule(Dice& dice) {
  Schedule schedule;
  schedule.name = "random";
  schedule.ranks = 1 + dice.below(4);
  schedule.stages = schedule.ranks * (1 + dice.below(2));
  schedule.micro_batches = 1 + dice.below(5);
  schedule.lists.resize(static_cast<size_t>(schedule.ranks));
  for (int stage = 0; stage < schedule.stages; ++stage)
    schedule.rank_of_stage.push_back(stage < schedule.ranks ? stage : dice.below(schedule.ranks));
  std::map<std::pair<int, int>, int> done;  // (stage, micro-batch): 0 nothing, 1 F, 2 I, 3 all
  std::vector<int> next_weight(static_cast<size_t>(schedule.stages), 0);
  const auto at_least = [&](int stage, int micro_batch, int state) {
    return done[{stage, micro_batch}] >= state;
  };
  while (true) {
    ActionList ready;
    for (int s = 0; s < schedule.stages; ++s) {
      for (int m = 0; m < schedule.micro_batches; ++m) {
        const bool weight_next = next_weight[static_cast<size_t>(s)] == m;
        const bool gradient_there = s + 1 == schedule.stages || at_least(s + 1, m, 2);
        switch (done[{s, m}]) {
          case 0:
            if (s == 0 || at_least(s - 1, m, 1)) ready.push_back({ActionKind::forward, s, m});
            break;
          case 1:
            if (gradient_there) ready.push_back({ActionKind::backward_input, s, m});
            if (gradient_there && weight_next) ready.push_back({ActionKind::backward, s, m});
            break;
          case 2:
            if (weight_next) ready.push_back({ActionKind::backward_weight, s, m});
        }
      }
    }
    if (ready.empty()) return schedule;
    const Action action = ready[static_cast<size_t>(dice.below(static_cast<int>(ready.size())))];
    schedule.lists[static_cast<size_t>(schedule.rank_of_stage[static_cast<size_t>(action.stage)])].push_back(
        action);
    const bool weight = action.kind == ActionKind::backward || action.kind == ActionKind::backward_weight;
    done[{action.stage, action.micro_batch}] = action.kind == ActionKind::forward ? 1 : weight ? 3 : 2;
    if (weight) ++next_weight[static_cast<size_t>(action.stage)];
  }
}

// The rules of the player, tick by tick, with integer costs. Returns the makespan, or -1 where the lists
// deadlock.
class TickSimulator {
 public:
  TickSimulator(const Schedule& schedule, int credits, int communication, std::vector<int> cost_of_kind)
      : schedule_(with_communication(schedule)),
        credits_(credits),
        communication_(communication),
        cost_(std::move(cost_of_kind)),
        next_(schedule_.lists.size(), 0),
        free_at_(schedule_.lists.size(), 0) {}

  int makespan() {
    constexpr int ticks_without_progress = 1000;
    int quiet = 0;
    for (int now = 0; quiet < ticks_without_progress; ++now, ++quiet) {
      bool again = true;
      while (again) {
        again = false;
        for (size_t rank = 0; rank < next_.size(); ++rank) again = step(rank, now) || again;
        if (again) quiet = 0;
      }
      if (finished()) return *std::max_element(free_at_.begin(), free_at_.end());
    }
    return -1;
  }

 private:
  bool finished() const {
    for (size_t rank = 0; rank < next_.size(); ++rank)
      if (next_[rank] < schedule_.lists[rank].size()) return false;
    return true;
  }

  bool step(size_t rank, int now) {
    if (next_[rank] >= schedule_.lists[rank].size() || free_at_[rank] > now) return false;
    const Action& action = schedule_.lists[rank][next_[rank]];
    if (is_compute(action.kind)) {
      free_at_[rank] = now + cost_[static_cast<size_t>(action.kind)];
      ++next_[rank];
      return true;
    }
    return is_send(action.kind) ? step_send(rank, action, now) : step_receive(rank, action, now);
  }

  bool step_send(size_t rank, const Action& action, int now) {
    const std::string name = to_string(action);
    if (credits_ == 0) {
      const bool arrived = offered_.insert(name).second;
      if (met_.count(name) == 0) return arrived;
    } else {
      int unreceived = 0;
      for (const auto& [sent, time] : sent_at_)
        unreceived += edge_of(sent.second) == edge_of(action) && received_.count(sent.first) == 0;
      if (unreceived >= credits_) return false;
      sent_at_[{name, action}] = now;
    }
    ++next_[rank];
    return true;
  }

  bool step_receive(size_t rank, const Action& action, int now) {
    const Action send = counterpart(action);
    const std::string name = to_string(send);
    if (credits_ == 0) {
      if (offered_.count(name) == 0) return false;
      met_.insert(name);
      free_at_[rank] = now + communication_;
    } else {
      const auto sent = sent_at_.find({name, send});
      if (sent == sent_at_.end() || sent->second + communication_ > now) return false;
      received_.insert(name);
    }
    ++next_[rank];
    return true;
  }

  struct ByName {
    bool operator()(const std::pair<std::string, Action>& a, const std::pair<std::string, Action>& b) const {
      return a.first < b.first;
    }
  };

  Schedule schedule_;
  int credits_, communication_;
  std::vector<int> cost_;
  std::vector<size_t> next_;
  std::vector<int> free_at_;
  std::map<std::pair<std::string, Action>, int, ByName> sent_at_;
  std::set<std::string> received_, offered_, met_;
};

}  // namespace

TEST_CASE("a message takes its time and occupies neither rank") {
  const Timeline timeline = simulate(make_schedule("gpipe", {2, 2, 1, false}), {2, 3, 4, 5});
  CHECK(times_of(timeline, "0F0") == std::pair(0.0, 2.0));
  CHECK(times_of(timeline, "0F1") == std::pair(2.0, 4.0));
  CHECK(times_of(timeline, "1RECV_F0") == std::pair(0.0, 7.0));
  CHECK(times_of(timeline, "1F0") == std::pair(7.0, 9.0));
  // One credit: the second message leaves when the first was taken.
  CHECK(times_of(timeline, "0SEND_F1") == std::pair(4.0, 7.0));
  CHECK(times_of(timeline, "1F1") == std::pair(12.0, 14.0));
  CHECK(times_of(timeline, "1B0") == std::pair(14.0, 21.0));
  CHECK(times_of(timeline, "0B0") == std::pair(26.0, 33.0));
  CHECK(times_of(timeline, "0B1") == std::pair(33.0, 40.0));
  CHECK(timeline.makespan == 40);
  CHECK(timeline.busy == std::vector<double>{18, 18});
  CHECK(timeline.bubble_share() == Approx(1 - 36.0 / 80));
  CHECK(times_of(simulate(make_schedule("gpipe", {2, 2, 1, false}), {2, 3, 4, 5}, {2}), "1F1") ==
        std::pair(9.0, 11.0));
}

TEST_CASE("with no credits the message leaves when both are there") {
  const Timeline timeline = simulate(make_schedule("gpipe", {2, 2, 1, false}), {2, 1, 1, 5}, {0});
  CHECK(times_of(timeline, "0SEND_F0") == std::pair(2.0, 2.0));
  CHECK(times_of(timeline, "1RECV_F0") == std::pair(0.0, 7.0));
  CHECK(times_of(timeline, "0SEND_F1") == std::pair(4.0, 9.0));
  CHECK(times_of(timeline, "1RECV_F1") == std::pair(9.0, 14.0));
}

TEST_CASE("an action of one of v stages per rank costs 1/v") {
  const Schedule schedule = schedule_of("v-shape", 4, 1, {"0F0 3F0 3I0 3W0 0B0", "1F0 2F0 2B0 1B0"});
  const Timeline timeline = simulate(schedule, {4, 2, 6, 0});
  CHECK(times_of(timeline, "0F0") == std::pair(0.0, 2.0));
  CHECK(times_of(timeline, "3I0") == std::pair(8.0, 9.0));
  CHECK(times_of(timeline, "3W0") == std::pair(9.0, 12.0));
  CHECK(times_of(timeline, "2B0") == std::pair(9.0, 13.0));
}

TEST_CASE("measured durations override the costs") {
  const auto duration = [](const Action& action) { return action.kind == ActionKind::forward ? 10.0 : 1.0; };
  const Timeline timeline = simulate(make_schedule("1f1b", {2, 1, 1, false}), {1, 1, 1, 0}, {}, duration);
  CHECK(timeline.makespan == 22);
}

TEST_CASE("costs that are not numbers of at least zero are refused") {
  const Schedule schedule = make_schedule("1f1b", {2, 1, 1, false});
  CHECK(user_error([&] {
          simulate(schedule, {-1, 1, 1, 0});
        }) == "the cost of a forward must be a number of at least 0, found -1");
  CHECK(user_error([&] {
          simulate(schedule, {1, 1, 1, std::numeric_limits<double>::infinity()});
        }) == "the cost of communication must be a number of at least 0, found inf");
  CHECK_THROWS_AS(simulate(schedule, {}, {}, [](const Action&) { return -1.0; }), UserError);
}

TEST_CASE("free actions take no time and leave no bubble") {
  const Timeline timeline = simulate(make_schedule("1f1b", {3, 4, 1, false}), {0, 0, 0, 0});
  CHECK(timeline.makespan == 0);
  CHECK(timeline.bubble_share() == 0);
}

TEST_CASE("random schedules take the time that a count of ticks gives, and deadlock where it does") {
  Dice dice{RandomStream(random_key(1, "schedules"))};
  int deadlocks = 0;
  constexpr int rounds = 300;
  for (int round = 0; round < rounds; ++round) {
    const Schedule schedule = random_schedule(dice);
    const int credits = dice.below(4), communication = dice.below(3);
    const int forward = 1 + dice.below(3), input = 1 + dice.below(3), weight = 1 + dice.below(3);
    CAPTURE(round, schedule.ranks, schedule.stages, schedule.micro_batches, credits, communication);
    CAPTURE(to_csv(with_communication(schedule)));
    const std::vector<int> costs = {forward, input + weight, input, weight};
    const int expected = TickSimulator(schedule, credits, communication, costs).makespan();
    const auto duration = [&](const Action& action) {
      return static_cast<double>(costs[static_cast<size_t>(action.kind)]);
    };
    const Costs only_communication{1, 1, 1, static_cast<double>(communication)};
    if (expected < 0) {
      ++deadlocks;
      CHECK_THROWS_AS(validate(schedule, {credits}), UserError);
      CHECK_THROWS_AS(simulate(schedule, only_communication, {credits}, duration), UserError);
    } else {
      validate(schedule, {credits});
      CHECK(simulate(schedule, only_communication, {credits}, duration).makespan == expected);
    }
  }
  CHECK(deadlocks > rounds / 10);
  CHECK(deadlocks < rounds * 9 / 10);
}
