// A table of functions in cuDNN's place: it remembers what it is told and asked, and "runs" plans as a test
// says.
#pragma once

#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "kernels/cuda/cudnn/library.hpp"

namespace collie::test::stand_in {

// What a descriptor was told.
struct Description {
  cudnnBackendDescriptorType_t type;
  std::map<cudnnBackendAttributeName_t, std::vector<char>> attributes;
  std::map<cudnnBackendAttributeName_t, std::vector<std::shared_ptr<const Description>>> children;

  bool has(cudnnBackendAttributeName_t name) const { return attributes.count(name) != 0; }
  template <class T>
  std::vector<T> get(cudnnBackendAttributeName_t name) const {
    const auto& bytes = attributes.at(name);
    std::vector<T> values(bytes.size() / sizeof(T));
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }
  const Description* child(cudnnBackendAttributeName_t name) const {
    const auto found = children.find(name);
    return found == children.end() ? nullptr : found->second.at(0).get();
  }
};

struct Asked {
  std::set<void*> alive;  // descriptors
  int plans = 0;
  bool refuses = false;            // to make plans
  cudaStream_t stream = nullptr;   // that was chosen last
  std::set<int64_t> tensors;       // that have been described and are stored: their numbers
  std::map<int64_t, void*> given;  // to the plan that ran last
  // Of a plan's operation graph.
  std::function<void(const Description&)> when_run = [](const Description&) {};
};
Asked& asked();

const cuda::Cudnn& table();

}  // namespace collie::test::stand_in
