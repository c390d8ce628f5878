// Copies between a GPU and the host. They go through page-locked memory, because only from there do copies
// run concurrently with the host. HostStaging and ReadBack copy on the compute stream, make_host_copies() on
// streams of its own.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <span>

#include "kernels/cuda/stream.hpp"
#include "kernels/offload.hpp"

namespace collie::cuda {

// The copies of one stream. Not thread-safe.
class HostStaging {
 public:
  explicit HostStaging(std::shared_ptr<Stream> stream);
  ~HostStaging();
  HostStaging(const HostStaging&) = delete;
  HostStaging& operator=(const HostStaging&) = delete;

  // Takes the bytes before it returns, and queues the copy to the device. It waits only if all staging blocks
  // are still in flight.
  void upload(std::span<const std::byte> bytes, void* to);
  // Waits for the work that is queued on the stream and for the copy.
  void download(const void* from, std::span<std::byte> bytes);

 private:
  struct Block;
  using Blocks = std::deque<std::unique_ptr<Block>>;  // the one used longest ago comes first
  Block& free_block(size_t bytes);

  std::shared_ptr<Stream> stream_;
  Blocks small_, large_;
};

// A copy of a few bytes to the host, which is queued now. Any thread may wait for it later.
class ReadBack {
 public:
  ReadBack(Stream& stream, const void* from, size_t bytes);
  ~ReadBack();
  ReadBack(const ReadBack&) = delete;
  ReadBack& operator=(const ReadBack&) = delete;
  void wait(std::span<std::byte> bytes);  // as many as were asked for

 private:
  void* data_ = nullptr;  // page-locked
  size_t bytes_;
  Event done_;
};

// Copies of whole tensors (kernels/offload.hpp), concurrent with computation: there is one stream per
// direction of the bus. Tensors are used on `compute`.
std::unique_ptr<HostCopies> make_host_copies(std::shared_ptr<Stream> compute);

}  // namespace collie::cuda
