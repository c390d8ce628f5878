// Whole runs whose work goes to the GPU as graphs, compared with the same runs without.
#include <regex>

#include "tests/catch.hpp"
#include "tests/gpu/gpu_runs.hpp"

using namespace collie;
using namespace collie::test;

namespace {

LayoutOptions in_graphs(LayoutOptions layout) {
  layout.graphs = "auto";
  return layout;
}

// Of the first rank, as a run's summary has it.
GraphCounts counts_of(const LayoutOutcome& outcome) {
  static const std::regex line("graphs\n +0 +([0-9]+) launched, ([0-9]+) made, ([0-9]+) updated");
  std::smatch found;
  if (!std::regex_search(outcome.summary, found, line)) return {};
  return {std::stoll(found[1]), std::stoll(found[2]), std::stoll(found[3])};
}

LayoutOutcome run_steps(const MathsOptions& maths, const LayoutOptions& layout, int64_t steps) {
  set_gpu_backend(&cuda_backend());
  return run_layouts(maths, {{layout, 1}, {layout, steps}});
}

// "" where a run in graphs has the bits of one without, and graphs were launched.
std::string complaint_about_graphs(const MathsOptions& maths, const LayoutOptions& layout) {
  const LayoutOutcome plain = run_steps(maths, layout, gpu_steps);
  const LayoutOutcome recorded = run_steps(maths, in_graphs(layout), gpu_steps);
  INFO(recorded.summary);
  CHECK(counts_of(plain).launched == 0);
  CHECK(counts_of(recorded).launched > 0);
  CHECK(counts_of(recorded).updated > 0);
  return complaint_of(recorded, plain, true);
}

}  // namespace

TEST_CASE("a run in graphs has the bits of one without", "[slow]") {
  CHECK(complaint_about_graphs(small_maths(), gpu_layout(1, 1, 1, 1)) == "");
}

TEST_CASE("runs of several ranks on a GPU have the same bits in graphs as without", "[slow][long]") {
  const LayoutOptions layout =
      GENERATE(gpu_layout(1, 1, 2, 1), gpu_layout(1, 1, 2, 1, 0, "zbv"), gpu_layout(2, 1, 1, 1, 1),
               gpu_layout(2, 1, 1, 1, 3), gpu_layout(1, 2, 1, 1), gpu_layout(1, 1, 1, 2));
  INFO(layout.name());
  CHECK(complaint_about_graphs(small_maths(), layout) == "");
}

TEST_CASE("a run in bfloat16 with another packing in each micro-batch has the same bits in graphs",
          "[slow]") {
  MathsOptions maths = small_maths();
  maths.dtype = "bfloat16";
  LayoutOptions layout = GENERATE(gpu_layout(1, 1, 1, 1), gpu_layout(2, 1, 1, 1, 1));
  layout.offload = GENERATE("none", "optimizer");
  INFO(layout.name() << ", offload " << layout.offload);
  CHECK(complaint_about_graphs(maths, layout) == "");
}

TEST_CASE("steps whose shapes repeat make no graphs after the first ones", "[slow]") {
  MathsOptions maths = small_maths();
  maths.packing = false;
  const LayoutOptions layout = in_graphs(gpu_layout(1, 1, 1, 1));
  const GraphCounts few = counts_of(run_steps(maths, layout, 4)),
                    many = counts_of(run_steps(maths, layout, 7));
  CHECK(few.made > 0);
  CHECK(many.made == few.made);
  CHECK(many.launched > few.launched);
}
