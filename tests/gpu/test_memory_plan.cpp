// What a plan predicts of a run on a GPU, against what the accounts say on the emulated one.
#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <mutex>

#include "kernels/cuda/backend.hpp"
#include "kernels/cuda/memory/workspaces.hpp"
#include "kernels/meta/meta_gpu_operations.hpp"
#include "plan/memory_plan.hpp"
#include "schedule/schedules.hpp"
#include "tests/actors/layout_runs.hpp"
#include "tests/catch.hpp"
#include "tests/models/support.hpp"
#include "tests/part.hpp"
#include "tests/runtime/local_pipeline.hpp"

using namespace collie;
using namespace collie::test;

namespace {

// --- in one thread

// The accounts of every rank after two steps, an evaluation and a snapshot.
std::vector<RankSummary> accounts_of(const Layout& layout, const ModelConfig& model,
                                     const Precision& precision, const ActivationMemory& activations,
                                     const OperationsFactory& make,
                                     std::vector<std::shared_ptr<ProcessGroup>> world) {
  ModelWorkerSettings settings;
  settings.model = model;
  settings.ranges = partition_stages(model, layout.stages, "uniform");
  settings.precision = precision;
  settings.activations = activations;
  settings.make_operations = make;
  LocalPipeline pipeline(layout, settings, std::move(world));
  auto batch = std::make_shared<StepBatch>();
  for (int i = 0; i < 4; ++i) {
    batch->micro_batches.push_back(make_batch({5, 70 + i % 2}, 11, fmt::format("batch {}", i)));
    batch->global_target_tokens += batch->micro_batches.back().target_tokens;
  }
  for (int step = 0; step < 2; ++step) pipeline.train(batch, 1e-2);
  pipeline.evaluate(batch);
  pipeline.snapshot();
  std::vector<RankSummary> summaries;
  for (int rank = 0; rank < layout.grid.ranks(); ++rank) summaries.push_back(pipeline.worker(rank).summary());
  return summaries;
}

// --- a whole run

// Peaks of all ranks, the smallest first, less the workspace that every rank has and that is larger than the
// rest of such a small model.
std::vector<double> sorted(const std::vector<size_t>& peaks) {
  std::vector<double> result;
  for (const size_t peak : peaks)
    result.push_back(static_cast<double>(peak) - static_cast<double>(cuda::matmul_workspace_bytes));
  std::sort(result.begin(), result.end());
  return result;
}

std::vector<double> measured_of(RunPlan plan) {
  std::mutex mutex;
  std::vector<std::shared_ptr<MemoryAccount>> accounts;
  plan.on_account = [&](const std::shared_ptr<MemoryAccount>& account) {
    const std::lock_guard lock(mutex);
    accounts.push_back(account);
  };
  LayoutOutcome outcome;
  run_to_the_end(std::move(plan), outcome);
  std::vector<size_t> peaks;
  for (const auto& account : accounts) peaks.push_back(account->peak_total());
  return sorted(peaks);
}

void check_prediction(const MathsOptions& maths, LayoutOptions layout) {
  const TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 200; ++i) text += fmt::format("The {}th collie herds sheep. ", i * i);
  folder.write("train.txt", text);
  layout.device = "cuda";
  Config config = layout_config(folder, maths, layout, 2);
  config.model.config["hidden_size"] = 64;
  config.model.config["intermediate_size"] = 160;
  INFO(layout.name() << ", " << maths.name());
  set_gpu_backend(nullptr);  // a plan needs none
  std::vector<size_t> peaks;
  for (const PlannedRank& rank : predict_memory(plan_training(config, ExistingRun::ignore)))
    peaks.push_back(rank.peak_total_bytes);
  const std::vector<double> predicted = sorted(peaks);
  set_gpu_backend(&cuda_backend());
  const std::vector<double> measured = measured_of(plan_training(config, ExistingRun::refuse));
  set_gpu_backend(nullptr);
  REQUIRE(predicted.size() == measured.size());
  for (size_t rank = 0; rank < measured.size(); ++rank) {
    INFO("predicted " << predicted[rank] << ", measured " << measured[rank]);
    CHECK(std::abs(predicted[rank] / measured[rank] - 1) <= 0.05);
  }
}

}  // namespace

TEST_CASE("a GPU's steps without memory leave the accounts that the kernels' leave, to the byte", "[slow]") {
  using Case = std::tuple<DType, bool, ActivationMemory>;
  const ActivationMemory kept, offloaded{Recompute::none, true}, none_kept{Recompute::full, true};
  // What is tied is not saved on the host.
  const std::vector<Case> all = {{DType::bf16, true, kept},      {DType::f32, false, kept},
                                 {DType::f32, true, kept},       {DType::f32, false, offloaded},
                                 {DType::bf16, false, kept},     {DType::bf16, false, offloaded},
                                 {DType::f32, false, none_kept}, {DType::bf16, false, none_kept}};
  const auto [dtype, tied, activations] = GENERATE_COPY(from_range(part_of(all, 3)));
  Precision precision;
  if (dtype == DType::bf16) precision = precision_of(OptimizerConfig{}, "bfloat16", 42);
  ModelConfig model = tiny_config(tied);
  model.num_hidden_layers = 4;
  model.max_position_embeddings = 128;
  std::deque<std::shared_ptr<DeviceSlot>> slots;  // of the ranks that are still to be made
  const auto real_table = [&](int, std::shared_ptr<MemoryAccount> account) {
    auto operations = cuda_backend().make_operations(dtype, 0, std::move(account));
    slots.front()->queue = cuda_backend().queue_of(*operations);
    slots.pop_front();
    return operations;
  };
  const auto meta_table = [dtype](int, std::shared_ptr<MemoryAccount> account) {
    return std::make_unique<MetaGpuOperations>(dtype, std::move(account));
  };
  for (const auto& [ranks, schedule] :
       {std::pair<int, std::string>{1, "1f1b"}, {2, "1f1b"}, {2, "zbv"}, {3, "zb_h1"}}) {
    const Layout layout = layout_of(ranks, tied, schedule);
    for (int rank = 0; rank < ranks; ++rank) slots.push_back(std::make_shared<DeviceSlot>());
    const auto real = accounts_of(layout, model, precision, activations, real_table,
                                  make_device_group({slots.begin(), slots.end()}));
    const auto meta = accounts_of(layout, model, precision, activations, meta_table, fake_world(ranks));
    for (size_t rank = 0; rank < real.size(); ++rank) {
      CAPTURE(schedule, ranks, rank, name(dtype), tied, activations.offload, activations.recompute);
      CHECK(meta[rank].peak_bytes == real[rank].peak_bytes);
      CHECK(meta[rank].peak_total_bytes == real[rank].peak_total_bytes);
      CHECK(meta[rank].current_total_bytes == real[rank].current_total_bytes);
    }
  }
}

TEST_CASE("what is predicted of a run on a GPU is what it takes, where no GPU is when it is planned",
          "[slow]") {
  MathsOptions maths;
  maths.sequences_per_step = 4;
  check_prediction(maths, {});
  check_prediction(maths, {2, 1, 1, 1, "1f1b", 1});
  check_prediction(maths, {1, 2, 2, 1, "1f1b", 0, true});
  check_prediction(maths, {1, 1, 1, 2});
  maths.dtype = "bfloat16";
  check_prediction(maths, {});
  check_prediction(maths, {2, 1, 2, 1, "1f1b", 3});
  LayoutOptions saving{1, 1, 2, 1};
  saving.offload = "all";
  check_prediction(maths, saving);
  saving.recompute = "selective";
  check_prediction(maths, saving);
}

TEST_CASE("what a GPU holds of activations is less with each way of saving them") {
  ModelConfig model = tiny_config(false);
  model.num_hidden_layers = 8;
  model.max_position_embeddings = 128;
  const auto peak = [&](const ActivationMemory& activations) {
    const auto table = [](int, std::shared_ptr<MemoryAccount> account) {
      return std::make_unique<MetaGpuOperations>(DType::f32, std::move(account));
    };
    const RankSummary rank =
        accounts_of(layout_of(1, false, "gpipe"), model, {}, activations, table, fake_world(1)).front();
    return rank.peak_bytes[static_cast<size_t>(Category::activations)];
  };
  const auto none = peak({}), selective = peak({Recompute::selective}), full = peak({Recompute::full}),
             offloaded = peak({Recompute::none, true}), both = peak({Recompute::full, true});
  CAPTURE(none, selective, full, offloaded, both);
  CHECK(static_cast<double>(selective) < 0.8 * static_cast<double>(none));
  CHECK(static_cast<double>(full) < 0.4 * static_cast<double>(none));
  // Of 4 micro-batches · 8 blocks: the last block of each micro-batch, two on their way and the one computed.
  CHECK(static_cast<double>(offloaded) < 7.0 / 32 * static_cast<double>(none));
  CHECK(both < offloaded);
}
