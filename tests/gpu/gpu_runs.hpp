// What the tests of runs on GPUs share: a small run, in any layout there, and one rank's on the CPU.
#pragma once

#include "kernels/cuda/backend.hpp"
#include "tests/actors/layout_runs.hpp"

namespace collie::test {

inline constexpr int64_t gpu_steps = 3, all_steps = 4;  // the last one is resumed on the CPU

inline MathsOptions small_maths() {
  MathsOptions maths;
  maths.sequences_per_step = 4;
  return maths;
}

inline const LayoutOutcome& on_the_cpu() {
  static const LayoutOutcome outcome =
      run_layouts(small_maths(), {{LayoutOptions{}, 1}, {LayoutOptions{}, all_steps}});
  return outcome;
}

inline LayoutOptions gpu_layout(int dp, int tp, int pp, int cp, int zero = 0,
                                const std::string& schedule = "1f1b") {
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

inline LayoutOutcome run_on_gpu(const LayoutOptions& layout) {
  set_gpu_backend(&cuda_backend());
  return run_layouts(small_maths(), {{layout, 1}, {layout, gpu_steps}, {LayoutOptions{}, all_steps}});
}

}  // namespace collie::test
