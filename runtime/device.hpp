// The device that a process's ranks compute on.
#pragma once

#include <string>

#include "io/config.hpp"
#include "runtime/operations_factory.hpp"

namespace collie {

struct DeviceChoice {
  DeviceKind kind = DeviceKind::cpu;
  int gpus = 0;             // number of GPUs to share if kind is cuda
  std::string description;  // one line for the log: the choice and the reason
};

// Resolves device.kind on this machine: "cpu", "cuda", or "auto", which means a GPU if one is usable. Throws
// UserError for "cuda" if no GPU is usable, and names what was looked for.
DeviceChoice choose_device(const DeviceSection& section);

// The same for a run on another machine: "cuda" means GPUs, whether this machine has any or not.
DeviceChoice planned_device(const DeviceSection& section);

// Returns the type of model.dtype.
DType dtype_of(const ModelSection& section);

// Returns the GPU of rank `rank`; ranks are assigned round-robin. Valid if kind is cuda.
int gpu_of(const DeviceChoice& choice, int rank);
// Returns the factory of operation tables for rank `rank`.
OperationsFactory operations_on(const DeviceChoice& choice, DType dtype, int rank);

}  // namespace collie
