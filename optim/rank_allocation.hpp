// Which triplets of adapters are kept while they are trained (AdaLoRA: Zhang et al., arXiv 2303.10512,
// section 3), as Hugging Face's peft decides it: those whose scores are the highest of the whole model. All
// ranks decide alike.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "models/model_spec.hpp"
#include "optim/sharded_state.hpp"

namespace collie {

// When how many are kept. Updates are counted from 0, as peft's examples and the callbacks of transformers'
// Trainer count them.
struct RankSchedule {
  int64_t total = 0;        // updates of the schedule, above tinit + tfinal
  int64_t tinit = 0;        // so many before any triplet is lost
  int64_t tfinal = 0;       // from update total - tfinal on it is fixed which ones are kept
  int64_t interval = 1;     // between two decisions
  int64_t target_rank = 0;  // of a matrix in the end, on average
  ImportanceDecay decay;
};

enum class RankDecision : uint8_t {
  none,   // triplets that were lost may come back
  again,  // it is decided which ones are kept
  fixed,  // those of the last decision are kept
};
RankDecision decision_at(const RankSchedule& schedule, int64_t update);
// How many triplets of `initial` of all `matrices` are kept at an update; the fall is cubic.
int64_t rank_budget(const RankSchedule& schedule, int64_t initial, int64_t matrices, int64_t update);
// Those with a higher score than the one that `budget` leaves as the highest of the lost. Of scores that are
// equal there, none is kept. budget: at most one less than there are scores.
std::vector<bool> kept_of(const std::vector<double>& scores, int64_t budget);

class RankAllocator {
 public:
  // The model is one whose triplets are allocated.
  RankAllocator(const RankSchedule& schedule, const ModelSpec& model);

  // Adds f64 [n] over the stages. Of the ranks of a stage, which have the same, one counts.
  using SumOverStages = std::function<void(Tensor& values)>;
  // After update number `update`, from 0, of all of this rank's stages (ShardedState::update_own()), and
  // before that is finished. factor f64 [1] multiplied the gradients; where it is NaN nothing changes. All
  // ranks of the run call it. Where it decides, the host waits for the device.
  void step(Operations& operations, std::span<ShardedState* const> stages, const Tensor& factor,
            int64_t update, const SumOverStages& sum_over_stages) const;

 private:
  // Of a matrix: its lines (kernels/matrix_tiles.hpp) are those of the rows of A, of the columns of B, and of
  // the rows of E, `rank` each.
  struct Triplets {
    std::string matrix;
    int64_t rank = 0, first_line = 0;
    int64_t in = 0, out = 0;  // elements in a row of A, in a column of B
  };

  int64_t lines() const { return 3 * initial_; }
  size_t index_of(const std::string& tensor) const;  // of the matrix whose A, B or E it is
  const Triplets& triplets_of(const std::string& tensor) const { return triplets_[index_of(tensor)]; }
  MatrixTile tile_of(const ShardedState::ScoreRoots& roots) const;
  Tensor sums_of_scores(Operations& operations, std::span<ShardedState* const> stages) const;
  std::vector<double> scores(const std::vector<double>& sums) const;
  void decide(Operations& operations, std::span<ShardedState* const> stages, int64_t budget,
              const SumOverStages& sum_over_stages) const;

  RankSchedule schedule_;
  std::vector<Triplets> triplets_;  // in the order of the matrices' names
  int64_t initial_ = 0;             // all of them
};

}  // namespace collie
