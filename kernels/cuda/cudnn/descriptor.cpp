#include "kernels/cuda/cudnn/descriptor.hpp"

#include <utility>

namespace collie::cuda {

CudnnDescriptor::CudnnDescriptor(const Cudnn& library, cudnnBackendDescriptorType_t type, std::string name)
    : library_(&library), name_(std::move(name)) {
  library_->check(library_->create_descriptor(type, &descriptor_), "making " + name_);
}

CudnnDescriptor::~CudnnDescriptor() {
  if (descriptor_ != nullptr) library_->destroy_descriptor(descriptor_);
}

CudnnDescriptor::CudnnDescriptor(CudnnDescriptor&& other) noexcept
    : library_(other.library_),
      name_(std::move(other.name_)),
      descriptor_(std::exchange(other.descriptor_, nullptr)) {}

void CudnnDescriptor::set(cudnnBackendAttributeName_t attribute, cudnnBackendAttributeType_t type,
                          int64_t count, const void* values) {
  library_->check(library_->set_attribute(descriptor_, attribute, type, count, values),
                  "describing " + name_);
}

void CudnnDescriptor::set(cudnnBackendAttributeName_t attribute, std::span<const int64_t> values) {
  set(attribute, CUDNN_TYPE_INT64, static_cast<int64_t>(values.size()), values.data());
}
void CudnnDescriptor::set(cudnnBackendAttributeName_t attribute, bool value) {
  set(attribute, CUDNN_TYPE_BOOLEAN, 1, &value);
}
void CudnnDescriptor::set(cudnnBackendAttributeName_t attribute, double value) {
  set(attribute, CUDNN_TYPE_DOUBLE, 1, &value);
}
void CudnnDescriptor::set(cudnnBackendAttributeName_t attribute, cudnnDataType_t value) {
  set(attribute, CUDNN_TYPE_DATA_TYPE, 1, &value);
}
void CudnnDescriptor::set(cudnnBackendAttributeName_t attribute, cudnnPointwiseMode_t value) {
  set(attribute, CUDNN_TYPE_POINTWISE_MODE, 1, &value);
}
void CudnnDescriptor::set(cudnnBackendAttributeName_t attribute, cudnnReduceTensorOp_t value) {
  set(attribute, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, 1, &value);
}
void CudnnDescriptor::set(cudnnBackendAttributeName_t attribute, cudnnBackendHeurMode_t value) {
  set(attribute, CUDNN_TYPE_HEUR_MODE, 1, &value);
}
void CudnnDescriptor::set(cudnnBackendAttributeName_t attribute, cudnnHandle_t value) {
  set(attribute, CUDNN_TYPE_HANDLE, 1, &value);
}
void CudnnDescriptor::set(cudnnBackendAttributeName_t attribute, const std::string& value) {
  set(attribute, CUDNN_TYPE_CHAR, static_cast<int64_t>(value.size()), value.data());
}
void CudnnDescriptor::set(cudnnBackendAttributeName_t attribute, std::span<void* const> pointers) {
  set(attribute, CUDNN_TYPE_VOID_PTR, static_cast<int64_t>(pointers.size()), pointers.data());
}
void CudnnDescriptor::set(cudnnBackendAttributeName_t attribute, const CudnnDescriptor& value) {
  set(attribute, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value.descriptor_);
}
void CudnnDescriptor::set(cudnnBackendAttributeName_t attribute, const std::vector<CudnnDescriptor>& values) {
  std::vector<cudnnBackendDescriptor_t> natives;
  natives.reserve(values.size());
  for (const CudnnDescriptor& value : values) natives.push_back(value.native());
  set(attribute, CUDNN_TYPE_BACKEND_DESCRIPTOR, static_cast<int64_t>(natives.size()), natives.data());
}

void CudnnDescriptor::finalize() {
  library_->check(library_->finalize(descriptor_), name_);
}

int64_t CudnnDescriptor::get_int64(cudnnBackendAttributeName_t attribute) const {
  int64_t value = 0, count = 0;
  library_->check(library_->get_attribute(descriptor_, attribute, CUDNN_TYPE_INT64, 1, &count, &value),
                  "asking " + name_);
  return value;
}

std::vector<CudnnDescriptor> CudnnDescriptor::get(cudnnBackendAttributeName_t attribute,
                                                  cudnnBackendDescriptorType_t type) const {
  const auto ask = [&](int64_t wanted, cudnnBackendDescriptor_t* into) {
    int64_t count = 0;
    library_->check(
        library_->get_attribute(descriptor_, attribute, CUDNN_TYPE_BACKEND_DESCRIPTOR, wanted, &count, into),
        "asking " + name_);
    return count;
  };
  // The array passes descriptors of ours, which cuDNN fills.
  std::vector<CudnnDescriptor> found;
  std::vector<cudnnBackendDescriptor_t> natives;
  for (int64_t left = ask(0, nullptr); left > 0; --left) {
    found.emplace_back(*library_, type, "an answer of " + name_);
    natives.push_back(found.back().native());
  }
  if (found.empty()) return found;
  const int64_t filled = ask(static_cast<int64_t>(natives.size()), natives.data());
  while (static_cast<int64_t>(found.size()) > filled) found.pop_back();
  return found;
}

}  // namespace collie::cuda
