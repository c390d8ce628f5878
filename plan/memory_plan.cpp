#include "plan/memory_plan.hpp"

#include <algorithm>
#include <functional>
#include <numeric>
#include <optional>
#include <set>
#include <tuple>

#include "comm/fake_group.hpp"
#include "kernels/meta/meta_gpu_operations.hpp"
#include "plan/evaluation_sets.hpp"
#include "plan/model_work.hpp"
#include "plan/settings.hpp"
#include "runtime/evaluator_core.hpp"
#include "runtime/reduction_tree.hpp"
#include "runtime/stage_core.hpp"

namespace collie {

using schedule::ActionKind;

namespace {

// --- the ranks' computation

// Returns the largest batch of a step. All steps are equal if sequences are packed, unless each document has
// virtual tokens. Otherwise the search
// looks through at most this many tokens for the largest micro-batch of a replica.
std::shared_ptr<const StepBatch> largest_batch(const RunPlan& plan, int replica) {
  constexpr int64_t most_tokens = int64_t{1} << 20;
  std::shared_ptr<const StepBatch> largest;
  size_t largest_size = 0;
  int64_t seen = 0;
  for (int64_t step = 1; step <= plan.total_steps && seen < most_tokens; ++step) {
    const auto batch = training_batch(plan, step, replica);
    size_t size = 0;
    for (const MicroBatch& micro_batch : batch->micro_batches) {
      size = std::max(size, tokens_with_prompt(micro_batch, plan.model.prompt));
      seen += static_cast<int64_t>(micro_batch.tokens.size());
    }
    if (!largest || size > largest_size) {
      largest_size = size;
      largest = batch;
    }
    if (plan.order->settings().packing == Packing::stream && plan.model.prompt.in_document() == 0 &&
        static_cast<int64_t>(size) == plan.sizes.micro_batch_size * plan.config.data.sequence_length)
      break;  // no batch can be larger
    seen += 1;
  }
  return largest;
}

// Returns one replica's share of the first program of an evaluation of data.eval, or of a set's texts.
std::shared_ptr<const StepBatch> evaluation_share(const RunPlan& plan,
                                                  const std::shared_ptr<const SequenceOrder>& order,
                                                  int replica) {
  EvaluatorCore evaluator(order, plan.config.train.micro_batch_size);
  evaluator.start(1);
  return deal(evaluator.next(), plan.layout.grid.data).at(static_cast<size_t>(replica));
}

// What is evaluated by losses.
std::vector<std::shared_ptr<const SequenceOrder>> evaluated_orders(const RunPlan& plan) {
  std::vector<std::shared_ptr<const SequenceOrder>> all = {plan.evaluation_order};
  for (const auto& planned : plan.evaluation_sets) all.push_back(planned->order);
  std::erase(all, nullptr);
  return all;
}

// --- the ranks of one pipeline

RankGroups fake_groups(const Grid& grid, int rank, int key_value_heads) {
  const auto end_in = [&](const std::vector<int>& ranks) -> std::shared_ptr<MeteredGroup> {
    if (ranks.size() == 1) return nullptr;
    const auto self = std::find(ranks.begin(), ranks.end(), rank) - ranks.begin();
    return std::make_shared<MeteredGroup>(
        make_fake_group(static_cast<int>(self), static_cast<int>(ranks.size())));
  };
  RankGroups groups;
  groups.tensor = end_in(grid.tensor_group(rank));
  groups.context = end_in(grid.context_group(rank));
  groups.key_value = end_in(grid.key_value_group(rank, key_value_heads));
  groups.data = end_in(grid.data_group(rank));
  for (const auto& ranks : ReductionTree(grid).groups_of(rank))
    groups.reduction_tree.push_back(end_in(ranks));
  const auto queue_of = [](const std::shared_ptr<MeteredGroup>& group) {
    return group ? std::make_shared<CollectiveQueue>(group, max_collectives_in_flight,
                                                     CollectiveQueue::Undriven{})
                 : nullptr;
  };
  groups.data_queue = queue_of(groups.data);
  groups.context_queue = queue_of(groups.context);
  return groups;
}

// The meta operations advance the queue as their work takes time. The constant says how much a rank computes
// while one byte of a gradient or a weight is in flight. It fits the processors of one machine; with a
// network between ranks, or with a faster device, it is larger.
MetaOperations::OnWork work_beside(const std::shared_ptr<CollectiveQueue>& queue) {
  constexpr double operations_per_byte = 100;
  if (!queue) return {};
  return
      [queue](double operations) { queue->advance(static_cast<int64_t>(operations / operations_per_byte)); };
}

OperationsFactory meta_operations(DeviceKind device, DType dtype,
                                  const std::shared_ptr<CollectiveQueue>& queue) {
  return [=](int threads, std::shared_ptr<MemoryAccount> account) -> std::unique_ptr<Operations> {
    if (device == DeviceKind::cuda)
      return std::make_unique<MetaGpuOperations>(dtype, std::move(account), work_beside(queue));
    return std::make_unique<MetaOperations>(threads, std::move(account), work_beside(queue), dtype);
  };
}

// The name of the groups in which ranks synchronise a step.
std::string name_of_level(size_t level) {
  return level == 0 ? "norm" : fmt::format("norm, level {}", level);
}

// Sent bytes by (group, peer, kind).
using Sent = std::map<std::tuple<std::string, int, std::string>, int64_t>;

std::pair<const char*, const char*> names_of(Direction direction) {
  switch (direction) {
    case Direction::forward:
      return {"pipeline", "activation"};
    case Direction::backward:
      return {"pipeline", "gradient"};
    case Direction::tied_gradient:
      return {"tied", "gradient"};
    case Direction::tied_weight:
      break;
  }
  return {"tied", "weight"};
}

// The stage cores and model workers of one pipeline, all in the calling thread. They take turns in the order
// of simulated time, so that waits and the amount in flight are as in the run.
class MetaPipeline {
 public:
  MetaPipeline(const RunPlan& plan, const GridPlace& place) : plan_(plan) {
    const Grid& grid = plan.layout.grid;
    const std::vector<int> pipeline =
        grid.pipeline_group(grid.rank_of({0, place.data, place.context, place.tensor}));
    RunPlan modelled = plan;
    modelled.weights = {};  // tensors without memory have no values, and a plan's run has no start/ yet
    for (const int rank : pipeline) {
      Rank& at = *ranks_.emplace_back(std::make_unique<Rank>());
      at.number = rank;
      at.outbox.pipeline = this;
      at.outbox.from = ranks_.size() - 1;
      at.groups = fake_groups(grid, rank, static_cast<int>(plan.model.architecture.num_key_value_heads));
      modelled.make_operations =
          meta_operations(plan.device.kind, dtype_of(plan.config.model), at.groups.data_queue);
      at.worker = std::make_unique<ModelWorker>(worker_settings(modelled, rank, at.groups));
      at.core = std::make_unique<StageCore>(
          StageSettings{tag, rank, plan.layout.rank_of_stage, plan.credits, false, pipeline, true},
          *at.worker, at.outbox, at.status);
    }
    for (const StageRange& range : plan.ranges) {
      const auto blocks = static_cast<double>(range.last_block - range.first_block);
      stage_cost_.push_back(blocks * static_cast<double>(matrix_elements_of_block(plan.model.architecture)));
      head_cost_.push_back(range.head ? static_cast<double>(matrix_elements_of_head(plan.model.architecture))
                                      : 0);
    }
  }

  // A program with one replica's `batch`, which is null for a snapshot.
  void run(const ProgramKind& kind, std::shared_ptr<const StepBatch> batch) {
    const int micro_batches = batch ? static_cast<int>(batch->micro_batches.size()) : 0;
    ProgramTasks tasks = tasks_of(kind, plan_.layout, micro_batches);
    Program program;
    program.tag = tag;
    program.id = ++programs_;
    program.kind = kind;
    program.step = program.update = 1;
    for (const UpdateMemory& of_group : ParameterGroups(plan_.config.optimizer).memory())
      program.memory.emplace_back(of_group.begin(), of_group.end());
    program.lists = std::make_shared<const TaskLists>(std::move(tasks.lists));
    program.activation_limits = std::move(tasks.activation_limits);
    if (batch) program.batches.assign(static_cast<size_t>(plan_.layout.grid.data), std::move(batch));
    const ProgramPtr pointer = std::make_shared<const Program>(std::move(program));
    for (auto& rank : ranks_) rank->core->enqueue(pointer);
    wake(0);
    while (advance()) {
    }
    for (const auto& rank : ranks_)
      COLLIE_ASSERT(rank->status.get().phase == RankStatus::Phase::idle, "the plan's rank {} {}",
                    rank->number, rank->status.get().what);
  }

  // Called when the checkpoint that the writer holds is on disk.
  void release_snapshot() { slices_.clear(); }

  void start_counting() {
    for (auto& rank : ranks_) {
      rank->sent.clear();
      rank->before = calls_of(*rank);
    }
  }

  std::vector<PlannedRank> planned() const {
    std::vector<PlannedRank> result;
    for (const auto& rank : ranks_) result.push_back(planned(*rank));
    return result;
  }

 private:
  struct Outbox final : StageOutbox {
    MetaPipeline* pipeline = nullptr;
    size_t from = 0;
    void send(int rank, Payload payload) override { pipeline->send(from, rank, std::move(payload)); }
    void send(int rank, Credit credit) override { pipeline->rank_numbered(rank).core->credit(credit); }
    void report(ProgramReply) override {}
    void report(ProgramDone) override {}
    void deliver(SnapshotPart part) override {
      for (auto& slice : part.slices) pipeline->slices_.push_back(std::move(slice));
    }
    std::function<void()> outcome_notifier() override {
      return [] {};  // meta tensors have their outcome at once
    }
  };
  // Bytes sent so far, by group and kind of call.
  using Calls = std::map<std::pair<std::string, std::string>, int64_t>;
  struct Rank {
    int number = 0;
    Outbox outbox;
    RankStatus status;
    RankGroups groups;
    std::unique_ptr<ModelWorker> worker;
    std::unique_ptr<StageCore> core;
    double clock = 0;             // when it has finished its executed tasks
    std::optional<double> start;  // when it can execute the next task; none: an input is missing
    Sent sent;
    Calls before;
  };

  Rank& rank_numbered(int number) {
    return **std::find_if(ranks_.begin(), ranks_.end(), [&](const auto& r) { return r->number == number; });
  }

  // Counts the matrices alone, because they take nearly all of the time.
  double duration(const Task& task) const {
    if (task.kind != TaskKind::pipeline || !is_compute(task.action.kind)) return 0;
    const auto stage = static_cast<size_t>(task.action.stage);
    switch (task.action.kind) {
      case ActionKind::forward:
        return stage_cost_[stage] + 3 * head_cost_[stage];  // the head's backward is part of its forward
      case ActionKind::backward:
        return 2 * stage_cost_[stage];
      default:
        return stage_cost_[stage];
    }
  }

  // Wakes ranks whose input has just arrived.
  void wake(double now) {
    for (auto& rank : ranks_)
      if (!rank->start && rank->core->ready()) rank->start = std::max(rank->clock, now);
  }

  // Executes the task that can start first.
  bool advance() {
    Rank* next = nullptr;
    for (auto& rank : ranks_)
      if (rank->start && (next == nullptr || *rank->start < *next->start)) next = rank.get();
    if (next == nullptr) return false;
    const double now = *next->start;
    next->start.reset();
    const std::optional<Task> task = next->core->ready();
    next->core->execute();
    next->clock = now + duration(*task);
    if (next->core->ready()) next->start = next->clock;
    wake(now);
    return true;
  }

  void send(size_t from, int to, Payload payload) {
    const auto [group, kind] = names_of(payload.channel.direction);
    if (payload.tensor.defined())
      ranks_[from]->sent[{group, to, kind}] += static_cast<int64_t>(payload.tensor.bytes());
    rank_numbered(to).core->arrive(std::move(payload));
  }

  static Calls calls_of(const Rank& rank) {
    Calls calls;
    const auto add = [&](const char* name, const std::shared_ptr<MeteredGroup>& group) {
      if (!group) return;
      for (const auto& [kind, traffic] : group->traffic()) calls[{name, kind}] = traffic.bytes;
    };
    add("tensor", rank.groups.tensor);
    add("context", rank.groups.context);
    add("key_value", rank.groups.key_value);
    add("data", rank.groups.data);
    for (size_t level = 0; level < rank.groups.reduction_tree.size(); ++level)
      add(name_of_level(level).c_str(), rank.groups.reduction_tree[level]);
    return calls;
  }

  PlannedRank planned(const Rank& rank) const {
    PlannedRank result;
    result.rank = result.modelled_on = rank.number;
    const RankSummary summary = rank.worker->summary();
    result.parameters = summary.weight_elements;
    std::copy(summary.peak_bytes.begin(), summary.peak_bytes.end(), result.peak_bytes.begin());
    result.peak_total_bytes = summary.peak_total_bytes;
    result.peak_activations = summary.peak_activations;
    for (const auto& [call, bytes] : calls_of(rank)) {
      const auto before = rank.before.find(call);
      const int64_t sent = bytes - (before == rank.before.end() ? 0 : before->second);
      if (sent == 0) continue;
      if (result.traffic.empty() || result.traffic.back().group != call.first)
        result.traffic.push_back({call.first, {}, {}});
      result.traffic.back().sent_bytes[call.second] = sent;
    }
    for (const auto& [key, bytes] : rank.sent) {
      const auto& [group, peer, kind] = key;
      PlannedTraffic traffic{group, {peer}, {{kind, bytes}}};
      if (!result.traffic.empty() && result.traffic.back().group == group &&
          result.traffic.back().ranks == traffic.ranks)
        result.traffic.back().sent_bytes[kind] = bytes;
      else
        result.traffic.push_back(std::move(traffic));
    }
    return result;
  }

  static constexpr RunTag tag{1, 1};
  const RunPlan& plan_;
  std::vector<std::unique_ptr<Rank>> ranks_;
  std::vector<CheckpointSlice> slices_;
  std::vector<double> stage_cost_, head_cost_;
  uint64_t programs_ = 0;
};

// --- run

// The programs of a run that affect the peaks.
class MetaRun {
 public:
  explicit MetaRun(const RunPlan& plan) : plan_(plan) {}

  // Returns the ranks at all pipeline positions of `place`.
  std::vector<PlannedRank> run(const GridPlace& place) {
    MetaPipeline pipeline(plan_, place);
    const std::shared_ptr<const StepBatch> batch = training_batch(place.data);
    const bool estimates = ParameterGroups(plan_.config.optimizer).estimate_due(1);
    const auto train = [&] {
      if (estimates) pipeline.run(estimate_program, batch);
      pipeline.start_counting();  // what a step sends that has no estimate
      for (const ProgramKind& pass : passes_of(plan_.config).of_step(batch->micro_batches.size()))
        pipeline.run(pass, batch);
    };
    train();
    if (evaluates(plan_))
      for (const auto& order : evaluated_orders(plan_))
        pipeline.run(evaluation_program, evaluation_share(plan_, order, place.data));
    if (saves_before_the_end(plan_)) pipeline.run(snapshot_program, nullptr);
    if (plan_.total_steps > 1) train();
    const std::vector<PlannedRank> traffic = pipeline.planned();
    pipeline.release_snapshot();
    pipeline.run(snapshot_program, nullptr);
    std::vector<PlannedRank> ranks = pipeline.planned();
    for (size_t i = 0; i < ranks.size(); ++i) ranks[i].traffic = traffic[i].traffic;
    return ranks;
  }

 private:
  const std::shared_ptr<const StepBatch>& training_batch(int replica) {
    std::shared_ptr<const StepBatch>& batch = batches_[replica];
    if (!batch) batch = largest_batch(plan_, replica);
    return batch;
  }

  const RunPlan& plan_;
  std::map<int, std::shared_ptr<const StepBatch>> batches_;  // by replica
};

std::vector<int> group_of(const Grid& grid, const std::string& name, int rank, int key_value_heads) {
  if (name == "tensor") return grid.tensor_group(rank);
  if (name == "context") return grid.context_group(rank);
  if (name == "key_value") return grid.key_value_group(rank, key_value_heads);
  const auto levels = ReductionTree(grid).groups_of(rank);
  for (size_t level = 0; level < levels.size(); ++level)
    if (name == name_of_level(level)) return levels[level];
  return grid.data_group(rank);
}

// Up to this many ranks, all ranks are modelled. With more ranks, only the first, the second and the last
// place of each dimension except the pipeline are modelled. The place of a rank affects its memory in two
// ways only. The first rank stands for the others in data that all hold alike (norms, checkpoint content),
// and the last has the remainder (tokens, elements of a bucket). The ranks between them differ at most by
// their data's document boundaries.
constexpr int most_ranks_modelled_each = 32;

int model_of(int place, int size) {
  return place == 0 || place == size - 1 ? place : 1;
}

GridPlace model_of(const Grid& grid, const GridPlace& place) {
  if (grid.ranks() <= most_ranks_modelled_each) return place;
  return {place.pipeline, model_of(place.data, grid.data), model_of(place.context, grid.context),
          model_of(place.tensor, grid.tensor)};
}

}  // namespace

int64_t PlannedTraffic::total() const {
  return std::accumulate(sent_bytes.begin(), sent_bytes.end(), int64_t{0},
                         [](int64_t sum, const auto& entry) { return sum + entry.second; });
}

std::vector<PlannedRank> predict_memory(const RunPlan& plan) {
  const Grid& grid = plan.layout.grid;
  MetaRun run(plan);
  std::map<int, PlannedRank> modelled;
  std::vector<PlannedRank> all;
  for (int rank = 0; rank < grid.ranks(); ++rank) {
    const GridPlace place = grid.place_of(rank);
    const int model = grid.rank_of(model_of(grid, place));
    if (!modelled.contains(model))
      for (PlannedRank& planned : run.run(grid.place_of(model))) modelled[planned.rank] = std::move(planned);
    PlannedRank planned = modelled.at(model);
    planned.rank = rank;
    planned.place = place;
    for (size_t stage = 0; stage < plan.layout.rank_of_stage.size(); ++stage)
      if (plan.layout.rank_of_stage[stage] == place.pipeline)
        planned.stages.push_back(static_cast<int>(stage));
    for (PlannedTraffic& traffic : planned.traffic) {
      if (traffic.ranks.empty())
        traffic.ranks = group_of(grid, traffic.group, rank,
                                 static_cast<int>(plan.model.architecture.num_key_value_heads));
      else  // another pipeline's peers
        for (int& peer : traffic.ranks) {
          const int position = grid.place_of(peer).pipeline;
          peer = grid.rank_of({position, place.data, place.context, place.tensor});
        }
    }
    all.push_back(std::move(planned));
  }
  return all;
}

}  // namespace collie
