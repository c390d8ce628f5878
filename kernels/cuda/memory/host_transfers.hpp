// Copies between a GPU and the host, which go through page-locked memory: only from there do they run beside
// the host. HostStaging and ReadBack copy on the stream that computes; make_host_copies() on streams of its
// own.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <span>

#include "kernels/cuda/stream.hpp"
#include "kernels/offload.hpp"

namespace collie::cuda {

// Copies of one stream. Not thread-safe.
class HostStaging {
 public:
  explicit HostStaging(std::shared_ptr<Stream> stream);
  ~HostStaging();
  HostStaging(const HostStaging&) = delete;
  HostStaging& operator=(const HostStaging&) = delete;

  // The bytes are taken before it returns; the copy to the device is queued. Waits only where all staging
  // blocks are still in flight.
  void upload(std::span<const std::byte> bytes, void* to);
  // Waits for what is queued on the stream and for the copy.
  void download(const void* from, std::span<std::byte> bytes);

 private:
  struct Block;
  using Blocks = std::deque<std::unique_ptr<Block>>;  // the one used longest ago first
  Block& free_block(size_t bytes);

  std::shared_ptr<Stream> stream_;
  Blocks small_, large_;
};

// A copy of a few bytes to the host that is queued now and waited for later, by any thread.
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

// Copies of whole tensors (kernels/offload.hpp) that run beside what is computed: one stream for each
// direction of the bus. Tensors are used on `compute`.
std::unique_ptr<HostCopies> make_host_copies(std::shared_ptr<Stream> compute);

}  // namespace collie::cuda
