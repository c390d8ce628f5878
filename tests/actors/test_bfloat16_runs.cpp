// Whole runs on the CPU in bfloat16, in any layout, compared with one rank's.
#include <fmt/format.h>

#include "io/safetensors.hpp"
#include "tests/actors/layout_runs.hpp"
#include "tests/catch.hpp"
#include "tests/cli/cluster.hpp"
#include "tests/models/golden.hpp"
#include "tests/part.hpp"

namespace collie::test {
namespace {

constexpr int64_t short_run = 3, whole_run = 4;  // steps; the last one is resumed in another layout

MathsOptions bfloat16(bool master, const std::string& grad_dtype, const std::string& rounding) {
  MathsOptions maths;
  maths.sequences_per_step = 4;
  maths.dtype = "bfloat16";
  maths.master = master;
  maths.grad_dtype = grad_dtype;
  maths.rounding = rounding;
  return maths;
}

const LayoutOptions one_rank;

// Through a checkpoint after the first step, and one after short_run steps.
LayoutOutcome run_in(const MathsOptions& maths, const LayoutOptions& first, const LayoutOptions& then,
                     const NodeAddresses& nodes = {}) {
  return run_layouts(maths, {{first, 1}, {first, short_run}, {then, whole_run}}, nodes);
}

const LayoutOutcome& in_float32() {
  static const LayoutOutcome outcome = [] {
    MathsOptions maths = bfloat16(true, "float32", "nearest");
    maths.dtype = "float32";
    return run_in(maths, one_rank, one_rank);
  }();
  return outcome;
}

}  // namespace

TEST_CASE("a run in bfloat16 on the CPU has the same bits in any pipeline, and resumed in another layout",
          "[actors][bfloat16][slow]") {
  const MathsOptions maths =
      GENERATE(bfloat16(true, "float32", "nearest"), bfloat16(true, "bfloat16", "nearest"),
               bfloat16(false, "float32", "stochastic"), bfloat16(false, "bfloat16", "nearest"));
  INFO(maths.name());
  const LayoutOutcome expected = run_in(maths, one_rank, one_rank);
  const std::vector<LayoutOptions> layouts = {{1, 1, 2, 1, "1f1b"},  {1, 1, 4, 1, "gpipe"},
                                              {1, 1, 2, 1, "zb_h1"}, {1, 1, 2, 1, "interleaved_1f1b"},
                                              {1, 1, 2, 1, "zbv"},   {1, 1, 2, 1, "dualpipe_v"}};
  for (const LayoutOptions& layout : part_of(layouts, 3, maths.master ? 1 : 0)) {
    INFO(layout.name());
    CHECK(complaint_of(run_in(maths, layout, one_rank), expected, true) == "");
  }
  CHECK(complaint_of(run_in(maths, one_rank, {1, 1, 2, 1, "zbv"}), expected, true) == "");
  CHECK(loss_difference(expected, in_float32()) < 2e-2);
  CHECK(loss_difference(expected, in_float32()) > 0);
}

TEST_CASE("a run in bfloat16 with four states, and one with estimates, has the same bits in a pipeline",
          "[actors][bfloat16][slow]") {
  MathsOptions maths =
      GENERATE(bfloat16(true, "float32", "nearest"), bfloat16(false, "bfloat16", "stochastic"));
  maths.optimizer = GENERATE("adan", "sophia");
  INFO(maths.name());
  const LayoutOutcome expected = run_in(maths, one_rank, one_rank);
  CHECK(complaint_of(run_in(maths, {1, 1, 2, 1, "zbv"}, one_rank), expected, true) == "");
  CHECK(loss_difference(run_in(maths, {2, 1, 1, 1, "1f1b", 3}, {1, 2, 1, 1, "1f1b"}), expected) < 5e-3);
}

TEST_CASE("in bfloat16 on the CPU, ZeRO-1 gives the bits of ZeRO-0, and ZeRO-3 those of ZeRO-2",
          "[actors][bfloat16][slow]") {
  const MathsOptions maths =
      GENERATE(bfloat16(true, "float32", "nearest"), bfloat16(true, "bfloat16", "nearest"),
               bfloat16(false, "float32", "stochastic"));
  const std::vector<LayoutOptions> grids = {{2, 1, 2, 1, "1f1b"}, {2, 2, 1, 1, "1f1b"}, {2, 1, 1, 2, "1f1b"}};
  const size_t of_maths = maths.grad_dtype == "bfloat16" ? 0 : maths.master ? 1 : 2;
  const LayoutOptions grid = GENERATE_COPY(from_range(part_of(grids, 3, of_maths)));
  INFO(maths.name() << ", " << grid.name());
  const auto with_zero = [&](int zero, int then) {
    LayoutOptions first = grid, second = grid;
    first.zero = zero;
    second.zero = then;
    return run_in(maths, first, second);
  };
  CHECK(complaint_of(with_zero(0, 1), with_zero(1, 0), true) == "");
  CHECK(complaint_of(with_zero(2, 3), with_zero(3, 2), true) == "");
}

TEST_CASE("in bfloat16 on the CPU, every layout trains as one rank does, but for what rounding changes",
          "[actors][bfloat16]") {
  const MathsOptions maths = bfloat16(true, "float32", "nearest");
  const LayoutOptions layout =
      GENERATE(LayoutOptions{2, 1, 1, 1, "1f1b", 3}, LayoutOptions{1, 2, 1, 1, "1f1b"},
               LayoutOptions{1, 2, 1, 1, "1f1b", 0, true}, LayoutOptions{1, 1, 1, 2, "1f1b"},
               LayoutOptions{2, 2, 2, 1, "zbv", 1}, LayoutOptions{1, 1, 2, 2, "zb_h1", 2});
  INFO(layout.name());
  const LayoutOutcome found = run_in(maths, layout, layout);
  CHECK(loss_difference(found, in_float32()) < 2e-2);
  CHECK(complaint_of(run_in(maths, layout, layout), found, true) == "");
}

TEST_CASE("several optimizers in one model have the same bits in bfloat16 on the CPU with ZeRO-1",
          "[actors][bfloat16][slow]") {
  MathsOptions maths =
      GENERATE(bfloat16(true, "bfloat16", "nearest"), bfloat16(false, "float32", "stochastic"));
  maths.optimizer = "mixed";
  INFO(maths.name());
  const LayoutOutcome expected = run_in(maths, one_rank, one_rank);
  CHECK(expected.losses.back() < expected.losses.front());
  CHECK(complaint_of(run_in(maths, {1, 1, 2, 1, "1f1b"}, one_rank), expected, true) == "");
  const LayoutOptions replicas{2, 1, 1, 1, "1f1b", 0}, sharded{2, 1, 1, 1, "1f1b", 1};
  CHECK(complaint_of(run_in(maths, sharded, replicas), run_in(maths, replicas, sharded), true) == "");
}

TEST_CASE("computing activations again changes no bit in bfloat16 on the CPU", "[actors][bfloat16][slow]") {
  const MathsOptions maths = bfloat16(true, "float32", "nearest");
  LayoutOptions layout = GENERATE(LayoutOptions{1, 2, 2, 1, "1f1b"}, LayoutOptions{2, 1, 2, 1, "zbv", 3});
  INFO(layout.name());
  const LayoutOutcome expected = run_in(maths, layout, layout);
  for (const char* recompute : {"selective", "full"}) {
    layout.recompute = recompute;
    INFO("recompute " << recompute);
    CHECK(complaint_of(run_in(maths, layout, layout), expected, true) == "");
  }
}

TEST_CASE("replicas and shards in four processes give the bits of one process in bfloat16",
          "[actors][bfloat16][slow]") {
  const Nodes nodes(4);
  const MathsOptions maths =
      GENERATE(bfloat16(true, "float32", "nearest"), bfloat16(true, "bfloat16", "nearest"));
  const std::vector<LayoutOptions> layouts = {
      {2, 2, 1, 1, "1f1b", 3, true}, {1, 1, 2, 2, "1f1b", 1}, {2, 1, 2, 1, "zbv", 0}};
  LayoutOptions layout = GENERATE_COPY(from_range(part_of(layouts, 2, maths.grad_dtype == "bfloat16")));
  INFO(maths.name() << ", " << layout.name());
  const LayoutOutcome expected = run_in(maths, layout, layout);
  layout.processes = 4;
  CHECK(complaint_of(run_in(maths, layout, layout, nodes.addresses()), expected, true) == "");
}

namespace {

// Trains in one dtype to step 1 and in the other to step 3, with a checkpoint between.
LayoutOutcome run_across(const MathsOptions& first, const MathsOptions& then,
                         const std::vector<std::string>& allowed) {
  const TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 260; ++i) text += fmt::format("The {}th collie herds sheep. ", i * i);
  folder.write("train.txt", text);
  LayoutOutcome outcome;
  run_to_the_end(plan_training(layout_config(folder, first, one_rank, 1), ExistingRun::resume), outcome);
  run_to_the_end(
      plan_training(layout_config(folder, then, one_rank, short_run), ExistingRun::resume, allowed), outcome);
  return outcome;
}

}  // namespace

TEST_CASE("a checkpoint of one dtype is resumed in the other where the change is allowed by name",
          "[actors][bfloat16]") {
  const MathsOptions narrow =
      GENERATE(bfloat16(true, "float32", "nearest"), bfloat16(false, "float32", "stochastic"));
  MathsOptions wide = narrow;
  wide.dtype = "float32";
  wide.rounding = "nearest";
  INFO(narrow.name());
  std::vector<std::string> allowed = {"model.dtype"};
  if (narrow.rounding != wide.rounding) allowed.push_back("optimizer.rounding");
  for (const LayoutOutcome& outcome :
       {run_across(wide, narrow, allowed), run_across(narrow, wide, allowed)}) {
    REQUIRE(outcome.losses.size() == short_run);
    for (size_t step = 0; step < outcome.losses.size(); ++step)
      CHECK(outcome.losses[step] == Approx(in_float32().losses[step]).epsilon(2e-2));
  }
}

TEST_CASE("a resume in another dtype is refused by the key", "[actors][bfloat16]") {
  const MathsOptions narrow = bfloat16(true, "float32", "nearest");
  MathsOptions wide = narrow;
  wide.dtype = "float32";
  std::string refusal;
  try {
    run_across(wide, narrow, {});
  } catch (const UserError& error) {
    refusal = error.what();
  }
  CAPTURE(refusal);
  CHECK(refusal.find("model.dtype: is \"bfloat16\"") != refusal.npos);
  CHECK(refusal.find("started with \"float32\"") != refusal.npos);
}

TEST_CASE("a run in bfloat16 on the CPU leaves a model folder in bfloat16", "[actors][bfloat16]") {
  const TemporaryFolder folder;
  folder.write(
      "train.txt",
      "The collie herds sheep, and the sheep follow. The collie herds sheep, and more sheep follow.");
  Config config = layout_config(folder, bfloat16(true, "float32", "nearest"), one_rank, 1);
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

}  // namespace collie::test
