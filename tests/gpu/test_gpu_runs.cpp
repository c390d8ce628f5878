// Whole runs on the emulated GPU, several ranks sharing it, compared with one rank's on the CPU.
#include <atomic>
#include <chrono>
#include <thread>

#include "comm/nccl/api.hpp"
#include "kernels/cuda/backend.hpp"
#include "kernels/cuda/emulation/cuda_runtime.hpp"
#include "tests/actors/layout_runs.hpp"
#include "tests/catch.hpp"
#include "tests/devices/nccl_double.hpp"

using namespace collie;
using namespace collie::test;

namespace {

constexpr int64_t gpu_steps = 3, all_steps = 4;  // the last one is resumed on the CPU

MathsOptions small_maths() {
  MathsOptions maths;
  maths.sequences_a_step = 4;
  return maths;
}

const LayoutOutcome& on_the_cpu() {
  static const LayoutOutcome outcome =
      run_layouts(small_maths(), {{LayoutOptions{}, 1}, {LayoutOptions{}, all_steps}});
  return outcome;
}

LayoutOptions gpu_layout(int dp, int tp, int pp, int cp, int zero = 0, const std::string& schedule = "1f1b") {
  LayoutOptions layout;
  layout.dp = dp;
  layout.tp = tp;
  layout.pp = pp;
  layout.cp = cp;
  layout.zero = zero;
  layout.schedule = schedule;
  layout.device = "cuda";
  return layout;
}

LayoutOutcome run_on_gpu(const LayoutOptions& layout) {
  set_gpu_backend(&cuda_backend());
  return run_layouts(small_maths(), {{layout, 1}, {layout, gpu_steps}, {LayoutOptions{}, all_steps}});
}

}  // namespace

TEST_CASE("one rank on a GPU trains as on the CPU, and its checkpoint goes on there") {
  const LayoutOutcome found = run_on_gpu(gpu_layout(1, 1, 1, 1));
  CHECK(complaint_of(found, on_the_cpu(), false) == "");
  CHECK(complaint_of(found, on_the_cpu(), true) != "");  // other sums: it was not the CPU
}

TEST_CASE("a run on a GPU gives the same bits twice, and those of its pipelines") {
  const LayoutOutcome once = run_on_gpu(gpu_layout(1, 1, 1, 1));
  CHECK(complaint_of(run_on_gpu(gpu_layout(1, 1, 1, 1)), once, true) == "");
  CHECK(complaint_of(run_on_gpu(gpu_layout(1, 1, 2, 1)), once, true) == "");
  CHECK(complaint_of(run_on_gpu(gpu_layout(1, 1, 2, 1, 0, "zbv")), once, true) == "");
}

TEST_CASE("ranks that share a GPU in any layout train as one rank on the CPU") {
  const LayoutOptions layout =
      GENERATE(gpu_layout(2, 1, 1, 1), gpu_layout(2, 1, 1, 1, 3), gpu_layout(1, 2, 1, 1),
               gpu_layout(1, 1, 1, 2), gpu_layout(2, 2, 2, 1, 1));
  INFO(layout.name());
  CHECK(complaint_of(run_on_gpu(layout), on_the_cpu(), false) == "");
}

TEST_CASE("what gives the same bits on the CPU does so with ranks that share a GPU") {
  const LayoutOutcome replicas = run_on_gpu(gpu_layout(2, 1, 1, 1));
  CHECK(complaint_of(run_on_gpu(gpu_layout(2, 1, 1, 1, 1)), replicas, true) == "");
  CHECK(complaint_of(run_on_gpu(gpu_layout(2, 1, 2, 1)), replicas, true) == "");
  const LayoutOutcome sharded = run_on_gpu(gpu_layout(2, 1, 1, 1, 2));
  CHECK(complaint_of(run_on_gpu(gpu_layout(2, 1, 1, 1, 3)), sharded, true) == "");
}

namespace {

// So many GPUs, and NCCL between them.
class Gpus {
 public:
  explicit Gpus(int count) {
    set_gpu_backend(&cuda_backend());
    emulation::set_device_count(count);
    nccl::use(&nccl_double());
    for (int rank = 0; rank < 4; ++rank) take_nccl_calls(rank);
  }
  ~Gpus() {
    emulation::set_device_count(1);
    nccl::use(nullptr);
  }
  Gpus(const Gpus&) = delete;
  Gpus& operator=(const Gpus&) = delete;
};

}  // namespace

TEST_CASE("ranks with a GPU each communicate over NCCL, and train as one rank on the CPU") {
  const Gpus gpus(2);
  // Of the last, two ranks share each GPU: its tensor groups are over NCCL, its data groups in a GPU's
  // memory.
  const LayoutOptions layout =
      GENERATE(gpu_layout(2, 1, 1, 1), gpu_layout(2, 1, 1, 1, 3), gpu_layout(1, 2, 1, 1),
               gpu_layout(1, 1, 1, 2), gpu_layout(2, 2, 1, 1, 1));
  INFO(layout.name());
  CHECK(complaint_of(run_on_gpu(layout), on_the_cpu(), false) == "");
  CHECK(!take_nccl_calls(0).empty());
  CHECK(!take_nccl_calls(1).empty());
}

TEST_CASE("with sums in rank order, GPUs over NCCL give the bits of ranks that share one") {
  const LayoutOptions layout = GENERATE(gpu_layout(2, 1, 1, 1, 1), gpu_layout(1, 2, 1, 1));
  INFO(layout.name());
  const LayoutOutcome on_one = run_on_gpu(layout);
  const Gpus gpus(2);
  setenv("COLLIE_ENGINE_SUMS", "rank_order", 1);
  const LayoutOutcome on_two = run_on_gpu(layout);
  unsetenv("COLLIE_ENGINE_SUMS");
  CHECK(complaint_of(on_two, on_one, true) == "");
  CHECK(!take_nccl_calls(0).empty());
}

TEST_CASE("ranks that NCCL cannot serve communicate through host memory") {
  const Gpus gpus(3);
  // Ranks 0 to 3 on GPUs 0, 1, 2, 0.
  const LayoutOptions layout = gpu_layout(4, 1, 1, 1);
  CHECK(complaint_of(run_on_gpu(layout), on_the_cpu(), false) == "");
  CHECK(take_nccl_calls(0).empty());
}

TEST_CASE("a connection between GPUs that is lost ends the run with NCCL's reason") {
  const Gpus gpus(2);
  const LayoutOptions layout = gpu_layout(2, 1, 1, 1);
  std::atomic<bool> over = false;
  std::thread cut([&] {
    while (!over && take_nccl_calls(0).empty()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    lose_nccl_rank(1);
  });
  std::string reason;
  try {
    run_layouts(small_maths(), {{layout, 1}, {layout, 500}});
  } catch (const std::exception& error) {
    reason = error.what();
  }
  over = true;
  cut.join();
  CAPTURE(reason);
  CHECK(reason.find("data group: rank 0 of 2: NCCL: remote process exited or there was a network error "
                    "(connection closed by rank 1)") != std::string::npos);
}
