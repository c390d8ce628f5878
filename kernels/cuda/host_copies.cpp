#include "kernels/cuda/host_copies.hpp"

#include <deque>

#include "kernels/cuda/api.hpp"
#include "kernels/cuda/pinned_blocks.hpp"

namespace collie::cuda {

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
    for (const Block& block : blocks) give_pinned(block.data, block.bytes);
  }
  void* add(size_t bytes) {
    blocks.push_back({take_pinned(bytes), bytes});
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

  // What is queued on `second` from now on comes after what is queued on `first`.
  void order(Stream& first, Stream& second) {
    first.record(queued_);
    second.wait(queued_);
  }

  // Blocks go back when their last copy is done, which is looked at, not waited for.
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
