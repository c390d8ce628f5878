// Whole runs on several emulated GPUs, which communicate over NCCL's double.
#include "tests/catch.hpp"
#include "tests/gpu/emulated_gpus.hpp"
#include "tests/gpu/gpu_runs.hpp"

using namespace collie;
using namespace collie::test;

TEST_CASE("ranks with a GPU each communicate over NCCL, and train as one rank on the CPU", "[slow]") {
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

TEST_CASE("the parts of matrices go between GPUs, and between ranks that share one", "[slow]") {
  MathsOptions maths = small_maths();
  maths.optimizer = "muon";
  const LayoutOutcome expected = run_layouts(maths, {{LayoutOptions(), 1}, {LayoutOptions(), gpu_steps}});
  const Gpus gpus(GENERATE(1, 2));
  const LayoutOptions layout = gpu_layout(2, 2, 1, 1, 1);
  set_gpu_backend(&cuda_backend());
  const LayoutOutcome found = run_layouts(maths, {{layout, 1}, {layout, gpu_steps}});
  CHECK(complaint_of(found, expected, false, maths.loss_tolerance()) == "");
}

TEST_CASE("with sums in rank order, GPUs over NCCL give the bits of ranks that share one", "[slow]") {
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

TEST_CASE("ranks that NCCL cannot serve communicate through host memory", "[slow]") {
  const Gpus gpus(3);
  // Ranks 0 to 3 on GPUs 0, 1, 2, 0.
  const LayoutOptions layout = gpu_layout(4, 1, 1, 1);
  CHECK(complaint_of(run_on_gpu(layout), on_the_cpu(), false) == "");
  CHECK(take_nccl_calls(0).empty());
}

TEST_CASE("ranks that communicate over NCCL, or through host memory, have the same bits in graphs",
          "[slow]") {
  const int count = GENERATE(2, 3);
  const Gpus gpus(count);
  LayoutOptions layout = count == 2 ? gpu_layout(1, 2, 1, 1) : gpu_layout(4, 1, 1, 1, 1);
  INFO(layout.name() << " on " << count << " GPUs");
  const LayoutOutcome expected = run_on_gpu(layout);
  CHECK(take_nccl_calls(0).empty() == (count == 3));
  layout.graphs = "auto";
  CHECK(complaint_of(run_on_gpu(layout), expected, true) == "");
}

TEST_CASE("a connection between GPUs that is lost ends the run with NCCL's reason") {
  const Gpus gpus(2);
  const std::string reason = reason_after_losing(1, 1, gpu_layout(2, 1, 1, 1));
  CAPTURE(reason);
  CHECK(reason.find("data group: rank 0 of 2: NCCL: remote process exited or there was a network error "
                    "(connection closed by rank 1)") != std::string::npos);
}
