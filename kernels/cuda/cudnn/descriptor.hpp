// One of cuDNN's backend descriptors: it is made, given attributes, finalized and destroyed.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "kernels/cuda/cudnn/library.hpp"

namespace collie::cuda {

// Every function throws a std::runtime_error that names the descriptor if cuDNN refuses.
class CudnnDescriptor {
 public:
  // `name` is for messages.
  CudnnDescriptor(const Cudnn& library, cudnnBackendDescriptorType_t type, std::string name);
  ~CudnnDescriptor();
  CudnnDescriptor(CudnnDescriptor&& other) noexcept;
  CudnnDescriptor(const CudnnDescriptor&) = delete;
  CudnnDescriptor& operator=(const CudnnDescriptor&) = delete;

  cudnnBackendDescriptor_t native() const { return descriptor_; }

  void set(cudnnBackendAttributeName_t attribute, std::span<const int64_t> values);
  void set(cudnnBackendAttributeName_t attribute, int64_t value) { set(attribute, {&value, 1}); }
  void set(cudnnBackendAttributeName_t attribute, bool value);
  void set(cudnnBackendAttributeName_t attribute, double value);
  void set(cudnnBackendAttributeName_t attribute, cudnnDataType_t value);
  void set(cudnnBackendAttributeName_t attribute, cudnnPointwiseMode_t value);
  void set(cudnnBackendAttributeName_t attribute, cudnnReduceTensorOp_t value);
  void set(cudnnBackendAttributeName_t attribute, cudnnBackendHeurMode_t value);
  void set(cudnnBackendAttributeName_t attribute, cudnnHandle_t value);
  void set(cudnnBackendAttributeName_t attribute, const std::string& value);  // characters
  void set(cudnnBackendAttributeName_t attribute, std::span<void* const> pointers);
  void set(cudnnBackendAttributeName_t attribute, const CudnnDescriptor& value);
  void set(cudnnBackendAttributeName_t attribute, const std::vector<CudnnDescriptor>& values);
  void finalize();

  int64_t get_int64(cudnnBackendAttributeName_t attribute) const;
  // Returns all descriptors of `type` that there are.
  std::vector<CudnnDescriptor> get(cudnnBackendAttributeName_t attribute,
                                   cudnnBackendDescriptorType_t type) const;

 private:
  void set(cudnnBackendAttributeName_t attribute, cudnnBackendAttributeType_t type, int64_t count,
           const void* values);

  const Cudnn* library_;
  std::string name_;
  cudnnBackendDescriptor_t descriptor_ = nullptr;
};

}  // namespace collie::cuda
