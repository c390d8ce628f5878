// Which device a process's ranks compute on.
#pragma once

#include <string>

#include "io/config.hpp"
#include "runtime/operations_factory.hpp"

namespace collie {

struct DeviceChoice {
  DeviceKind kind = DeviceKind::cpu;
  int gpus = 0;             // that there are to share, where kind is cuda
  std::string description;  // one line for the log: what was chosen and why
};

// What device.kind stands for on this machine: "cpu", "cuda", or "auto", a GPU where one can be used. Throws
// UserError for "cuda" where none can be, naming what was looked for.
DeviceChoice choose_device(const DeviceSection& section);

// The same for a run that will be elsewhere: "cuda" is GPUs, whether there are any here or not.
DeviceChoice planned_device(const DeviceSection& section);

// model.dtype.
DType dtype_of(const ModelSection& section);

// Which GPU is rank `rank`'s: ranks take them in turns. Where kind is cuda.
int gpu_of(const DeviceChoice& choice, int rank);
// Operation tables for rank `rank`.
OperationsFactory operations_on(const DeviceChoice& choice, DType dtype, int rank);

}  // namespace collie
