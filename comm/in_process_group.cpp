// Ranks that are threads of one process.
#include "base/error.hpp"
#include "comm/meeting.hpp"
#include "comm/process_group.hpp"

namespace collie {
namespace {

class InProcessGroup : public ProcessGroup {
 public:
  InProcessGroup(std::shared_ptr<comm::Meeting> meeting, int rank)
      : meeting_(std::move(meeting)), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return meeting_->size(); }

  void all_reduce_sum(Tensor& x) override { meeting_->collective(rank_, comm::all_reduce_call(x)); }
  void reduce_scatter_sum(const Tensor& in, Tensor& out) override {
    meeting_->collective(rank_, comm::reduce_scatter_call(size(), in, out));
  }
  void all_gather(const Tensor& in, Tensor& out) override {
    meeting_->collective(rank_, comm::all_gather_call(size(), in, out));
  }
  void broadcast(Tensor& x, int root) override {
    meeting_->collective(rank_, comm::broadcast_call(size(), x, root));
  }
  void all_to_all(const Tensor& in, Tensor& out) override {
    meeting_->collective(rank_, comm::all_to_all_call(size(), in, out));
  }
  void send(const Tensor& x, int destination) override {
    meeting_->transfer(rank_, comm::send_call(size(), rank_, x, destination));
  }
  void receive(Tensor& x, int source) override {
    meeting_->transfer(rank_, comm::receive_call(size(), rank_, x, source));
  }
  void barrier() override { meeting_->collective(rank_, {}); }

  void abort(const std::string& cause) override { meeting_->abort(cause); }

 private:
  std::shared_ptr<comm::Meeting> meeting_;
  int rank_;
};

}  // namespace

std::vector<std::shared_ptr<ProcessGroup>> make_in_process_group(int size) {
  COLLIE_ASSERT(size > 0, "a group needs at least one rank, found {}", size);
  const auto meeting = std::make_shared<comm::Meeting>(size);
  std::vector<std::shared_ptr<ProcessGroup>> ends;
  for (int rank = 0; rank < size; ++rank) ends.push_back(std::make_shared<InProcessGroup>(meeting, rank));
  return ends;
}

}  // namespace collie
