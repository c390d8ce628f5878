// bench_train's measurement on a model that takes no time, on the CPU and on the emulated GPU.
#include <cmath>

#include "base/error.hpp"
#include "bench/training_run.hpp"
#include "kernels/cuda/backend.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"

using namespace collie;
using collie::bench::measure_training;
using collie::bench::TrainingFigures;
using collie::bench::TrainingSettings;
using collie::test::contains;

namespace {

TrainingSettings small() {
  TrainingSettings settings;
  settings.sequence_length = 64;
  settings.micro_batch_size = 2;
  settings.gradient_accumulation_steps = 2;
  settings.warmup = 1;
  settings.steps = 3;
  settings.device = "cpu";
  return settings;
}

}  // namespace

TEST_CASE("a training run on random tokens is measured step by step") {
  TrainingSettings settings = small();
  settings.peak_tflops = 0.5;
  const TrainingFigures figures = measure_training(settings);
  CHECK(figures.step_s.size() == 3);
  CHECK(figures.tokens_per_step == 4 * 64);  // nothing is masked
  CHECK(figures.peak_bytes.size() == 1);
  CHECK(figures.driver_bytes.empty());
  // Weights, gradients and AdamW's two moments in float32 are the least that training holds.
  CHECK(figures.peak_bytes.at(0) > 16 * static_cast<size_t>(figures.parameters));
  // Every token is as likely as any other, EOS aside.
  CHECK(figures.last_loss == Approx(std::log(512.0)).epsilon(0.02));
  // 6 · (2 blocks and the head) · tokens + 12 · blocks · width · keys
  const double matrices = 2 * (64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 160) + 64 * 512;
  CHECK(figures.flops_per_step == Approx(6 * matrices * 256 + 12.0 * 2 * 64 * 4 * (64 * 65 / 2)));
  REQUIRE(figures.model_flops_utilisation());
  CHECK(*figures.model_flops_utilisation() ==
        Approx(figures.flops_per_step / figures.median_step_s() / 0.5e12));
  const auto json = to_json(figures, settings);
  CHECK(json.at("tokens_per_second") == Approx(256 / figures.median_step_s()));
}

TEST_CASE("the layout of a measured run is the configuration's, and its wrong keys are refused") {
  TrainingSettings settings = small();
  settings.settings = {"parallel.pp_size=2", "parallel.dp_size=2"};
  const TrainingFigures figures = measure_training(settings);
  CHECK(figures.ranks == 4);
  CHECK(figures.peak_bytes.size() == 4);
  CHECK(figures.tokens_per_step == 2 * 4 * 64);
  CHECK_FALSE(figures.model_flops_utilisation());
  settings.settings = {"parallel.pp_sise=2"};
  CHECK_THROWS_WITH(measure_training(settings), contains("pp_size"));
  settings.settings.clear();
  settings.shape = "huge";
  CHECK_THROWS_WITH(measure_training(settings), contains("tiny, qwen2.5-0.5b"));
}

TEST_CASE("a training run on a GPU is measured with what its driver says") {
  set_gpu_backend(&cuda_backend());
  TrainingSettings settings = small();
  settings.device = "cuda";
  settings.sequence_length = 16;
  settings.steps = 1;
  const TrainingFigures figures = measure_training(settings);
  set_gpu_backend(nullptr);
  CHECK(figures.step_s.size() == 1);
  CHECK(figures.driver_bytes.size() == 1);
  CHECK(figures.device.find("emulated") != std::string::npos);
  CHECK(figures.last_loss == Approx(std::log(512.0)).epsilon(0.02));
  CHECK(figures.graphs.launched == 0);
}

TEST_CASE("a measured run whose work goes to the GPU as graphs says how many they were") {
  set_gpu_backend(&cuda_backend());
  TrainingSettings settings = small();
  settings.device = "cuda";
  settings.sequence_length = 16;
  settings.steps = 2;
  settings.settings = {"device.graphs=auto"};
  const TrainingFigures figures = measure_training(settings);
  set_gpu_backend(nullptr);
  CHECK(figures.graphs.launched > 0);
  CHECK(figures.graphs.launched == figures.graphs.made + figures.graphs.updated);
  CHECK(to_text(figures).find("  graphs: " + std::to_string(figures.graphs.launched) + " launched") !=
        std::string::npos);
}
