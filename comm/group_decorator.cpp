#include "comm/group_decorator.hpp"

#include "base/error.hpp"

namespace collie::comm {

GroupDecorator::GroupDecorator(std::shared_ptr<ProcessGroup> inner) : inner_(std::move(inner)) {
  COLLIE_ASSERT(inner_ != nullptr, "a decorated group needs one to decorate");
}

void GroupDecorator::all_reduce_sum(Tensor& x) {
  around(all_reduce_call(x), [&] { inner_->all_reduce_sum(x); });
}

void GroupDecorator::reduce_scatter_sum(const Tensor& in, Tensor& out) {
  around(reduce_scatter_call(size(), in, out), [&] { inner_->reduce_scatter_sum(in, out); });
}

void GroupDecorator::all_gather(const Tensor& in, Tensor& out) {
  around(all_gather_call(size(), in, out), [&] { inner_->all_gather(in, out); });
}

void GroupDecorator::broadcast(Tensor& x, int root) {
  around(broadcast_call(size(), x, root), [&] { inner_->broadcast(x, root); });
}

void GroupDecorator::all_to_all(const Tensor& in, Tensor& out) {
  around(all_to_all_call(size(), in, out), [&] { inner_->all_to_all(in, out); });
}

void GroupDecorator::send(const Tensor& x, int destination) {
  around(send_call(size(), rank(), x, destination), [&] { inner_->send(x, destination); });
}

void GroupDecorator::receive(Tensor& x, int source) {
  around(receive_call(size(), rank(), x, source), [&] { inner_->receive(x, source); });
}

void GroupDecorator::barrier() {
  around({}, [&] { inner_->barrier(); });
}

}  // namespace collie::comm
