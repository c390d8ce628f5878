// Whole numbers from the host (ids, positions, labels, where documents start) on the device. All layers of a
// micro-batch ask for the same ones, so that arrays are found again by their content, and uploaded once.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <vector>

#include "kernels/cuda/host_staging.hpp"
#include "kernels/tensor.hpp"

namespace collie::cuda {

class IndexCache {
 public:
  // Keeps the `bound` arrays used last. Device copies are charged to `account` as workspace.
  IndexCache(std::shared_ptr<Stream> stream, std::shared_ptr<MemorySource> memory,
             std::shared_ptr<MemoryAccount> account, size_t bound = 64);

  // [values.size()] on the device, for work queued on the stream before `bound` other arrays have been asked
  // for.
  const int32_t* on_device(std::span<const int32_t> values);

 private:
  struct Entry {
    uint64_t hash;
    std::vector<int32_t> values;
    Tensor copy;
  };

  std::shared_ptr<Stream> stream_;
  std::shared_ptr<MemorySource> memory_;
  std::shared_ptr<MemoryAccount> account_;
  size_t bound_;
  HostStaging staging_;
  std::list<Entry> entries_;  // the one used last first
};

}  // namespace collie::cuda
