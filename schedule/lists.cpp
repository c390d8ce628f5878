// Checks the lists without playing them.
#include <array>
#include <set>

#include "base/error.hpp"
#include "schedule/player.hpp"

namespace collie::schedule {
namespace {

class ListChecker {
 public:
  explicit ListChecker(const Schedule& schedule) : schedule_(schedule) {}

  void check() {
    check_sizes();
    check_ranges();
    check_forwards_exist();
    place_actions();
    for (int stage = 0; stage < schedule_.stages; ++stage) {
      for (int micro_batch = 0; micro_batch < schedule_.micro_batches; ++micro_batch) {
        check_backward_exists(stage, micro_batch);
        check_order(stage, micro_batch);
        check_communication(stage, micro_batch);
      }
    }
    check_weight_order();
  }

 private:
  static constexpr int absent = -1;
  using Kind = ActionKind;

  template <class... Arguments>
  [[noreturn]] void refuse(fmt::format_string<Arguments...> format, Arguments&&... arguments) const {
    throw UserError("schedule {}: {}", schedule_.name,
                    fmt::format(format, std::forward<Arguments>(arguments)...));
  }

  int rank_of(int stage) const { return schedule_.rank_of_stage[static_cast<size_t>(stage)]; }
  std::string here(int rank, size_t index) const { return place(schedule_, rank, index); }

  void check_sizes() const {
    if (schedule_.ranks < 1 || schedule_.stages < 1 || schedule_.micro_batches < 1)
      refuse("needs at least one rank, stage and micro-batch, found {}, {} and {}", schedule_.ranks,
             schedule_.stages, schedule_.micro_batches);
    if (schedule_.lists.size() != static_cast<size_t>(schedule_.ranks))
      refuse("{} ranks need as many lists, found {}", schedule_.ranks, schedule_.lists.size());
    if (schedule_.rank_of_stage.size() != static_cast<size_t>(schedule_.stages))
      refuse("{} stages need as many entries in rank_of_stage, found {}", schedule_.stages,
             schedule_.rank_of_stage.size());
    for (int stage = 0; stage < schedule_.stages; ++stage)
      if (rank_of(stage) < 0 || rank_of(stage) >= schedule_.ranks)
        refuse("stage {} is on rank {}, but the ranks are 0 to {}", stage, rank_of(stage),
               schedule_.ranks - 1);
  }

  template <class Visit>
  void each(Visit visit) const {
    for (int rank = 0; rank < schedule_.ranks; ++rank) {
      const ActionList& list = schedule_.lists[static_cast<size_t>(rank)];
      for (size_t i = 0; i < list.size(); ++i) visit(rank, i, list[i]);
    }
  }

  void check_ranges() const {
    each([&](int rank, size_t i, const Action& action) {
      if (action.stage < 0 || action.stage >= schedule_.stages)
        refuse("{}: {} is of no stage; the stages are 0 to {}", here(rank, i), to_string(action),
               schedule_.stages - 1);
      if (action.micro_batch < 0 || action.micro_batch >= schedule_.micro_batches)
        refuse("{}: {} is of no micro-batch; the micro-batches are 0 to {}", here(rank, i), to_string(action),
               schedule_.micro_batches - 1);
      if (rank_of(action.stage) != rank)
        refuse("{}: {} belongs on rank {}, which holds stage {}", here(rank, i), to_string(action),
               rank_of(action.stage), action.stage);
    });
  }

  // It comes before any table of [stages, micro_batches] is made, because an absurd number in a file must not
  // become an allocation.
  void check_forwards_exist() const {
    int64_t found = 0;
    each([&](int, size_t, const Action& action) { found += action.kind == Kind::forward; });
    if (int64_t{schedule_.stages} * schedule_.micro_batches <= found) return;
    std::set<std::pair<int, int>> present;
    each([&](int, size_t, const Action& action) {
      if (action.kind == Kind::forward) present.emplace(action.stage, action.micro_batch);
    });
    for (int stage = 0; stage < schedule_.stages; ++stage)
      for (int micro_batch = 0; micro_batch < schedule_.micro_batches; ++micro_batch)
        if (present.count({stage, micro_batch}) == 0) refuse_missing({Kind::forward, stage, micro_batch});
  }

  [[noreturn]] void refuse_missing(const Action& action) const {
    refuse("rank {} lacks {}", rank_of(action.stage), to_string(action));
  }

  void place_actions() {
    const auto cells = static_cast<size_t>(schedule_.stages) * static_cast<size_t>(schedule_.micro_batches);
    for (auto& table : index_) table.assign(cells, absent);
    each([&](int rank, size_t i, const Action& action) {
      int& index = index_[static_cast<size_t>(action.kind)][cell(action.stage, action.micro_batch)];
      if (index != absent)
        refuse("{}: {} is there a second time, first at {}", here(rank, i), to_string(action),
               here(rank, static_cast<size_t>(index)));
      index = static_cast<int>(i);
    });
    communicates_ = has_communication(schedule_);
  }

  size_t cell(int stage, int micro_batch) const {
    return static_cast<size_t>(stage) * static_cast<size_t>(schedule_.micro_batches) +
           static_cast<size_t>(micro_batch);
  }
  int index_of(const Action& action) const {
    return index_[static_cast<size_t>(action.kind)][cell(action.stage, action.micro_batch)];
  }
  bool has(const Action& action) const { return index_of(action) != absent; }

  void check_backward_exists(int stage, int micro_batch) const {
    const Action whole{Kind::backward, stage, micro_batch};
    const Action input{Kind::backward_input, stage, micro_batch};
    const Action weight{Kind::backward_weight, stage, micro_batch};
    if (schedule_.forward_only) {
      for (const Action& action : {whole, input, weight})
        if (has(action))
          refuse("{}: {} in a forward-only schedule",
                 here(rank_of(stage), static_cast<size_t>(index_of(action))), to_string(action));
      return;
    }
    if (has(whole)) {
      for (const Action& half : {input, weight})
        if (has(half))
          refuse("{}: {} is there, but so is {} at {}; a backward is whole (B) or two halves (I and W)",
                 here(rank_of(stage), static_cast<size_t>(index_of(half))), to_string(half), to_string(whole),
                 here(rank_of(stage), static_cast<size_t>(index_of(whole))));
      return;
    }
    if (!has(input) && !has(weight))
      refuse("rank {} lacks {} (or {} and {})", rank_of(stage), to_string(whole), to_string(input),
             to_string(weight));
    for (const Action& half : {input, weight})
      if (!has(half)) refuse_missing(half);
  }

  // Both are on the same rank. Either may be absent, which other checks find.
  void check_precedes(const Action& first, const Action& second) const {
    if (!has(first) || !has(second) || index_of(first) < index_of(second)) return;
    const int rank = rank_of(second.stage);
    refuse("{}: {} comes before {}, which it needs ({})", here(rank, static_cast<size_t>(index_of(second))),
           to_string(second), to_string(first), here(rank, static_cast<size_t>(index_of(first))));
  }

  Action backward_of(int stage, int micro_batch) const {
    const Action whole{Kind::backward, stage, micro_batch};
    return has(whole) ? whole : Action{Kind::backward_input, stage, micro_batch};
  }

  void check_order(int stage, int micro_batch) const {
    const Action forward{Kind::forward, stage, micro_batch};
    const Action backward = backward_of(stage, micro_batch);
    check_precedes(forward, backward);
    check_precedes(backward, {Kind::backward_weight, stage, micro_batch});
    if (stage + 1 == schedule_.stages || rank_of(stage + 1) != rank_of(stage)) return;
    check_precedes(forward, {Kind::forward, stage + 1, micro_batch});
    check_precedes(backward_of(stage + 1, micro_batch), backward);
  }

  void check_communication(int stage, int micro_batch) const {
    if (!communicates_) return;
    const auto crosses = [&](int other) {
      return other >= 0 && other < schedule_.stages && rank_of(other) != rank_of(stage);
    };
    const bool trains = !schedule_.forward_only, after = crosses(stage + 1), before = crosses(stage - 1);
    const Action forward{Kind::forward, stage, micro_batch}, backward = backward_of(stage, micro_batch);
    check_transfer({Kind::receive_forward, stage, micro_batch}, before, forward);
    check_transfer({Kind::send_forward, stage, micro_batch}, after, forward);
    check_transfer({Kind::receive_backward, stage, micro_batch}, after && trains, backward);
    check_transfer({Kind::send_backward, stage, micro_batch}, before && trains, backward);
  }

  // `transfer` must be there exactly if `wanted`, and on the right side of the compute action that it serves.
  void check_transfer(const Action& transfer, bool wanted, const Action& served) const {
    if (has(transfer) && !wanted)
      refuse("{}: {} has no other end on another rank",
             here(rank_of(transfer.stage), static_cast<size_t>(index_of(transfer))), to_string(transfer));
    if (!has(transfer) && wanted) refuse_missing(transfer);
    if (!wanted) return;
    if (is_receive(transfer.kind))
      check_precedes(transfer, served);
    else
      check_precedes(served, transfer);
  }

  void check_weight_order() const {
    std::vector<int> next(static_cast<size_t>(schedule_.stages), 0);
    each([&](int rank, size_t i, const Action& action) {
      if (action.kind != Kind::backward && action.kind != Kind::backward_weight) return;
      int& expected = next[static_cast<size_t>(action.stage)];
      if (action.micro_batch != expected)
        refuse(
            "{}: {} adds to the weights' gradients of stage {} before micro-batch {}; they must come in "
            "micro-batch order",
            here(rank, i), to_string(action), action.stage, expected);
      ++expected;
    });
  }

  const Schedule& schedule_;
  std::array<std::vector<int>, action_kind_count>
      index_;  // [kind][stage, micro_batch]: place in its rank's list
  bool communicates_ = false;
};

}  // namespace

void check_lists(const Schedule& schedule) {
  ListChecker(schedule).check();
}

}  // namespace collie::schedule
