#include <algorithm>
#include <limits>
#include <numeric>

#include "models/parameter_list.hpp"
#include "models/stage_model.hpp"

namespace collie {
namespace {

__extension__ using int128 = __int128;  // sums of squares of parameter counts

int64_t count(const std::vector<Parameter>& list) {
  int64_t sum = 0;
  for (const Parameter& parameter : list) sum += parameter.shape.numel();
  return sum;
}

// Parameters of a stage by what it holds. A tied head counts: it has the matrix's work, and away from the
// embedding its memory too.
struct Costs {
  int64_t embedding = 0, block = 0, head = 0;
  explicit Costs(const ModelConfig& config) {
    std::vector<Parameter> list;
    add_embedding(config, list);
    embedding = count(list);
    list.clear();
    add_block(config, 0, list);
    block = count(list);
    list.clear();
    add_final_norm(config, list);
    add_head(config, list);
    head = count(list);
  }
};

// Blocks of each stage such that the largest stage is as small as can be; among those, the squares of the
// stages have the smallest sum (so that the rest is even, too); among those, earlier stages are smaller.
class SmallestLargest {
 public:
  SmallestLargest(const ModelConfig& config, int stages)
      : costs_(config), blocks_(static_cast<int>(config.num_hidden_layers)), stages_(stages) {}

  std::vector<int> solve() const {
    const int64_t limit = smallest_limit();
    // best[s][b]: smallest sum of squares of stages s.. with blocks b.. left for them; -1 = cannot be done.
    const size_t width = static_cast<size_t>(blocks_) + 1;
    std::vector<std::vector<int128>> best(static_cast<size_t>(stages_) + 1, std::vector<int128>(width, -1));
    best.back().back() = 0;
    std::vector<std::vector<int>> choice(best.size(), std::vector<int>(width, 0));
    for (int stage = stages_ - 1; stage >= 0; --stage) {
      for (int first = 0; first < blocks_; ++first) {
        const auto s = static_cast<size_t>(stage), f = static_cast<size_t>(first);
        for (int taken = 1; first + taken <= blocks_; ++taken) {
          const int64_t load = load_of(stage, taken);
          const int128 rest = best[s + 1][f + static_cast<size_t>(taken)];
          if (load > limit || rest < 0) continue;
          const int128 total = rest + static_cast<int128>(load) * load;
          if (best[s][f] >= 0 && total >= best[s][f]) continue;  // at a tie the smaller `taken` stays
          best[s][f] = total;
          choice[s][f] = taken;
        }
      }
    }
    std::vector<int> counts;
    for (int stage = 0, first = 0; stage < stages_; first += counts.back(), ++stage)
      counts.push_back(choice[static_cast<size_t>(stage)][static_cast<size_t>(first)]);
    return counts;
  }

 private:
  int64_t load_of(int stage, int blocks) const {
    return blocks * costs_.block + (stage == 0 ? costs_.embedding : 0) +
           (stage == stages_ - 1 ? costs_.head : 0);
  }

  // The most blocks that all stages together can take, each at least one, none above `limit`; 0 if one
  // cannot.
  int64_t capacity(int64_t limit) const {
    int64_t sum = 0;
    for (int stage = 0; stage < stages_; ++stage) {
      const int64_t room = (limit - load_of(stage, 0)) / costs_.block;
      if (limit < load_of(stage, 1)) return 0;
      sum += room;
    }
    return sum;
  }

  // Every stage's load is one of few values: try them all.
  int64_t smallest_limit() const {
    int64_t best = std::numeric_limits<int64_t>::max();
    for (int stage : {0, stages_ / 2, stages_ - 1})
      for (int blocks = 1; blocks <= blocks_; ++blocks)
        if (const int64_t limit = load_of(stage, blocks); limit < best && capacity(limit) >= blocks_)
          best = limit;
    return best;
  }

  Costs costs_;
  int blocks_, stages_;
};

void check_stages(const ModelConfig& config, int64_t stages) {
  if (stages < 1) throw UserError("parallel.pp_size: {} stages; at least 1 is needed", stages);
  if (stages > config.num_hidden_layers)
    throw UserError(
        "parallel.pp_size: {} stages for a model of {} blocks (num_hidden_layers); at most one stage a block",
        stages, config.num_hidden_layers);
}

}  // namespace

std::vector<StageRange> partition_stages(const ModelConfig& config,
                                         const std::vector<int>& blocks_per_stage) {
  check_stages(config, static_cast<int64_t>(blocks_per_stage.size()));
  for (const int blocks : blocks_per_stage)
    if (blocks < 1)
      throw UserError("parallel.partition: a stage of {} blocks; every stage needs at least 1", blocks);
  const int64_t sum = std::accumulate(blocks_per_stage.begin(), blocks_per_stage.end(), int64_t{0});
  if (sum != config.num_hidden_layers)
    throw UserError(
        "parallel.partition: the stages have {} blocks together, the model has {} (num_hidden_layers)", sum,
        config.num_hidden_layers);
  std::vector<StageRange> ranges;
  int64_t first = 0;
  for (const int blocks : blocks_per_stage) {
    ranges.push_back({first, first + blocks, first == 0, first + blocks == sum});
    first += blocks;
  }
  return ranges;
}

std::vector<StageRange> partition_stages(const ModelConfig& config, int stages, const std::string& how) {
  check_stages(config, stages);
  if (how == "parameters") return partition_stages(config, SmallestLargest(config, stages).solve());
  if (how == "uniform") {
    std::vector<int> counts;
    for (int stage = 0; stage < stages; ++stage)
      counts.push_back(
          static_cast<int>(config.num_hidden_layers / stages + (stage < config.num_hidden_layers % stages)));
    return partition_stages(config, counts);
  }
  if (how == "measured")
    throw UserError("parallel.partition: 'measured' is not yet supported; use parameters or uniform");
  throw UserError(
      "parallel.partition: unknown '{}'; known: parameters, uniform, or a list of blocks per stage", how);
}

}  // namespace collie
