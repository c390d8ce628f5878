#include "kernels/cuda/memory/host_transfers.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "kernels/cuda/api.hpp"
#include "kernels/cuda/memory/page_locked.hpp"

namespace collie::cuda {

namespace {

// Small copies have their own blocks, so that they do not take the large ones. They are ids, labels and
// positions, a dozen per micro-batch. The number of blocks is how far the host may be ahead of the device.
constexpr size_t small_bytes = size_t{64} << 10, most_small = 256;
constexpr size_t piece_bytes = size_t{4} << 20, most_large = 16;  // large copies go through in pieces

}  // namespace

struct HostStaging::Block {
  explicit Block(size_t size) : data(take_page_locked(size)), bytes(size) {}
  ~Block() {
    in_flight.wait();
    give_page_locked(data, bytes);
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
  // Copies end in the order in which they began, so the oldest block is free first.
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
    : data_(take_page_locked(bytes)), bytes_(bytes) {
  check(cudaMemcpyAsync(data_, from, bytes, cudaMemcpyDefault, stream.immediate()),
        "copying from the device");
  stream.record(done_);
}

ReadBack::~ReadBack() {
  try {
    done_.wait();
  } catch (const std::exception&) {  // the device has failed: others report that, and the block is lost
    return;
  }
  give_page_locked(data_, bytes_);
}

void ReadBack::wait(std::span<std::byte> bytes) {
  done_.wait();
  std::memcpy(bytes.data(), data_, std::min(bytes_, bytes.size()));
}

namespace {

// Page-locked blocks of some tensors, and the last copy to or from them.
struct HostBlocks {
  struct Block {
    void* data;
    size_t bytes;
  };
  std::vector<Block> blocks;
  Event done;

  HostBlocks() = default;
  HostBlocks(const HostBlocks&) = delete;
  HostBlocks& operator=(const HostBlocks&) = delete;
  ~HostBlocks() {
    for (const Block& block : blocks) give_page_locked(block.data, block.bytes);
  }
  void* add(size_t bytes) {
    blocks.push_back({take_page_locked(bytes), bytes});
    return blocks.back().data;
  }
};

struct StreamCopy final : HostCopies::Copy {
  std::shared_ptr<HostBlocks> host = std::make_shared<HostBlocks>();
};

class StreamCopies final : public HostCopies {
 public:
  explicit StreamCopies(std::shared_ptr<Stream> compute)
      : compute_(std::move(compute)), out_(compute_->device()), back_(compute_->device()) {}
  ~StreamCopies() override {
    out_.synchronize();
    back_.synchronize();
  }

  std::shared_ptr<Copy> begin_out(const std::vector<Tensor>& tensors) override {
    drop_unused();
    auto copy = std::make_shared<StreamCopy>();
    in_use_.push_back(copy->host);
    order(*compute_, out_);
    for (const Tensor& x : tensors)
      if (has_bytes(x))
        check(cudaMemcpyAsync(copy->host->add(x.bytes()), x.raw(), x.bytes(), cudaMemcpyDeviceToHost,
                              out_.native()),
              "copying activations to the host");
    out_.record(copy->host->done);
    return copy;
  }

  void begin_back(Copy& copy, const std::vector<Tensor>& tensors) override {
    HostBlocks& host = *static_cast<StreamCopy&>(copy).host;
    order(*compute_, back_);  // the memory may have been another tensor's until now
    back_.wait(host.done);
    size_t next = 0;
    for (const Tensor& x : tensors)
      if (has_bytes(x)) {
        const HostBlocks::Block& block = host.blocks.at(next++);
        COLLIE_ASSERT(block.bytes == x.bytes(), "{} bytes come back into a tensor of {}", block.bytes,
                      x.bytes());
        check(cudaMemcpyAsync(x.raw(), block.data, block.bytes, cudaMemcpyHostToDevice, back_.native()),
              "copying activations to the device");
      }
    back_.record(host.done);
  }

  void wait(Copy& copy) override { compute_->wait(static_cast<StreamCopy&>(copy).host->done); }

 private:
  static bool has_bytes(const Tensor& x) { return x.defined() && x.bytes() > 0; }

  // Work that is queued on `second` from now on comes after the work that is queued on `first`.
  void order(Stream& first, Stream& second) {
    first.record(queued_);
    second.wait(queued_);
  }

  // Blocks go back when their last copy is done. This is polled, not waited for.
  void drop_unused() {
    std::erase_if(in_use_, [](const auto& host) { return host.use_count() == 1 && host->done.done(); });
  }

  std::shared_ptr<Stream> compute_;
  Stream out_, back_;
  Event queued_;
  std::deque<std::shared_ptr<HostBlocks>> in_use_;
};

}  // namespace

std::unique_ptr<HostCopies> make_host_copies(std::shared_ptr<Stream> compute) {
  return std::make_unique<StreamCopies>(std::move(compute));
}

}  // namespace collie::cuda
