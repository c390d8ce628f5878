// Stages on emulated GPUs of their own, whose tensors travel over NCCL's double: the order of its calls,
// whole runs in one process and over several nodes, and a lost peer.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "actors/caf_types.hpp"
#include "actors/cluster.hpp"
#include "actors/guard.hpp"
#include "kernels/gpu.hpp"
#include "runtime/group_transport.hpp"
#include "runtime/stage_transport.hpp"
#include "runtime/tensor_transfer.hpp"
#include "schedule/schedules.hpp"
#include "tests/actors/synthetic_pipeline.hpp"
#include "tests/actors/threaded_config.hpp"
#include "tests/catch.hpp"
#include "tests/comm/support.hpp"
#include "tests/gpu/emulated_gpus.hpp"
#include "tests/gpu/gpu_runs.hpp"

using namespace collie;
using namespace collie::test;

namespace {

// --- stages that only send and receive

constexpr RunTag pipeline_tag{1, 1};

// No two tensors of a program have the same.
int64_t size_of_tensor(const Channel& channel, int micro_batch) {
  return 1 + micro_batch + 16 * (channel.from_stage + 8 * (channel.direction == Direction::backward ? 1 : 0));
}

// Sends tensors of known sizes and values, and looks at what comes when all has come.
class KnownWorker final : public StageWorker {
 public:
  explicit KnownWorker(std::unique_ptr<Operations> operations) : operations_(std::move(operations)) {}
  void begin(const Program&) override {}
  void compute(const Task&) override {}
  Tensor take(const Channel& channel, int micro_batch) override {
    const int64_t size = size_of_tensor(channel, micro_batch);
    Tensor x = operations_->empty({size}, Category::activations);
    operations_->fill(x, static_cast<double>(size));
    operations_->release(x);
    return x;
  }
  void put(const Channel& channel, int micro_batch, Tensor tensor) override {
    came_.emplace_back(size_of_tensor(channel, micro_batch),
                       operations_->acquire(std::move(tensor), Category::activations));
  }
  // The last thing that a program asks for.
  bool synchronize_step(std::function<void()>) override {
    for (const auto& [size, tensor] : came_) {
      std::vector<float> values(static_cast<size_t>(size));
      if (tensor.numel() != size)
        throw RunError("a tensor of {} elements came, not of {}", tensor.numel(), size);
      operations_->download(tensor, values);
      for (const float value : values)
        if (value != static_cast<float>(size))
          throw RunError("a tensor of {} elements holds {}", size, value);
    }
    came_.clear();
    return true;
  }
  StepOutcome outcome() override { return {}; }
  void update() override {}
  std::vector<NamedValues> loss_values() override { return {}; }
  std::vector<NamedValues> sample() override { return {}; }
  std::vector<CheckpointSlice> snapshot() override { return {}; }
  RankSummary summary() const override {
    RankSummary summary;
    for (const Category category : {Category::activations, Category::communication})
      summary.current_total_bytes += operations_->account()->current(category);
    return summary;
  }

 private:
  std::unique_ptr<Operations> operations_;
  std::vector<std::pair<int64_t, Tensor>> came_;
};

Layout layout_of_schedule(const schedule::Schedule& schedule) {
  Layout layout;
  layout.grid.pipeline = schedule.ranks;
  layout.stages = schedule.stages;
  layout.rank_of_stage = schedule.rank_of_stage;
  return layout;
}

std::vector<int> ranks_up_to(int count) {
  std::vector<int> ranks;
  for (int rank = 0; rank < count; ++rank) ranks.push_back(rank);
  return ranks;
}

// One stage actor and one receiver per rank, each on a GPU of its own; the test is their trainer and node.
class Stages {
 public:
  Stages(caf::actor_system& system, const schedule::Schedule& schedule) : self_(system) {
    const Layout layout = layout_of_schedule(schedule);
    const auto me = caf::actor_cast<caf::actor>(self_);
    const std::vector<int> pipeline = ranks_up_to(schedule.ranks);
    Wiring wiring;
    wiring.tag = pipeline_tag;
    wiring.trainer = me;
    wiring.node_of_rank.assign(pipeline.size(), 0);
    auto groups =
        make_local_groups(layout.grid, 1, wiring.node_of_rank, 0, {DeviceKind::cuda, schedule.ranks, ""});
    for (const int rank : pipeline) {
      const auto connections = std::make_shared<Connections>(groups[static_cast<size_t>(rank)]);
      accounts.push_back(std::make_shared<MemoryAccount>());
      StageSpec spec;
      spec.settings = {pipeline_tag, rank, schedule.rank_of_stage, 1, false, {}, true};
      spec.connections = connections;
      spec.status = std::make_shared<RankStatus>();
      spec.owner = me;
      spec.make_worker = [=, account = accounts.back()](const Wiring&) {
        auto operations = gpu_backend()->make_operations(DType::f32, rank, account);
        RankGroups of_rank = connections->groups();
        choose_stage_transport(RankGpu{rank, *operations}, RankProcess{}, stage_edges(layout, true), pipeline,
                               of_rank, [&](const RankGroups& chosen) { connections->set_groups(chosen); });
        take_nccl_calls(rank);
        return std::make_unique<KnownWorker>(std::move(operations));
      };
      wiring.ranks.push_back(spawn_stage(system, SpawnMode::detached, std::move(spec)));
      wiring.receivers.push_back(spawn_receiver(
          system, {pipeline_tag, rank, connections, accounts.back(), wiring.ranks.back(), me}));
    }
    actors_ = wiring.ranks;
    actors_.insert(actors_.end(), wiring.receivers.begin(), wiring.receivers.end());
    ranks_ = wiring.ranks;
    for (const auto& rank : ranks_) self_->send(rank, wiring);
    for (size_t ready = 0; ready < ranks_.size(); ++ready) receive();
  }
  ~Stages() {
    for (const auto& actor : actors_) shut_down(actor);
  }
  Stages(const Stages&) = delete;
  Stages& operator=(const Stages&) = delete;

  void run(const std::shared_ptr<const TaskLists>& lists) {
    Program program;
    program.tag = pipeline_tag;
    program.id = 1;
    program.lists = lists;
    const ProgramMessage message{std::make_shared<const Program>(std::move(program))};
    for (const auto& rank : ranks_) self_->send(rank, message);
    while (done_ < ranks_.size()) receive();
  }

  std::vector<std::shared_ptr<MemoryAccount>> accounts;

 private:
  void receive() {
    self_->receive([](const RankReady&) {}, [](const ProgramReply&) {}, [](const RankStep&) {},
                   [&](const ProgramDone& done) {
                     ++done_;
                     CHECK(done.summary.current_total_bytes == 0);
                   },
                   [](const Failure& failure) { throw RunError("{}: {}", failure.who, failure.cause); },
                   caf::after(std::chrono::seconds(60)) >> [] { throw RunError("the stages say nothing"); });
  }

  caf::scoped_actor self_;
  std::vector<caf::actor> actors_, ranks_;
  size_t done_ = 0;
};

// The sizes of what rank `from` sends to rank `to`, or to all (-1), in the order of its list.
std::vector<int64_t> sizes_sent(const schedule::Schedule& schedule, const TaskLists& lists, int from,
                                int to = -1) {
  std::vector<int64_t> sizes;
  for (const Task& task : lists[static_cast<size_t>(from)]) {
    if (!sends(task)) continue;
    const auto way = edge_of(task.action);
    const bool back = way.to_stage < way.from_stage;
    if (to < 0 || schedule.rank_of_stage[static_cast<size_t>(way.to_stage)] == to)
      sizes.push_back(
          size_of_tensor({back ? Direction::backward : Direction::forward, way.from_stage, way.to_stage},
                         task.action.micro_batch));
  }
  return sizes;
}

// Of the calls that begin so, the sizes.
std::vector<int64_t> sizes_called(const std::vector<std::string>& calls, const std::string& prefix) {
  std::vector<int64_t> sizes;
  for (const std::string& call : calls)
    if (call.rfind(prefix, 0) == 0) sizes.push_back(std::stoll(call.substr(call.find(" of ") + 4)));
  return sizes;
}

// --- nodes in this process

struct NodeHere {
  NodeHere() : system(config) {
    host = spawn_node_host(system, {"127.0.0.1", {}, nullptr});
    port = publish(system, host, {"127.0.0.1", 0}, {}, "a test");
  }
  ~NodeHere() { shut_down(host); }
  NodeHere(const NodeHere&) = delete;
  NodeHere& operator=(const NodeHere&) = delete;

  struct NetworkConfig : ThreadedConfig {
    NetworkConfig() { add_cluster_support(*this, {}); }
  };
  NetworkConfig config;
  caf::actor_system system;
  caf::actor host;
  uint16_t port = 0;
};

bool moved_over_nccl(int device) {
  const auto calls = take_nccl_calls(device);
  return !sizes_called(calls, "send to 1").empty() && !sizes_called(calls, "recv from 0").empty();
}

}  // namespace

TEST_CASE("ways between stages are those that some tensor of the layout takes") {
  Layout layout;
  layout.tied = true;
  layout.rank_of_stage = {0, 1, 2};
  CHECK(stage_edges(layout, true) == StageEdges{{0, 1}, {0, 2}, {1, 0}, {1, 2}, {2, 0}, {2, 1}});
  CHECK(stage_edges(layout, false) == StageEdges{{0, 1}, {1, 2}});
  layout.rank_of_stage = {0, 1, 2, 2, 1, 0};  // both uses of a tied matrix are on one rank
  CHECK(stage_edges(layout, true) == StageEdges{{0, 1}, {1, 0}, {1, 2}, {2, 1}});
  CHECK(stage_edges(layout, false) == StageEdges{{0, 1}, {1, 0}, {1, 2}, {2, 1}});
  layout.rank_of_stage = {0};
  CHECK(stage_edges(layout, true).empty());
}

TEST_CASE("NCCL is for ranks with GPUs of their own, one version, and nothing to encrypt between them") {
  const GpuCard card{22703, {std::byte{1}}, 0, 0};
  const auto objection_to = [&](const std::function<void(GpuCard&)>& change) {
    GpuCard other{22703, {std::byte{2}}, 1, 0};
    change(other);
    return nccl_objection({card, other}, {4, 6}, " of it");
  };
  CHECK(objection_to([](GpuCard&) {}).empty());
  CHECK(objection_to([](GpuCard& other) { other.id = {}; }) == "rank 6 of it has no GPU");
  CHECK(objection_to([&](GpuCard& other) { other.id = card.id; }) ==
        "ranks 4 and 6 of it share a GPU, which NCCL refuses");
  CHECK(objection_to([](GpuCard& other) { other.nccl = 0; }) == "rank 6 of it finds no NCCL");
  CHECK(objection_to([](GpuCard& other) { other.nccl = 21400; }) ==
        "ranks 4 and 6 of it have different versions of NCCL (22703 and 21400)");
  CHECK(objection_to([](GpuCard& other) { other.encrypts = 1; })
            .find("ranks 4 and 6 of it are on two nodes, between "
                  "which tensors are encrypted") == 0);
  CHECK(objection_to([](GpuCard& other) {
          other.encrypts = 1;
          other.node = 0;
        }).empty());
}

TEST_CASE("what must be encrypted between nodes does not go over NCCL") {
  const bool encrypts = GENERATE(false, true);
  const Gpus gpus(2);
  const Layout layout = layout_of_schedule(schedule::make_schedule("1f1b", {2, 2, 1, false}));
  const auto data = make_in_process_group(2), pipeline = make_in_process_group(2);
  std::vector<RankGroups> chosen(2);
  CHECK(complaint(run_ranks(2, [&](int rank) {
          const auto at = static_cast<size_t>(rank);
          const auto operations =
              gpu_backend()->make_operations(DType::f32, rank, std::make_shared<MemoryAccount>());
          RankGroups& groups = chosen[at];
          groups.data = std::make_shared<MeteredGroup>(data[at]);
          groups.pipeline = std::make_shared<MeteredGroup>(pipeline[at]);
          const RankProcess process{rank, encrypts};
          const auto publish = [](const RankGroups&) {};
          choose_group_transport(RankGpu{rank, *operations}, process, BackgroundQueues::beside, groups,
                                 publish);
          choose_stage_transport(RankGpu{rank, *operations}, process, stage_edges(layout, true), {0, 1},
                                 groups, publish);
        })) == "");
  for (size_t rank = 0; rank < 2; ++rank) {
    CHECK((chosen[rank].device.data == nullptr) == encrypts);  // a slot is for groups on GPUs
    CHECK(chosen[rank].pipes.to.empty() == encrypts);
    CHECK(chosen[rank].pipes.from.empty() == encrypts);
  }
}

TEST_CASE("over NCCL stages send in the order of their lists and receive in that of the senders'") {
  const auto [name, ranks, virtual_stages] =
      GENERATE(table<std::string, int, int>({{"1f1b", 3, 1}, {"interleaved_1f1b", 2, 2}, {"zbv", 3, 2}}));
  CAPTURE(name, ranks);
  const schedule::Schedule schedule = schedule::make_schedule(name, {ranks, 6, virtual_stages, false});
  auto lists = std::make_shared<TaskLists>(*tasks_of(schedule));
  for (auto& list : *lists) list.push_back({TaskKind::synchronize_step, {}});
  const Gpus gpus(ranks);
  ThreadedConfig config;
  caf::actor_system system(config);
  Stages stages(system, schedule);
  stages.run(lists);
  for (int rank = 0; rank < ranks; ++rank) {
    CAPTURE(rank);
    const std::vector<std::string> calls = take_nccl_calls(rank);
    CHECK(sizes_called(calls, "send to 1 of") == sizes_sent(schedule, *lists, rank));
    const std::vector<int64_t> received = sizes_called(calls, "recv from 0 of");
    size_t expected_in_all = 0;
    for (int from = 0; from < ranks; ++from) {
      const std::vector<int64_t> expected = sizes_sent(schedule, *lists, from, rank);
      std::vector<int64_t> found;
      for (const int64_t size : received)
        if (std::count(expected.begin(), expected.end(), size) > 0) found.push_back(size);
      if (from != rank) CHECK(found == expected);
      if (from != rank) expected_in_all += expected.size();
    }
    CHECK(received.size() == expected_in_all);
    CHECK(stages.accounts[static_cast<size_t>(rank)]->peak(Category::communication) > 0);
  }
}

TEST_CASE("a tensor that is announced out of turn is refused before its receive is posted") {
  const Gpus gpus(2);
  NcclPipe pipe(nccl_double(), "rank 1", NcclPipe::End::receiving, gpu_backend()->make_queue(1), [] {});
  Payload payload{pipeline_tag, {Direction::forward, 2, 3}, 1, 5, Tensor()};
  payload.sender = 0;
  payload.number = 1;
  payload.dims = {4};
  const auto thrown =
      run_ranks(1, [&](int) { receive_over(pipe, payload, std::make_shared<MemoryAccount>()); });
  CAPTURE(said(thrown[0]));
  CHECK(
      said(thrown[0]).find("activation from stage 2 to stage 3 of micro-batch 5 is announced as number 1 of "
                           "rank 0's tensors, where number 0 is next") != std::string::npos);
  CHECK(take_nccl_calls(1).empty());
}

TEST_CASE("stages with a GPU each train over NCCL with the bits of stages that share one", "[slow]") {
  const LayoutOptions layout = gpu_layout(1, 1, 2, 1);
  const LayoutOutcome on_one = run_on_gpu(layout);
  const Gpus gpus(2);
  CHECK(complaint_of(run_on_gpu(layout), on_one, true) == "");
  CHECK(moved_over_nccl(0));
  CHECK(moved_over_nccl(1));
}

TEST_CASE("stages over NCCL: schedules both ways, replicas, and pairs that share a GPU", "[slow]") {
  // Of the last, stages 0 and 3 share a GPU, over which the tied matrix goes.
  const auto [layout, count] =
      GENERATE(table<LayoutOptions, int>({{gpu_layout(1, 1, 2, 1, 0, "interleaved_1f1b"), 2},
                                          {gpu_layout(1, 1, 2, 1, 0, "zbv"), 2},
                                          {gpu_layout(1, 1, 4, 1, 0, "zbv"), 4},
                                          {gpu_layout(2, 1, 2, 1, 1), 4},
                                          {gpu_layout(1, 1, 4, 1), 3}}));
  INFO(layout.name() << " on " << count << " GPUs");
  const LayoutOutcome on_one = run_on_gpu(layout);
  const Gpus gpus(count);
  CHECK(complaint_of(run_on_gpu(layout), on_one, true) == "");
  for (int device = 0; device < count; ++device) CHECK(moved_over_nccl(device));
}

TEST_CASE("stages in two nodes send each other tensors over NCCL, with the bits of stages in one process",
          "[slow]") {
  LayoutOptions layout = gpu_layout(1, 1, 2, 1, 0, GENERATE("1f1b", "zbv"));
  INFO(layout.name());
  const auto outcome_of = [&](const NodeAddresses& nodes) {
    return run_layouts(small_maths(), {{layout, 1}, {layout, gpu_steps}}, nodes);
  };
  const Gpus gpus(2);
  const LayoutOutcome in_one = outcome_of({});
  take_nccl_calls(0);
  take_nccl_calls(1);
  const NodeHere first, second;
  layout.processes = 2;
  CHECK(complaint_of(
            outcome_of({fmt::format("127.0.0.1:{}", first.port), fmt::format("127.0.0.1:{}", second.port)}),
            in_one, true) == "");
  CHECK(moved_over_nccl(0));
  CHECK(moved_over_nccl(1));
}

TEST_CASE("a connection between the GPUs of two stages that is lost ends the run with NCCL's reason") {
  const int lost = GENERATE(1, 0);  // of each pipe: the receiving end, the sending end
  const Gpus gpus(2);
  const std::string reason = reason_after_losing(lost, 40, gpu_layout(1, 1, 2, 1));
  CAPTURE(reason);
  // Who is left of the pipes there and back.
  const auto named = [&](int from, int to) {
    return reason.find(fmt::format(
               "tensors of stages from rank {} to rank {}, at rank {}: NCCL: remote process exited "
               "or there was a network error (connection closed by rank {})",
               from, to, lost == 1 ? from : to, lost)) != std::string::npos;
  };
  CHECK((named(0, 1) || named(1, 0)));
}
