#include "plan/layer_times.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <exception>
#include <limits>
#include <mutex>
#include <numeric>
#include <thread>

#include "base/clock.hpp"
#include "base/failpoint.hpp"
#include "base/limits.hpp"
#include "base/log.hpp"
#include "models/accumulating_sink.hpp"
#include "models/resident_source.hpp"
#include "peft/adapted_linear.hpp"
#include "plan/run_plan.hpp"
#include "plan/settings.hpp"
#include "runtime/group_transport.hpp"

namespace collie {
namespace {

constexpr int repetitions = 5;  // after one that does not count

// Where only sets are evaluated: their documents are of many lengths.
MicroBatch one_document(const RunPlan& plan) {
  MicroBatch batch = empty_micro_batch();
  batch.tokens.resize(static_cast<size_t>(plan.config.data.sequence_length), 0);
  batch.labels = batch.positions = batch.tokens;
  std::iota(batch.positions.begin(), batch.positions.end(), 0);
  batch.document_starts.push_back(static_cast<int32_t>(batch.tokens.size()));
  batch.target_tokens = static_cast<int64_t>(batch.tokens.size());
  return batch;
}

// Returns the largest micro-batch of the run's first step.
MicroBatch batch_of(const RunPlan& plan) {
  if (plan.purpose == Purpose::evaluate && !plan.evaluation_order) return one_document(plan);
  if (plan.purpose == Purpose::evaluate)
    return evaluation_batch(*plan.evaluation_order, plan.config.train.micro_batch_size, 0);
  if (plan.purpose == Purpose::train) {
    std::vector<MicroBatch> all =
        make_step_batch(*plan.order, plan.sizes, plan.origin, plan.origin.steps + 1).micro_batches;
    return *std::max_element(all.begin(), all.end(), [](const MicroBatch& a, const MicroBatch& b) {
      return a.tokens.size() < b.tokens.size();
    });
  }
  MicroBatch batch;
  batch.tokens = batch.labels = plan.prompt_tokens;
  batch.positions.resize(batch.tokens.size());
  std::iota(batch.positions.begin(), batch.positions.end(), 0);
  batch.document_starts = {0, static_cast<int32_t>(batch.tokens.size())};
  batch.target_tokens = static_cast<int64_t>(batch.tokens.size());
  return batch;
}

// The measurement on one rank of a tensor and context group.
class Measurement {
 public:
  Measurement(const RunPlan& plan, const MicroBatch& batch, const Grid& grid, int rank, RankGroups groups,
              std::unique_ptr<Operations> operations)
      : plan_(plan),
        batch_(batch),
        groups_(std::move(groups)),
        operations_(std::move(operations)),
        loss_(losses().find(plan.config.train.loss)()) {
    const GridPlace place = grid.place_of(rank);
    shard_ = {place.tensor, grid.tensor, plan.config.parallel.sequence_parallel, place.context, grid.context};
  }

  // All ranks of the group measure the same parts in the same order.
  LayerTimes run() {
    const int64_t blocks = plan_.model.architecture.num_hidden_layers;
    Tensor hidden;  // [tokens, hidden] of this rank; it also serves as every gradient of that shape
    LayerTimes times;
    times.embedding_s = time_of({0, 0, true, false}, hidden);
    times.block_s = time_of({0, 1, false, false}, hidden);
    times.head_s = time_of({blocks, blocks, false, true}, hidden);
    return times;
  }

 private:
  double time_of(const StageRange& range, Tensor& hidden) {
    // Codes are made numbers at a cost that is small beside the products. Virtual tokens cost every block the
    // same, and what encodes them belongs to a whole stage, which parts of a model are not.
    ModelSpec in_numbers = plan_.model;
    in_numbers.quantisation = {};
    in_numbers.prompt = {};
    const auto model = make_stage_model(in_numbers, range, *operations_, shard_,
                                        activation_memory_of(plan_.config), make_adapted_linear);
    std::vector<Tensor> weights, gradients;
    for (const Parameter& parameter : model->parameters()) {
      weights.push_back(operations_->empty(parameter.shape, Category::weights));
      gradients.push_back(operations_->empty(parameter.shape, Category::gradients));
      initialise(parameter, plan_.config.run.seed, *operations_, weights.back());
    }
    ResidentSource source(std::move(weights));
    AccumulatingSink sink(std::move(gradients));
    LayerContext context{*operations_, source, &sink, groups_.tensor.get(), groups_.context_queue.get()};
    Tensor loss_sum = operations_->empty({1}, DType::f64, Category::workspace);
    operations_->fill(loss_sum, 0);
    double best = std::numeric_limits<double>::infinity();
    for (int i = 0; i <= repetitions; ++i) {
      const double start = steady_seconds();
      ActivationStash stash;
      sink.start_step();
      const double scale = 1.0 / static_cast<double>(std::max<int64_t>(1, batch_.target_tokens));
      Tensor output = model->forward(context, batch_, range.embedding ? Tensor() : hidden, scale, *loss_,
                                     loss_sum, stash);
      if (range.embedding) hidden = std::move(output);
      model->backward(context, batch_, range.head ? Tensor() : hidden, stash);
      operations_->synchronize();
      if (i > 0) best = std::min(best, steady_seconds() - start);
    }
    return best;
  }

  const RunPlan& plan_;
  const MicroBatch& batch_;
  const RankGroups groups_;
  std::unique_ptr<Operations> operations_;
  std::unique_ptr<Loss> loss_;
  ModelShard shard_;
};

// Communication that the run may hide is not hidden here: there are no reducers, and it shares one queue with
// the rank's computation.
RankGroups groups_of(const RunPlan& plan, int rank, const Operations& operations, Connections& connections) {
  RankGroups groups = connections.groups();
  const DeviceChoice device = device_of(plan);
  if (device.kind != DeviceKind::cpu)
    choose_group_transport(RankGpu{gpu_of(device, rank), operations}, RankProcess{}, BackgroundQueues::one,
                           groups, [&](const RankGroups& chosen) { connections.set_groups(chosen); });
  if (groups.context)
    groups.context_queue = std::make_shared<CollectiveQueue>(groups.context, max_collectives_in_flight,
                                                             CollectiveQueue::Undriven{});
  return groups;
}

int64_t nanoseconds(double seconds) {
  return std::max<int64_t>(1, std::llround(1e9 * seconds));
}

}  // namespace

LayerTimes measure_layers(const RunPlan& plan) {
  failpoint("plan.measure");
  const Grid grid{1, 1, plan.layout.grid.context, plan.layout.grid.tensor};
  const MicroBatch batch = with_prompt(batch_of(plan), plan.model.prompt, plan.model.architecture.vocab_size);
  std::vector<std::unique_ptr<Connections>> connections;
  for (RankGroups& groups :
       make_local_groups(grid, static_cast<int>(plan.model.architecture.num_key_value_heads),
                         std::vector<int>(static_cast<size_t>(grid.ranks()), 0), 0, device_of(plan)))
    connections.push_back(std::make_unique<Connections>(std::move(groups)));
  std::mutex mutex;
  LayerTimes slowest;
  std::exception_ptr failure;  // the first failure
  const auto measure = [&](int rank) {
    try {
      auto operations = operations_of(plan, rank)(plan.threads_per_rank, std::make_shared<MemoryAccount>());
      RankGroups groups = groups_of(plan, rank, *operations, *connections[static_cast<size_t>(rank)]);
      const LayerTimes times =
          Measurement(plan, batch, grid, rank, std::move(groups), std::move(operations)).run();
      const std::lock_guard lock(mutex);
      slowest = {std::max(slowest.embedding_s, times.embedding_s), std::max(slowest.block_s, times.block_s),
                 std::max(slowest.head_s, times.head_s)};
    } catch (const std::exception& error) {
      {
        const std::lock_guard lock(mutex);
        if (!failure) failure = std::current_exception();
      }
      for (const auto& each : connections) each->abort(error.what());
    }
  };
  check_room({grid.ranks(), 0, 0});  // ranks that do not exist would make the others wait for ever
  std::vector<std::jthread> threads;
  for (int rank = 0; rank < grid.ranks(); ++rank) threads.emplace_back(measure, rank);
  threads.clear();
  if (failure) std::rethrow_exception(failure);
  return slowest;
}

void partition_by_time(RunPlan& plan) {
  const LayerTimes times = measure_layers(plan);
  plan.layer_times = times;
  const PartCosts costs{nanoseconds(times.embedding_s), nanoseconds(times.block_s),
                        nanoseconds(times.head_s)};
  set_ranges(plan, partition_stages(plan.model.architecture, costs, plan.layout.rank_of_stage));
  std::vector<int64_t> blocks;
  for (const StageRange& range : plan.ranges) blocks.push_back(range.last_block - range.first_block);
  log::info(
      "parallel.partition: measured {} (forward and backward of a micro-batch, best of {}): blocks [{}]",
      to_string(times), repetitions, fmt::join(blocks, ", "));
}

std::string to_string(const LayerTimes& times) {
  return fmt::format("embedding {:.3g} ms, a block {:.3g} ms, head and loss {:.3g} ms",
                     1e3 * times.embedding_s, 1e3 * times.block_s, 1e3 * times.head_s);
}

}  // namespace collie
