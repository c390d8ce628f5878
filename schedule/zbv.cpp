// ZB-V: Qi et al., "Pipeline Parallelism with Controllable Memory", arXiv 2405.15362, section 3.2. The lists
// are not theirs: a play of unit ticks with the rules below finds lists that reach the same times.
#include <array>
#include <optional>

#include "base/error.hpp"
#include "schedule/builtin.hpp"
#include "schedule/ticks.hpp"

namespace collie::schedule {
namespace {

constexpr auto F = ActionKind::forward, I = ActionKind::backward_input, W = ActionKind::backward_weight;

struct Choice {
  ActionKind kind;
  int stage;
};

// Decides what a rank does at each tick. `down` is its stage on the way to the last rank, `up` the one on the
// way back.
class Rule {
 public:
  Rule(const Ticks& ticks, const Sizes& sizes) : ticks_(ticks), sizes_(sizes) {}

  std::optional<Choice> choice(int rank) const {
    const int down = rank, up = 2 * sizes_.ranks - 1 - rank;
    // While forwards are left, W comes right after its I. It frees the activation that a next forward may
    // take, and the list stays F I W in turn, which loses little if the three do not take the same time. Then
    // come forwards, up before down, because they bring the first backward nearest. The inputs' backwards
    // come last.
    const std::array busy = {Choice{W, up},   Choice{W, down}, Choice{F, up},
                             Choice{F, down}, Choice{I, down}, Choice{I, up}};
    // Afterwards only I keeps others waiting, and W fills the remaining time.
    const std::array ending = {Choice{I, up}, Choice{I, down}, Choice{W, up}, Choice{W, down}};
    return ticks_.started(F, up) < sizes_.micro_batches ? first_of(busy, down, up)
                                                        : first_of(ending, down, up);
  }

 private:
  template <size_t count>
  std::optional<Choice> first_of(const std::array<Choice, count>& choices, int down, int up) const {
    for (const Choice& choice : choices)
      if (ticks_.ready(choice.kind, choice.stage) && (choice.kind != F || has_room(down, up))) return choice;
    return std::nullopt;
  }

  // 1F1B's first rank holds p micro-batches of a stage that is twice as large.
  bool has_room(int down, int up) const {
    return ticks_.started(F, down) + ticks_.started(F, up) - ticks_.started(W, down) - ticks_.started(W, up) <
           2 * sizes_.ranks;
  }

  const Ticks& ticks_;
  const Sizes& sizes_;
};

}  // namespace

Schedule zbv(const Sizes& sizes) {
  constexpr int most_ranks = 4096;  // the play looks at each rank in each tick
  if (sizes.ranks > most_ranks)
    throw UserError("schedule zbv of {} ranks is too large: at most {} ranks", sizes.ranks, most_ranks);
  const Schedule empty = empty_lists("zbv", v_stages, sizes);
  Ticks ticks(empty, int64_t{3} * empty.stages * empty.micro_batches);
  const Rule rule(ticks, sizes);
  for (; !ticks.ended(); ticks.next())
    for (int rank = 0; rank < sizes.ranks; ++rank)
      if (const auto choice = rule.choice(rank)) ticks.start(choice->kind, choice->stage);
  return ticks.schedule();
}

}  // namespace collie::schedule
