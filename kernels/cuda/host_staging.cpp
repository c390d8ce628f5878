#include "kernels/cuda/host_staging.hpp"

#include <algorithm>
#include <cstring>

#include "kernels/cuda/api.hpp"
#include "kernels/cuda/pinned_blocks.hpp"

namespace collie::cuda {

namespace {

constexpr size_t most_blocks = 16;
constexpr size_t piece_bytes = size_t{4} << 20;  // large copies go through in pieces

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

// Small copies have blocks of 64 KiB, so that they do not take the large ones.
HostStaging::Block& HostStaging::free_block(size_t bytes) {
  const size_t size = bytes <= (64 << 10) ? (64 << 10) : piece_bytes;
  auto found = std::find_if(blocks_.begin(), blocks_.end(), [&](const auto& block) {
    return block->bytes == size && block->in_flight.done();
  });
  if (found == blocks_.end() && blocks_.size() < most_blocks) {
    blocks_.push_back(std::make_unique<Block>(size));
    return *blocks_.back();
  }
  if (found == blocks_.end())
    found =
        std::find_if(blocks_.begin(), blocks_.end(), [&](const auto& block) { return block->bytes == size; });
  if (found == blocks_.end()) {  // all are of the other size
    blocks_.pop_front();
    blocks_.push_back(std::make_unique<Block>(size));
    return *blocks_.back();
  }
  auto block = std::move(*found);
  blocks_.erase(found);
  block->in_flight.wait();
  blocks_.push_back(std::move(block));
  return *blocks_.back();
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
  done_.wait();
  give_pinned(data_, bytes_);
}

void ReadBack::wait(std::span<std::byte> bytes) {
  done_.wait();
  std::memcpy(bytes.data(), data_, std::min(bytes_, bytes.size()));
}

}  // namespace collie::cuda
