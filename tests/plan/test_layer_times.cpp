// What parallel.partition: measured measures, and what it makes of it.
#include "plan/layer_times.hpp"

#include <atomic>
#include <mutex>

#include "kernels/cpu/cpu_operations.hpp"
#include "tests/catch.hpp"
#include "tests/runtime/tiny_run.hpp"

namespace collie::test {
namespace {

// Accounts of all the ranks that measure.
using Accounts = std::vector<std::shared_ptr<MemoryAccount>>;

OperationsFactory kept_in(Accounts& accounts, std::mutex& mutex) {
  return [&](int threads, std::shared_ptr<MemoryAccount> account) {
    const std::lock_guard lock(mutex);
    accounts.push_back(account);
    return make_cpu_operations(threads, std::move(account));
  };
}

TEST_CASE("layers are timed on every tensor and context rank, and their memory is released",
          "[actors][measured]") {
  const TemporaryFolder folder;
  Config config = tiny_run(folder);
  config.parallel.tp_size = GENERATE(1, 2);
  config.parallel.cp_size = GENERATE(1, 2);
  RunPlan plan = plan_training(config, ExistingRun::ignore);
  Accounts accounts;
  std::mutex mutex;
  plan.make_operations = kept_in(accounts, mutex);
  const LayerTimes times = measure_layers(plan);
  CHECK(times.embedding_s > 0);
  CHECK(times.block_s > 0);
  CHECK(times.head_s > 0);
  CHECK(accounts.size() == static_cast<size_t>(config.parallel.tp_size * config.parallel.cp_size));
  for (const auto& account : accounts) {
    CHECK(account->peak(Category::gradients) > 0);
    CHECK(account->current_total() == 0);
  }
}

TEST_CASE("what fails on one of the ranks that are timed fails the measurement, and all end",
          "[actors][measured]") {
  const TemporaryFolder folder;
  Config config = tiny_run(folder);
  config.parallel.tp_size = 2;
  RunPlan plan = plan_training(config, ExistingRun::ignore);
  std::atomic<int> made = 0;
  plan.make_operations = [&](int threads, std::shared_ptr<MemoryAccount> account) {
    if (made++ == 1) throw RunError("no memory left");
    return make_cpu_operations(threads, std::move(account));
  };
  CHECK_THROWS_WITH(measure_layers(plan), "no memory left");
}

// Blocks of the stages of a model of eight blocks.
std::vector<int64_t> blocks_with(int vocabulary, const std::string& schedule) {
  const TemporaryFolder folder;
  Config config = tiny_run(folder);
  config.model.config["num_hidden_layers"] = 8;
  config.model.config["vocab_size"] = vocabulary;
  config.parallel.partition = "measured";
  config.parallel.schedule = schedule;
  const RunPlan plan = plan_training(config, ExistingRun::ignore);
  std::vector<int64_t> blocks;
  for (const StageRange& range : plan.ranges) blocks.push_back(range.last_block - range.first_block);
  return blocks;
}

TEST_CASE("a head that takes longer than all blocks leaves its rank as few as can be", "[actors][measured]") {
  CHECK(blocks_with(32768, "1f1b") == std::vector<int64_t>{7, 1});
  CHECK(blocks_with(32768, "zbv") == std::vector<int64_t>{1, 3, 3, 1});  // the first rank's are 0 and 3
}

TEST_CASE("nodes are told the partition, not how it was found", "[actors][measured]") {
  const TemporaryFolder folder;
  Config config = tiny_run(folder);
  config.model.config["num_hidden_layers"] = 5;
  config.parallel.partition = "measured";
  RunPlan plan = plan_training(config, ExistingRun::ignore);
  for (const std::vector<int>& cut : {std::vector<int>{4, 1}, std::vector<int>{2, 3}}) {
    plan.ranges = partition_stages(plan.model.architecture, cut);
    const RunPlan there = plan_of_node(for_nodes(plan), 1);
    CHECK(there.config.parallel.partition_list == cut);
    CHECK(there.ranges.front().last_block == cut.front());
  }
}

}  // namespace
}  // namespace collie::test
