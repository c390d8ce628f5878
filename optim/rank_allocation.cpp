#include "optim/rank_allocation.hpp"

#include <algorithm>
#include <cmath>

#include "base/error.hpp"
#include "models/stage_model.hpp"
#include "optim/matrix_collectives.hpp"

namespace collie {
namespace {

std::string matrix_of(const std::string& tensor) {
  return tensor.substr(0, tensor.rfind('.'));
}

}  // namespace

RankDecision decision_at(const RankSchedule& schedule, int64_t update) {
  const int64_t last = schedule.total - schedule.tfinal;
  if (update > last) return RankDecision::fixed;
  if (update == last) return RankDecision::again;
  const bool due = update > schedule.tinit && update % schedule.interval == 0;
  return due ? RankDecision::again : RankDecision::none;
}

int64_t rank_budget(const RankSchedule& schedule, int64_t initial, int64_t matrices, int64_t update) {
  const int64_t target = schedule.target_rank * matrices, last = schedule.total - schedule.tfinal;
  if (update <= schedule.tinit) return initial;
  if (update > last) return target;
  const double rest =
      1 - static_cast<double>(update - schedule.tinit) / static_cast<double>(last - schedule.tinit);
  return static_cast<int64_t>(static_cast<double>(initial - target) * std::pow(rest, 3) +
                              static_cast<double>(target));
}

std::vector<bool> kept_of(const std::vector<double>& scores, int64_t budget) {
  const int64_t lost = static_cast<int64_t>(scores.size()) - budget;
  COLLIE_ASSERT(budget >= 0 && lost >= 1, "{} of {} triplets are to be kept", budget, scores.size());
  std::vector<double> sorted = scores;
  const auto threshold = sorted.begin() + (lost - 1);
  std::nth_element(sorted.begin(), threshold, sorted.end());
  std::vector<bool> kept;
  for (const double score : scores) kept.push_back(score > *threshold);
  return kept;
}

RankAllocator::RankAllocator(const RankSchedule& schedule, const ModelSpec& model) : schedule_(schedule) {
  for (const auto& [matrix, adapters] : model.adapters) {
    COLLIE_ASSERT(adapters.size() == 1 && adapters.front().is_allocated, "{} has no triplets to choose from",
                  matrix);
    triplets_.push_back({matrix, adapters.front().rank, 3 * initial_, 0, 0});
    initial_ += adapters.front().rank;
  }
  for (const Parameter& parameter : model_parameters(model)) {
    if (parameter.triplet == TripletPart::none) continue;
    Triplets& triplets = triplets_.at(index_of(parameter.name));
    if (parameter.triplet == TripletPart::a) triplets.in = parameter.shape[1];
    if (parameter.triplet == TripletPart::b) triplets.out = parameter.shape[0];
  }
}

void RankAllocator::step(Operations& operations, std::span<ShardedState* const> stages, const Tensor& factor,
                         int64_t update, const SumOverStages& sum_over_stages) const {
  if (update < schedule_.total - schedule_.tfinal)
    for (ShardedState* const stage : stages) stage->add_importance(schedule_.decay, factor);
  const RankDecision decision = decision_at(schedule_, update);
  if (decision == RankDecision::none) return;
  if (decision == RankDecision::again) {
    if (std::isnan(operations.read(factor).value().front())) return;
    const auto matrices = static_cast<int64_t>(triplets_.size());
    decide(operations, stages, rank_budget(schedule_, initial_, matrices, update), sum_over_stages);
  }
  for (ShardedState* const stage : stages) stage->drop_others();
}

size_t RankAllocator::index_of(const std::string& tensor) const {
  const std::string matrix = matrix_of(tensor);
  const auto found =
      std::lower_bound(triplets_.begin(), triplets_.end(), matrix,
                       [](const Triplets& each, const std::string& name) { return each.matrix < name; });
  COLLIE_ASSERT(found != triplets_.end() && found->matrix == matrix, "{} is of no triplets", tensor);
  return static_cast<size_t>(found - triplets_.begin());
}

MatrixTile RankAllocator::tile_of(const ShardedState::ScoreRoots& roots) const {
  const Triplets& triplets = triplets_of(roots.tensor);
  MatrixTile tile{.values = roots.roots};
  if (roots.part == TripletPart::b) {
    tile.column_line = triplets.first_line + triplets.rank + roots.place.column;
    tile.column_elements = triplets.out;
    return tile;
  }
  const bool is_a = roots.part == TripletPart::a;
  tile.row_line = triplets.first_line + (is_a ? 0 : 2 * triplets.rank) + roots.place.row;
  tile.row_elements = is_a ? triplets.in : 1;
  return tile;
}

// f64 [lines], of those of this rank's stages; the others are zeros. The terms are rounded so that the order
// in which ranks add them, and how they share a matrix, change nothing.
Tensor RankAllocator::sums_of_scores(Operations& operations, std::span<ShardedState* const> stages) const {
  std::vector<MatrixTile> tiles;
  for (const ShardedState* const stage : stages)
    for (const ShardedState::ScoreRoots& roots : stage->score_roots()) tiles.push_back(tile_of(roots));
  Tensor maxima = operations.empty({lines()}, operations.accumulation_dtype(), Category::workspace),
         sums = operations.empty({lines()}, DType::f64, Category::workspace);
  operations.fill(maxima, 0);
  operations.fill(sums, 0);
  operations.line_maxima(tiles, {}, maxima);
  // All stages of a rank have the same groups.
  const MatrixGroups& groups = stages.front()->matrix_groups();
  all_reduce_max(operations, groups, maxima);
  operations.line_sums_of_squares(tiles, {}, {}, maxima, sums);
  all_reduce_sum(groups, sums);
  return sums;
}

std::vector<double> RankAllocator::scores(const std::vector<double>& sums) const {
  std::vector<double> all;
  for (const Triplets& each : triplets_)
    for (int64_t k = 0; k < each.rank; ++k) {
      const auto sum = [&](int64_t part) {
        return sums.at(static_cast<size_t>(each.first_line + part * each.rank + k));
      };
      all.push_back(sum(2) +
                    (sum(0) / static_cast<double>(each.in) + sum(1) / static_cast<double>(each.out)));
    }
  return all;
}

void RankAllocator::decide(Operations& operations, std::span<ShardedState* const> stages, int64_t budget,
                           const SumOverStages& sum_over_stages) const {
  Tensor sums = sums_of_scores(operations, stages);
  sum_over_stages(sums);
  const std::vector<bool> kept = kept_of(scores(operations.read(sums).value()), budget);
  for (ShardedState* const stage : stages)
    stage->set_kept([&](const std::string& tensor, int64_t k) {
      return kept.at(static_cast<size_t>(triplets_of(tensor).first_line / 3 + k));
    });
}

}  // namespace collie
