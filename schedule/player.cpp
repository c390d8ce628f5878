#include "schedule/player.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace collie::schedule {
namespace {

constexpr double never = -1;  // times are not negative

// One edge's messages. The sends of an edge all stand in one rank's list, and its receives in another's.
struct Traffic {
  std::vector<double> sent_at;      // [micro_batches]: when the message left or, with 0 credits, was offered
  std::vector<double> met_at;       // [micro_batches]: with 0 credits, when both ends had reached it
  std::vector<int> sent;            // micro-batches in the order of their sends
  std::vector<double> received_at;  // of the receives that are done, in their order
  std::vector<bool> received;       // [micro_batches]
};

class Player {
 public:
  Player(const Schedule& schedule, const Limits& limits, double communication,
         const std::function<double(const Action&)>& duration)
      : schedule_(schedule),
        credits_(static_cast<size_t>(limits.credits)),
        communication_(communication),
        duration_(duration),
        channels_(2 * static_cast<size_t>(schedule.stages)),
        ranks_(schedule.lists.size()) {
    for (Traffic& traffic : channels_) {
      traffic.sent_at.assign(static_cast<size_t>(schedule.micro_batches), never);
      traffic.met_at = traffic.sent_at;
      traffic.received.assign(traffic.sent_at.size(), false);
    }
  }

  Played run() {
    Played played;
    played.spans.resize(ranks_.size());
    for (size_t rank = 0; rank < ranks_.size(); ++rank) {
      played.spans[rank].reserve(schedule_.lists[rank].size());
      wake(static_cast<int>(rank));
    }
    while (!awake_.empty()) {
      const auto rank = static_cast<size_t>(awake_.back());
      awake_.pop_back();
      ranks_[rank].awake = false;
      advance(rank, played.spans[rank]);
    }
    for (size_t rank = 0; rank < ranks_.size(); ++rank) {
      const size_t done = played.spans[rank].size();
      if (done < schedule_.lists[rank].size())
        played.stuck.push_back({static_cast<int>(rank), done, waits_for(schedule_.lists[rank][done])});
    }
    return played;
  }

 private:
  struct RankState {
    double clock = 0;
    bool awake = false;
  };

  // Does the list's next actions until one has to wait.
  void advance(size_t rank, std::vector<Span>& spans) {
    const ActionList& list = schedule_.lists[rank];
    while (spans.size() < list.size()) {
      const Action& action = list[spans.size()];
      const double start = ranks_[rank].clock;
      const double end = end_of(action, start);
      if (end == never) return;
      spans.push_back({start, end});
      ranks_[rank].clock = end;
    }
  }

  double end_of(const Action& action, double now) {
    if (is_compute(action.kind)) return now + duration_(action);
    Traffic& traffic = traffic_of(action);
    const auto micro_batch = static_cast<size_t>(action.micro_batch);
    if (is_receive(action.kind)) return end_of_receive(action, traffic, micro_batch, now);
    return credits_ == 0 ? end_of_rendezvous(action, traffic, micro_batch, now)
                         : end_of_send(action, traffic, micro_batch, now);
  }

  double end_of_send(const Action& action, Traffic& traffic, size_t micro_batch, double now) {
    const size_t before = traffic.sent.size();  // this is the edge's send number `before`
    if (before >= credits_) {
      if (traffic.received_at.size() <= before - credits_) return never;
      now = std::max(now, traffic.received_at[before - credits_]);
    }
    traffic.sent.push_back(action.micro_batch);
    traffic.sent_at[micro_batch] = now;
    wake(rank_of(counterpart(action).stage));
    return now;
  }

  double end_of_rendezvous(const Action& action, Traffic& traffic, size_t micro_batch, double now) {
    if (traffic.sent_at[micro_batch] == never) {
      traffic.sent_at[micro_batch] = now;
      wake(rank_of(counterpart(action).stage));
    }
    return traffic.met_at[micro_batch];
  }

  double end_of_receive(const Action& action, Traffic& traffic, size_t micro_batch, double now) {
    const double sent_at = traffic.sent_at[micro_batch];
    if (sent_at == never) return never;
    double end = std::max(now, sent_at + communication_);
    if (credits_ == 0) {
      traffic.met_at[micro_batch] = std::max(now, sent_at);
      end = traffic.met_at[micro_batch] + communication_;
    }
    traffic.received_at.push_back(end);
    traffic.received[micro_batch] = true;
    wake(rank_of(counterpart(action).stage));
    return end;
  }

  std::string waits_for(const Action& action) {
    const Action other = counterpart(action);
    if (is_receive(action.kind) || credits_ == 0)
      return fmt::format("{} of rank {}", to_string(other), rank_of(other.stage));
    const Traffic& traffic = traffic_of(action);
    std::string unreceived;
    for (const int micro_batch : traffic.sent)
      if (!traffic.received[static_cast<size_t>(micro_batch)])
        unreceived += (unreceived.empty() ? "" : ", ") + to_string({other.kind, other.stage, micro_batch});
    return fmt::format("a credit from rank {}, which has yet to do {}", rank_of(other.stage), unreceived);
  }

  void wake(int rank) {
    RankState& state = ranks_[static_cast<size_t>(rank)];
    if (state.awake) return;
    state.awake = true;
    awake_.push_back(rank);
  }

  // Forward edges have the even numbers, in the order of their from-stages.
  static size_t channel_index(const Action& action) {
    const Edge edge = edge_of(action);
    return 2 * static_cast<size_t>(edge.from_stage) + (edge.to_stage < edge.from_stage ? 1 : 0);
  }
  Traffic& traffic_of(const Action& action) { return channels_[channel_index(action)]; }
  int rank_of(int stage) const { return schedule_.rank_of_stage[static_cast<size_t>(stage)]; }

  const Schedule& schedule_;
  const size_t credits_;
  const double communication_;
  const std::function<double(const Action&)>& duration_;
  std::vector<Traffic> channels_;
  std::vector<RankState> ranks_;
  std::vector<int> awake_;
};

}  // namespace

Played play(const Schedule& schedule, const Limits& limits, double communication,
            const std::function<double(const Action&)>& duration) {
  if (limits.credits < 0) throw UserError("credits must be at least 0, found {}", limits.credits);
  return Player(schedule, limits, communication, duration).run();
}

void refuse_deadlock(const Schedule& schedule, const Limits& limits, const Played& played) {
  if (played.stuck.empty()) return;
  std::string message =
      fmt::format("schedule {}: the lists deadlock with {} credits per edge", schedule.name, limits.credits);
  for (const Stuck& stuck : played.stuck) {
    const Action& action = schedule.lists[static_cast<size_t>(stuck.rank)][stuck.index];
    message += fmt::format("\n  {}: {} waits for {}", place(schedule, stuck.rank, stuck.index),
                           to_string(action), stuck.waits_for);
  }
  throw UserError(message);
}

}  // namespace collie::schedule
