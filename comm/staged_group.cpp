#include "comm/staged_group.hpp"

#include "comm/call.hpp"

namespace collie {
namespace {

class StagedGroup final : public ProcessGroup {
 public:
  StagedGroup(std::shared_ptr<ProcessGroup> inner, std::shared_ptr<MemoryAccount> account)
      : inner_(std::move(inner)), account_(std::move(account)) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }

  void all_reduce_sum(Tensor& x) override {
    if (comm::all_reduce_call(x).on_host) return inner_->all_reduce_sum(x);
    Tensor copy = read(x);
    inner_->all_reduce_sum(copy);
    x.write(copy.raw());
  }
  void reduce_scatter_sum(const Tensor& in, Tensor& out) override {
    if (comm::reduce_scatter_call(size(), in, out).on_host) return inner_->reduce_scatter_sum(in, out);
    const Tensor whole = read(in);
    Tensor part = host(out);
    inner_->reduce_scatter_sum(whole, part);
    out.write(part.raw());
  }
  void all_gather(const Tensor& in, Tensor& out) override {
    if (comm::all_gather_call(size(), in, out).on_host) return inner_->all_gather(in, out);
    const Tensor part = read(in);
    Tensor whole = host(out);
    inner_->all_gather(part, whole);
    out.write(whole.raw());
  }
  void broadcast(Tensor& x, int root) override {
    if (comm::broadcast_call(size(), x, root).on_host) return inner_->broadcast(x, root);
    Tensor copy = rank() == root ? read(x) : host(x);
    inner_->broadcast(copy, root);
    if (rank() != root) x.write(copy.raw());
  }
  void all_to_all(const Tensor& in, Tensor& out) override {
    if (comm::all_to_all_call(size(), in, out).on_host) return inner_->all_to_all(in, out);
    const Tensor given = read(in);
    Tensor taken = host(out);
    inner_->all_to_all(given, taken);
    out.write(taken.raw());
  }
  void send(const Tensor& x, int destination) override {
    if (comm::send_call(size(), rank(), x, destination).on_host) return inner_->send(x, destination);
    inner_->send(read(x), destination);
  }
  void receive(Tensor& x, int source) override {
    if (comm::receive_call(size(), rank(), x, source).on_host) return inner_->receive(x, source);
    Tensor copy = host(x);
    inner_->receive(copy, source);
    x.write(copy.raw());
  }
  void barrier() override { inner_->barrier(); }
  void check() override { inner_->check(); }
  void abort(const std::string& cause) override { inner_->abort(cause); }

 private:
  Tensor host(const Tensor& like) const {
    return Tensor::host(like.shape(), like.dtype(), account_, Category::communication);
  }
  Tensor read(const Tensor& x) const {
    Tensor copy = host(x);
    x.read(copy.raw());
    return copy;
  }

  std::shared_ptr<ProcessGroup> inner_;
  std::shared_ptr<MemoryAccount> account_;
};

}  // namespace

std::shared_ptr<ProcessGroup> make_staged_group(std::shared_ptr<ProcessGroup> inner,
                                                std::shared_ptr<MemoryAccount> account) {
  return std::make_shared<StagedGroup>(std::move(inner), std::move(account));
}

}  // namespace collie
