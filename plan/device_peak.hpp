// How fast a run's devices could multiply matrices, for the share of it that training reaches (MFU).
#pragma once

#include "plan/run_plan.hpp"

namespace collie {

// How many devices a run over `processes` processes computes on: the GPUs that ranks have, or one for each
// process that computes on its CPUs.
int devices_of(const RunPlan& plan, int processes);

// Floating-point operations per second of all devices together at their peak, as
// monitor.peak_flops says of one, as measured on this process's device (monitor.measure_peak; some 0.2 s; the
// others are taken to be alike), or as known of a GPU by its name (runtime/gpu_peaks.hpp). Returns 0 if it is
// not known.
double peak_flops_of(const RunPlan& plan, int processes);

}  // namespace collie
