#include "kernels/cuda/cudnn/library.hpp"

#include <fmt/format.h>

#include <array>
#include <stdexcept>

#include "base/library.hpp"

namespace collie::cuda {

namespace {

Cudnn load() {
  const Library library("cuDNN", {"libcudnn.so." + std::to_string(CUDNN_MAJOR), "libcudnn.so"});
  Cudnn found;
  library.find(found.version, "cudnnGetVersion");
  library.find(found.error_string, "cudnnGetErrorString");
  library.find(found.last_error, "cudnnGetLastErrorString");
  library.find(found.create, "cudnnCreate");
  library.find(found.destroy, "cudnnDestroy");
  library.find(found.set_stream, "cudnnSetStream");
  library.find(found.create_descriptor, "cudnnBackendCreateDescriptor");
  library.find(found.destroy_descriptor, "cudnnBackendDestroyDescriptor");
  library.find(found.set_attribute, "cudnnBackendSetAttribute");
  library.find(found.get_attribute, "cudnnBackendGetAttribute");
  library.find(found.finalize, "cudnnBackendFinalize");
  library.find(found.execute, "cudnnBackendExecute");
  if (found.version() < oldest_cudnn || found.version() / 10000 != CUDNN_MAJOR)
    throw std::runtime_error(fmt::format("{} is cuDNN {}, {}.{} or a newer {} is needed", library.name(),
                                         found.version_name(), oldest_cudnn / 10000, oldest_cudnn / 100 % 100,
                                         CUDNN_MAJOR));
  return found;
}

}  // namespace

void Cudnn::check(cudnnStatus_t status, const std::string& what) const {
  if (status == CUDNN_STATUS_SUCCESS) return;
  std::array<char, 1024> reason{};
  last_error(reason.data(), reason.size());
  throw std::runtime_error(fmt::format("cuDNN: {}: {} ({})", what, error_string(status), reason.data()));
}

std::string Cudnn::version_name() const {
  const size_t number = version();
  return fmt::format("{}.{}.{}", number / 10000, number / 100 % 100, number % 100);
}

const Cudnn& cudnn() {
  static const Cudnn loaded = load();
  return loaded;
}

}  // namespace collie::cuda
