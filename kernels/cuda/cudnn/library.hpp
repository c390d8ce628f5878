// The functions of cuDNN that we use, loaded at run time.
#pragma once

#include <cudnn_graph.h>

#include <string>

namespace collie::cuda {

// The oldest version whose attention of packed documents needs no workaround (NVIDIA's front end has those).
inline constexpr size_t oldest_cudnn = 91000;

// A table of functions, so that a test may stand in for the library.
struct Cudnn {
  decltype(&cudnnGetVersion) version = nullptr;
  decltype(&cudnnGetErrorString) error_string = nullptr;
  decltype(&cudnnGetLastErrorString) last_error = nullptr;
  decltype(&cudnnCreate) create = nullptr;
  decltype(&cudnnDestroy) destroy = nullptr;
  decltype(&cudnnSetStream) set_stream = nullptr;
  decltype(&cudnnBackendCreateDescriptor) create_descriptor = nullptr;
  decltype(&cudnnBackendDestroyDescriptor) destroy_descriptor = nullptr;
  decltype(&cudnnBackendSetAttribute) set_attribute = nullptr;
  decltype(&cudnnBackendGetAttribute) get_attribute = nullptr;
  decltype(&cudnnBackendFinalize) finalize = nullptr;
  decltype(&cudnnBackendExecute) execute = nullptr;

  // Throws std::runtime_error "cuDNN: WHAT: REASON" unless `status` is success.
  void check(cudnnStatus_t status, const std::string& what) const;
  std::string version_name() const;  // "9.19.0"
};

// The library, loaded once per process. Throws std::runtime_error if it is not there or too old.
const Cudnn& cudnn();

}  // namespace collie::cuda
