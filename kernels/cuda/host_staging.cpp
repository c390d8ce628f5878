#include "kernels/cuda/host_staging.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "kernels/cuda/api.hpp"
#include "kernels/cuda/pinned_blocks.hpp"

namespace collie::cuda {

namespace {

// Small copies have blocks of their own, so that they do not take the large ones: ids, labels and places, a
// dozen a micro-batch. How many there are is how far the host may be ahead of the device.
constexpr size_t small_bytes = size_t{64} << 10, most_small = 256;
constexpr size_t piece_bytes = size_t{4} << 20, most_large = 16;  // large copies go through in pieces

}  // namespace

struct HostStaging::Block {
  explicit Block(size_t size) : data(take_pinned(size)), bytes(size) {}
  ~Block() {
    in_flight.wait();
    give_pinned(data, bytes);
  }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  void* data;
  size_t bytes;
  Event in_flight;
};

HostStaging::HostStaging(std::shared_ptr<Stream> stream) : stream_(std::move(stream)) {}
HostStaging::~HostStaging() = default;

HostStaging::Block& HostStaging::free_block(size_t bytes) {
  const bool small = bytes <= small_bytes;
  Blocks& blocks = small ? small_ : large_;
  // Copies end in the order in which they began: the oldest is free first.
  const bool free = !blocks.empty() && blocks.front()->in_flight.done();
  if (!free && blocks.size() < (small ? most_small : most_large)) {
    blocks.push_back(std::make_unique<Block>(small ? small_bytes : piece_bytes));
    return *blocks.back();
  }
  std::unique_ptr<Block> block = std::move(blocks.front());
  blocks.pop_front();
  block->in_flight.wait();
  blocks.push_back(std::move(block));
  return *blocks.back();
}

void HostStaging::upload(std::span<const std::byte> bytes, void* to) {
  for (size_t first = 0; first < bytes.size(); first += piece_bytes) {
    const auto piece = bytes.subspan(first, std::min(piece_bytes, bytes.size() - first));
    Block& block = free_block(piece.size());
    std::memcpy(block.data, piece.data(), piece.size());
    check(cudaMemcpyAsync(static_cast<std::byte*>(to) + first, block.data, piece.size(), cudaMemcpyDefault,
                          stream_->immediate()),
          "copying to the device");
    stream_->record(block.in_flight);
  }
}

void HostStaging::download(const void* from, std::span<std::byte> bytes) {
  for (size_t first = 0; first < bytes.size(); first += piece_bytes) {
    const auto piece = bytes.subspan(first, std::min(piece_bytes, bytes.size() - first));
    Block& block = free_block(piece.size());
    check(cudaMemcpyAsync(block.data, static_cast<const std::byte*>(from) + first, piece.size(),
                          cudaMemcpyDefault, stream_->immediate()),
          "copying from the device");
    stream_->record(block.in_flight);
    block.in_flight.wait();
    std::memcpy(piece.data(), block.data, piece.size());
  }
}

ReadBack::ReadBack(Stream& stream, const void* from, size_t bytes)
    : data_(take_pinned(bytes)), bytes_(bytes) {
  check(cudaMemcpyAsync(data_, from, bytes, cudaMemcpyDefault, stream.immediate()),
        "copying from the device");
  stream.record(done_);
}

ReadBack::~ReadBack() {
  try {
    done_.wait();
  } catch (const std::exception&) {  // the device has failed: nobody says so here, and the block is lost
    return;
  }
  give_pinned(data_, bytes_);
}

void ReadBack::wait(std::span<std::byte> bytes) {
  done_.wait();
  std::memcpy(bytes.data(), data_, std::min(bytes_, bytes.size()));
}

}  // namespace collie::cuda
