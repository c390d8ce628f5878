// DualPipeV: DeepSeek-AI's DualPipe (DeepSeek-V3 Technical Report, arXiv 2412.19437, section 3.2.1), cut in
// half. The two directions of DualPipe become a rank's two stages of a V.
#include <deque>
#include <map>

#include "base/error.hpp"
#include "schedule/builtin.hpp"

namespace collie::schedule {
namespace {

// One rank's list. `down` is its stage on the way to the last rank, `up` the one on the way back.
class Half {
 public:
  Half(int rank, const Sizes& sizes)
      : down_(rank), up_(2 * sizes.ranks - 1 - rank), after_(sizes.ranks - 1 - rank), with_(rank + 1) {
    middle_ = sizes.micro_batches - 2 * sizes.ranks + with_;
  }

  ActionList list() && {
    fill();
    alternate();
    drain();
    return std::move(list_);
  }

 private:
  // Until the first micro-batch is back from the ranks after this one, it runs two forwards for each of them.
  // Then it runs both stages in turn until its backward is back from the ranks before.
  void fill() {
    for (int i = 0; i < 2 * after_; ++i) forward(down_);
    for (int i = 0; i < with_; ++i) {
      forward(down_);
      forward(up_);
    }
    for (int i = 0; i < after_; ++i) {
      input(up_);
      weight();
      forward(up_);
    }
  }

  // Runs one stage's forward beside the other's backward. DeepSeek overlaps them: one computes while the
  // other communicates.
  void alternate() {
    for (int i = 0; i < middle_; ++i) {
      forward(down_);
      backward(up_);
      forward(up_);
      backward(down_);
    }
    for (int i = 0; i < after_; ++i) {
      backward(up_);
      forward(up_);
      backward(down_);
    }
  }

  // Runs backwards alone. Their second half delays W, which then fills the time that the ranks wait for each
  // other.
  void drain() {
    for (int i = 0; i < 2 * with_; ++i) {
      const int stage = i % 2 == 0 ? up_ : down_;
      if (i < with_)
        backward(stage);
      else
        input(stage);
    }
    for (int i = 0; i < after_; ++i) {
      weight();
      input(down_);
    }
    while (!put_off_.empty()) weight();
  }

  void forward(int stage) { list_.push_back({ActionKind::forward, stage, forwards_[stage]++}); }
  void backward(int stage) { list_.push_back({ActionKind::backward, stage, backwards_[stage]++}); }
  void input(int stage) {
    list_.push_back({ActionKind::backward_input, stage, backwards_[stage]++});
    put_off_.push_back({ActionKind::backward_weight, stage, list_.back().micro_batch});
  }
  void weight() {
    list_.push_back(put_off_.front());
    put_off_.pop_front();
  }

  const int down_, up_, after_, with_;  // ranks after this one; ranks up to this one
  int middle_;
  std::map<int, int> forwards_, backwards_;  // the next micro-batch of each stage
  std::deque<Action> put_off_;
  ActionList list_;
};

}  // namespace

Schedule dualpipe_v(const Sizes& sizes) {
  Schedule schedule = empty_lists("dualpipe_v", v_stages, sizes);
  const int least = 2 * sizes.ranks - 1;  // rank 0 runs this many forwards ahead
  if (sizes.micro_batches < least)
    throw UserError(
        "schedule dualpipe_v needs at least 2 x ranks - 1 micro-batches: {} for {} ranks, found {}", least,
        sizes.ranks, sizes.micro_batches);
  for (int rank = 0; rank < sizes.ranks; ++rank)
    schedule.lists[static_cast<size_t>(rank)] = Half(rank, sizes).list();
  return finished(std::move(schedule), sizes);
}

}  // namespace collie::schedule
