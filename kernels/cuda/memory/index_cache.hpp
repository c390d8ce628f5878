// Copies whole numbers from the host to the device: ids, positions, labels, the starts of documents. All
// layers of a micro-batch ask for the same ones, so arrays are found again by their content and uploaded
// once.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "kernels/cuda/memory/host_transfers.hpp"
#include "kernels/cuda/memory/recent_arrays.hpp"
#include "kernels/cuda/memory/workspaces.hpp"

namespace collie::cuda {

class IndexCache {
 public:
  // Keeps the most_index_arrays arrays used last. Device copies are charged to `account` as workspace.
  IndexCache(std::shared_ptr<Stream> stream, std::shared_ptr<MemorySource> memory,
             std::shared_ptr<MemoryAccount> account);
  IndexCache(const IndexCache&) = delete;
  IndexCache& operator=(const IndexCache&) = delete;

  // [values.size()] on the device. It is valid for work that is queued on the stream before most_index_arrays
  // other arrays have been asked for.
  const int32_t* on_device(std::span<const int32_t> values);

 private:
  Tensor upload(std::span<const int32_t> values);

  std::shared_ptr<MemorySource> memory_;
  std::shared_ptr<MemoryAccount> account_;
  HostStaging staging_;
  RecentArrays arrays_;
};

}  // namespace collie::cuda
