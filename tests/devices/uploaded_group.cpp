#include "tests/devices/uploaded_group.hpp"

#include "comm/call.hpp"

namespace collie::test {
namespace {

class UploadedGroup final : public ProcessGroup {
 public:
  UploadedGroup(std::shared_ptr<ProcessGroup> inner, std::shared_ptr<RankDevice> device)
      : inner_(std::move(inner)), device_(std::move(device)) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }

  void all_reduce_sum(Tensor& x) override {
    comm::all_reduce_call(x);  // checks the arguments
    Tensor there = device_->upload(x);
    inner_->all_reduce_sum(there);
    read(there, x);
  }
  void reduce_scatter_sum(const Tensor& in, Tensor& out) override {
    comm::reduce_scatter_call(size(), in, out);
    const int64_t n = out.dim(0), first = rank() * n;
    const Tensor whole = device_->upload(in);
    Tensor part = out.begins_with(in.rows(first, first + n)) ? whole.rows(first, first + n) : like(out);
    inner_->reduce_scatter_sum(whole, part);
    read(part, out);
  }
  void all_gather(const Tensor& in, Tensor& out) override {
    comm::all_gather_call(size(), in, out);
    const int64_t n = in.dim(0), first = rank() * n;
    const bool in_place = in.begins_with(out.rows(first, first + n));
    Tensor whole = in_place ? device_->upload(out) : like(out);
    inner_->all_gather(in_place ? whole.rows(first, first + n) : device_->upload(in), whole);
    read(whole, out);
  }
  void broadcast(Tensor& x, int root) override {
    comm::broadcast_call(size(), x, root);
    Tensor there = rank() == root ? device_->upload(x) : like(x);
    inner_->broadcast(there, root);
    read(there, x);
  }
  void all_to_all(const Tensor& in, Tensor& out) override {
    comm::all_to_all_call(size(), in, out);
    Tensor there = like(out);
    inner_->all_to_all(device_->upload(in), there);
    read(there, out);
  }
  void send(const Tensor& x, int destination) override {
    comm::send_call(size(), rank(), x, destination);
    inner_->send(device_->upload(x), destination);
    device_->queue->synchronize();  // a send of the suite's is over when it was received
    inner_->check();
  }
  void receive(Tensor& x, int source) override {
    comm::receive_call(size(), rank(), x, source);
    Tensor there = like(x);
    inner_->receive(there, source);
    read(there, x);
  }
  void barrier() override { inner_->barrier(); }
  void check() override { inner_->check(); }
  void abort(const std::string& cause) override { inner_->abort(cause); }

 private:
  Tensor like(const Tensor& x) const { return device_->empty(x.shape(), x.dtype()); }
  void read(const Tensor& from, Tensor& to) {
    from.read(to.raw());
    inner_->check();
  }

  std::shared_ptr<ProcessGroup> inner_;
  std::shared_ptr<RankDevice> device_;
};

}  // namespace

std::shared_ptr<ProcessGroup> make_uploaded_group(std::shared_ptr<ProcessGroup> inner,
                                                  std::shared_ptr<RankDevice> device) {
  return std::make_shared<UploadedGroup>(std::move(inner), std::move(device));
}

}  // namespace collie::test
