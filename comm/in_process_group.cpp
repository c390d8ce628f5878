// A group of ranks that are threads of one process.
#include "base/error.hpp"
#include "comm/process_group.hpp"
#include "comm/rendezvous.hpp"

namespace collie {
namespace {

class InProcessGroup : public ProcessGroup {
 public:
  InProcessGroup(std::shared_ptr<comm::Rendezvous> rendezvous, int rank, std::shared_ptr<DeviceSlot> slot)
      : rendezvous_(std::move(rendezvous)), rank_(rank), slot_(std::move(slot)) {}

  int rank() const override { return rank_; }
  int size() const override { return rendezvous_->size(); }

  void all_reduce_sum(Tensor& x) override { collective(comm::all_reduce_call(x)); }
  void reduce_scatter_sum(const Tensor& in, Tensor& out) override {
    collective(comm::reduce_scatter_call(size(), in, out));
  }
  void all_gather(const Tensor& in, Tensor& out) override {
    collective(comm::all_gather_call(size(), in, out));
  }
  void broadcast(Tensor& x, int root) override { collective(comm::broadcast_call(size(), x, root)); }
  void all_to_all(const Tensor& in, Tensor& out) override {
    collective(comm::all_to_all_call(size(), in, out));
  }
  void send(const Tensor& x, int destination) override {
    transfer(comm::send_call(size(), rank_, x, destination));
  }
  void receive(Tensor& x, int source) override { transfer(comm::receive_call(size(), rank_, x, source)); }
  void barrier() override { collective({}); }

  void check() override { rendezvous_->check(); }
  void abort(const std::string& cause) override { rendezvous_->abort(cause); }

 private:
  void collective(const comm::Call& call) { rendezvous_->collective(rank_, call, queue_for(call)); }
  void transfer(const comm::Call& call) { rendezvous_->transfer(rank_, call, queue_for(call)); }

  // Null for tensors on the host.
  DeviceQueue* queue_for(const comm::Call& call) const {
    if (!call.on_host && slot_ && slot_->queue) return slot_->queue.get();
    check_on_host(call);
    return nullptr;
  }

  std::shared_ptr<comm::Rendezvous> rendezvous_;
  int rank_;
  std::shared_ptr<DeviceSlot> slot_;  // null if there is no device
};

}  // namespace

std::vector<std::shared_ptr<ProcessGroup>> make_in_process_group(int size) {
  COLLIE_ASSERT(size > 0, "a group needs at least one rank, found {}", size);
  return make_device_group(std::vector<std::shared_ptr<DeviceSlot>>(static_cast<size_t>(size)));
}

std::vector<std::shared_ptr<ProcessGroup>> make_device_group(
    const std::vector<std::shared_ptr<DeviceSlot>>& slots) {
  COLLIE_ASSERT(!slots.empty(), "a group needs at least one rank");
  const auto rendezvous = std::make_shared<comm::Rendezvous>(static_cast<int>(slots.size()));
  std::vector<std::shared_ptr<ProcessGroup>> ends;
  for (const auto& slot : slots)
    ends.push_back(std::make_shared<InProcessGroup>(rendezvous, static_cast<int>(ends.size()), slot));
  return ends;
}

}  // namespace collie
