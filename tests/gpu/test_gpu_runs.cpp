// Whole runs on the emulated GPU, several ranks sharing it, compared with one rank's on the CPU.
#include <fstream>
#include <nlohmann/json.hpp>
#include <tuple>

#include "io/safetensors.hpp"
#include "tests/catch.hpp"
#include "tests/gpu/gpu_runs.hpp"
#include "tests/models/golden.hpp"
#include "tests/part.hpp"

using namespace collie;
using namespace collie::test;

TEST_CASE("one rank on a GPU trains as on the CPU, and its checkpoint goes on there") {
  const LayoutOutcome found = run_on_gpu(gpu_layout(1, 1, 1, 1));
  CHECK(complaint_of(found, on_the_cpu(), false) == "");
  CHECK(complaint_of(found, on_the_cpu(), true) != "");  // other sums: it was not the CPU
}

TEST_CASE("a run on a GPU gives the same bits twice, and those of its pipelines", "[slow]") {
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

namespace {

MathsOptions bfloat16(bool master, const std::string& grad_dtype, const std::string& rounding) {
  MathsOptions maths = small_maths();
  maths.dtype = "bfloat16";
  maths.master = master;
  maths.grad_dtype = grad_dtype;
  maths.rounding = rounding;
  return maths;
}

// Through a checkpoint after the first step, and another one where there is a second layout.
LayoutOutcome run_in(const MathsOptions& maths, const LayoutOptions& first, const LayoutOptions& then) {
  set_gpu_backend(&cuda_backend());
  return run_layouts(maths, {{first, 1}, {first, gpu_steps}, {then, all_steps}});
}

}  // namespace

TEST_CASE("a run in bfloat16 has the same bits in any pipeline, with ZeRO-1, and resumed in another layout",
          "[slow]") {
  const std::vector<MathsOptions> all = {bfloat16(true, "bfloat16", "nearest"),
                                         bfloat16(true, "float32", "nearest"),
                                         bfloat16(false, "float32", "stochastic")};
  const MathsOptions maths = GENERATE_COPY(from_range(part_of(all, 2)));
  INFO(maths.name());
  const LayoutOptions one = gpu_layout(1, 1, 1, 1);
  const LayoutOutcome expected = run_in(maths, one, one);
  CHECK(complaint_of(run_in(maths, one, gpu_layout(1, 1, 2, 1)), expected, true) == "");
  CHECK(complaint_of(run_in(maths, gpu_layout(1, 1, 2, 1, 0, "zbv"), one), expected, true) == "");
  CHECK(complaint_of(run_in(maths, gpu_layout(2, 1, 1, 1, 1), gpu_layout(2, 1, 1, 1, 0)),
                     run_in(maths, gpu_layout(2, 1, 1, 1, 0), gpu_layout(2, 1, 1, 1, 1)), true) == "");
  CHECK(loss_difference(expected, on_the_cpu()) < 2e-2);
  CHECK(loss_difference(expected, on_the_cpu()) > 0);
}

TEST_CASE(
    "several optimizers in one model have the same bits in bfloat16 in a pipeline, with ZeRO-1 and offloaded",
    "[slow]") {
  const std::vector<MathsOptions> all = {bfloat16(false, "float32", "stochastic"),
                                         bfloat16(true, "bfloat16", "nearest")};
  MathsOptions maths = GENERATE_COPY(from_range(part_of(all, 2)));
  maths.optimizer = "mixed";
  INFO(maths.name());
  const LayoutOptions one = gpu_layout(1, 1, 1, 1);
  const LayoutOutcome expected = run_in(maths, one, one);
  CHECK(expected.losses.back() < expected.losses.front());
  CHECK(complaint_of(run_in(maths, one, gpu_layout(1, 1, 2, 1)), expected, true) == "");
  LayoutOptions offloaded = one;
  offloaded.offload = "optimizer";
  CHECK(complaint_of(run_in(maths, offloaded, offloaded), expected, true) == "");
  CHECK(complaint_of(run_in(maths, gpu_layout(2, 1, 1, 1, 1), gpu_layout(2, 1, 1, 1, 0)),
                     run_in(maths, gpu_layout(2, 1, 1, 1, 0), gpu_layout(2, 1, 1, 1, 1)), true) == "");
}

TEST_CASE(
    "ranks that share a GPU in any layout train in bfloat16 as one rank does, but for what rounding "
    "changes",
    "[slow]") {
  const MathsOptions maths = bfloat16(true, "float32", "nearest");
  const std::vector<LayoutOptions> all = {gpu_layout(2, 2, 2, 1, 1), gpu_layout(1, 2, 1, 1),
                                          gpu_layout(1, 1, 1, 2), gpu_layout(2, 1, 1, 1, 3)};
  const LayoutOptions layout = GENERATE_COPY(from_range(part_of(all, 2)));
  INFO(layout.name());
  CHECK(loss_difference(run_in(maths, layout, layout), on_the_cpu()) < 2e-2);
}

TEST_CASE("optimizer states on the host change no bit", "[slow]") {
  const MathsOptions maths = bfloat16(true, "float32", "nearest");
  LayoutOptions offloaded = gpu_layout(2, 1, 1, 1, 1);
  const LayoutOutcome expected = run_in(maths, offloaded, offloaded);
  offloaded.offload = "optimizer";
  CHECK(complaint_of(run_in(maths, offloaded, offloaded), expected, true) == "");
  CHECK(complaint_of(run_in(maths, offloaded, gpu_layout(2, 1, 1, 1, 1)), expected, true) == "");
}

TEST_CASE("activations on the host, or computed again, change no bit", "[slow]") {
  const MathsOptions maths = bfloat16(true, "float32", "nearest");
  const std::vector<LayoutOptions> all = {gpu_layout(2, 1, 2, 1, 3, "zbv"), gpu_layout(1, 2, 2, 1)};
  const LayoutOptions layout = GENERATE_COPY(from_range(part_of(all, 2)));
  const LayoutOutcome expected = run_in(maths, layout, layout);
  using Choice = std::tuple<const char*, const char*, const char*>;
  for (const auto& [offload, recompute, graphs] :
       {Choice("activations", "none", "auto"), Choice("all", "full", "off"),
        Choice("none", "selective", "off")}) {
    LayoutOptions other = layout;
    other.offload = offload;
    other.recompute = recompute;
    other.graphs = graphs;
    INFO(layout.name() << ", offload " << offload << ", recompute " << recompute << ", graphs " << graphs);
    CHECK(complaint_of(run_in(maths, other, other), expected, true) == "");
  }
}

namespace {

// The losses of three steps, and those of the evaluations, if there are any.
std::pair<std::vector<double>, std::vector<double>> evaluated(const MathsOptions& maths,
                                                              const LayoutOptions& layout, int64_t every) {
  set_gpu_backend(&cuda_backend());
  const TemporaryFolder folder;
  folder.write("train.txt", "The collie herds sheep, and the sheep follow. The collie herds more of them.");
  Config config = layout_config(folder, maths, layout, 3);
  config.data.eval = config.data.train;
  config.eval.every_n_steps = every;
  LayoutOutcome outcome;
  run_to_the_end(plan_training(std::move(config), ExistingRun::refuse), outcome);
  std::vector<double> evaluations;
  std::ifstream metrics(folder / "run" / "metrics.jsonl");
  for (std::string line; std::getline(metrics, line);)
    if (const auto step = nlohmann::json::parse(line); step.contains("eval_loss"))
      evaluations.push_back(step.at("eval_loss").get<double>());
  return {outcome.losses, evaluations};
}

}  // namespace

TEST_CASE("averages of weights on a GPU are those on the CPU, also of states on the host, and change no bit",
          "[slow]") {
  const std::vector<MathsOptions> all = {bfloat16(false, "float32", "stochastic"), small_maths(),
                                         bfloat16(true, "float32", "nearest")};
  MathsOptions maths = GENERATE_COPY(from_range(part_of(all, 3)));
  maths.optimizer = "adamw_schedule_free";
  if (maths.rounding == "stochastic") maths.state_dtype = "bfloat16";
  INFO(maths.name());
  const auto expected = evaluated(maths, gpu_layout(1, 1, 1, 1), 1);
  REQUIRE(expected.second.size() == 3);
  CHECK(evaluated(maths, gpu_layout(1, 1, 1, 1), 0).first == expected.first);
  CHECK(evaluated(maths, gpu_layout(1, 1, 2, 1), 1) == expected);
  LayoutOptions offloaded = gpu_layout(1, 1, 2, 1, 0, "zbv");
  offloaded.offload = "optimizer";
  CHECK(evaluated(maths, offloaded, 1) == expected);
  const auto on_cpu = evaluated(maths, LayoutOptions{}, 1);
  for (size_t i = 0; i < 3; ++i)
    CHECK(on_cpu.second[i] == Approx(expected.second[i]).epsilon(maths.dtype == "float32" ? 1e-5 : 5e-3));
}

TEST_CASE("states of 8 bits have the same bits in a pipeline, with ZeRO-1 and offloaded", "[slow]") {
  const std::vector<MathsOptions> all = {bfloat16(false, "float32", "stochastic"), small_maths()};
  MathsOptions maths = GENERATE_COPY(from_range(part_of(all, 2)));
  maths.optimizer = "adamw_8bit";  // of the embedding, and of nothing else that is so large
  INFO(maths.name());
  const LayoutOptions one = gpu_layout(1, 1, 1, 1);
  const LayoutOutcome expected = run_in(maths, one, one);
  CHECK(expected.losses.back() < expected.losses.front());
  CHECK(complaint_of(run_in(maths, one, gpu_layout(1, 1, 2, 1)), expected, true) == "");
  LayoutOptions offloaded = one;
  offloaded.offload = "optimizer";
  CHECK(complaint_of(run_in(maths, offloaded, one), expected, true) == "");
  CHECK(complaint_of(run_in(maths, gpu_layout(2, 1, 1, 1, 1), gpu_layout(2, 1, 1, 1, 0)),
                     run_in(maths, gpu_layout(2, 1, 1, 1, 0), gpu_layout(2, 1, 1, 1, 1)), true) == "");
  CHECK(loss_difference(expected, run_in(maths, LayoutOptions{}, LayoutOptions{})) < 2e-2);
}

TEST_CASE("states in bfloat16 of a float32 model have the same bits in a pipeline, with ZeRO-1 and offloaded",
          "[slow]") {
  MathsOptions maths = small_maths();
  maths.state_dtype = "bfloat16";
  maths.rounding = "stochastic";
  const LayoutOptions one = gpu_layout(1, 1, 1, 1);
  const LayoutOutcome expected = run_in(maths, one, one);
  CHECK(complaint_of(run_in(maths, one, gpu_layout(1, 1, 2, 1)), expected, true) == "");
  LayoutOptions offloaded = one;
  offloaded.offload = "optimizer";
  CHECK(complaint_of(run_in(maths, offloaded, one), expected, true) == "");
  CHECK(complaint_of(run_in(maths, gpu_layout(2, 1, 1, 1, 1), gpu_layout(2, 1, 1, 1, 0)),
                     run_in(maths, gpu_layout(2, 1, 1, 1, 0), gpu_layout(2, 1, 1, 1, 1)), true) == "");
  CHECK(loss_difference(expected, on_the_cpu()) < 2e-2);
  CHECK(loss_difference(expected, on_the_cpu()) > 0);
}

TEST_CASE("a node in another process takes a GPU of its own machine") {
  set_gpu_backend(&cuda_backend());
  const TemporaryFolder folder;
  folder.write("train.txt",
               "The collie herds sheep, and the sheep follow. The collie herds sheep, and more follow.");
  const Config config =
      layout_config(folder, bfloat16(true, "float32", "nearest"), gpu_layout(2, 1, 1, 1), 1);
  const std::string order = for_nodes(plan_training(config, ExistingRun::refuse));
  CHECK(plan_of_node(order, 1).device.kind == DeviceKind::cuda);
  set_gpu_backend(nullptr);
  CHECK_THROWS_AS(plan_of_node(order, 1), UserError);
  set_gpu_backend(&cuda_backend());
}

TEST_CASE("a run in bfloat16 leaves a model folder in bfloat16") {
  set_gpu_backend(&cuda_backend());
  const TemporaryFolder folder;
  folder.write(
      "train.txt",
      "The collie herds sheep, and the sheep follow. The collie herds sheep, and more sheep follow.");
  Config config = layout_config(folder, bfloat16(true, "float32", "nearest"), gpu_layout(1, 1, 1, 1), 1);
  config.train.gradient_accumulation_steps = 1;
  LayoutOutcome outcome;
  run_to_the_end(plan_training(std::move(config), ExistingRun::refuse), outcome);
  const SafetensorsFile weights(folder / "run" / "final" / "model.safetensors");
  for (const StoredTensor& entry : weights.tensors()) {
    INFO(entry.name);
    CHECK(entry.dtype == "BF16");
  }
  CHECK(read_json((folder / "run" / "final" / "config.json").string()).at("torch_dtype") == "bfloat16");
}

TEST_CASE("what gives the same bits on the CPU does so with ranks that share a GPU", "[slow]") {
  const LayoutOutcome replicas = run_on_gpu(gpu_layout(2, 1, 1, 1));
  CHECK(complaint_of(run_on_gpu(gpu_layout(2, 1, 1, 1, 1)), replicas, true) == "");
  CHECK(complaint_of(run_on_gpu(gpu_layout(2, 1, 2, 1)), replicas, true) == "");
  const LayoutOutcome sharded = run_on_gpu(gpu_layout(2, 1, 1, 1, 2));
  CHECK(complaint_of(run_on_gpu(gpu_layout(2, 1, 1, 1, 3)), sharded, true) == "");
}
