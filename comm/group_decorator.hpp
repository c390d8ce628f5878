// A group that forwards every operation to another group and does something around it.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "comm/call.hpp"
#include "comm/process_group.hpp"

namespace collie::comm {

class GroupDecorator : public ProcessGroup {
 public:
  explicit GroupDecorator(std::shared_ptr<ProcessGroup> inner);

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  void all_reduce_sum(Tensor& x) override;
  void reduce_scatter_sum(const Tensor& in, Tensor& out) override;
  void all_gather(const Tensor& in, Tensor& out) override;
  void broadcast(Tensor& x, int root) override;
  void all_to_all(const Tensor& in, Tensor& out) override;
  void send(const Tensor& x, int destination) override;
  void receive(Tensor& x, int source) override;
  void barrier() override;
  void check() override { inner_->check(); }
  void abort(const std::string& cause) override { inner_->abort(cause); }

 protected:
  // Must call `forward`, which is `call` on the inner group, exactly once, and let its exceptions pass. Calls
  // with wrong arguments never come here.
  virtual void around(const Call& call, const std::function<void()>& forward) = 0;

 private:
  std::shared_ptr<ProcessGroup> inner_;
};

}  // namespace collie::comm
