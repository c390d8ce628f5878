#include "tests/comm/coordinator_group.hpp"

#include <condition_variable>
#include <cstring>
#include <deque>
#include <functional>
#include <future>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

namespace collie::test {
namespace {

struct Request {
  std::string operation;
  int rank = 0, peer = -1;
  Tensor in, out;  // the same for operations in place
  std::promise<void> answer;

  bool is_transfer() const { return operation == "send" || operation == "receive"; }
  std::string described() const {
    if (operation == "barrier") return operation;
    std::string text = operation;
    if (operation == "broadcast" || operation == "receive") text += " from rank " + std::to_string(peer);
    if (operation == "send") text += " to rank " + std::to_string(peer);
    return text + " of " + std::string(name(in.dtype())) + " " + in.shape().to_string();
  }
  bool same_tensor(const Request& other) const {
    return in.dtype() == other.in.dtype() && in.shape() == other.in.shape();
  }
};

class Coordinator {
 public:
  explicit Coordinator(int size) : pending_(static_cast<size_t>(size)), thread_([this] { serve(); }) {}
  ~Coordinator() {
    post([this] { ended_ = true; });
    thread_.join();
  }

  int size() const { return static_cast<int>(pending_.size()); }

  void ask(std::string operation, int rank, int peer, const Tensor& in, const Tensor& out) {
    auto request = std::make_shared<Request>();
    request->operation = std::move(operation);
    request->rank = rank;
    request->peer = peer;
    request->in = in;
    request->out = out;
    std::future<void> answer = request->answer.get_future();
    post([this, request] { take(request); });
    answer.get();
  }

  void check() {
    std::promise<void> answer;
    post([&] { failure_ ? answer.set_exception(failure_) : answer.set_value(); });
    answer.get_future().get();
  }

  void abort(const std::string& cause) {
    post([this, cause] { fail(std::make_exception_ptr(Aborted(cause))); });
  }

 private:
  void post(std::function<void()> task) {
    {
      const std::lock_guard lock(mutex_);
      tasks_.push_back(std::move(task));
    }
    posted_.notify_one();
  }

  void serve() {
    while (!ended_) {
      std::function<void()> task;
      {
        std::unique_lock lock(mutex_);
        posted_.wait(lock, [this] { return !tasks_.empty(); });
        task = std::move(tasks_.front());
        tasks_.pop_front();
      }
      task();
    }
  }

  // From here on: the coordinator's thread alone.
  std::shared_ptr<Request>& at(int rank) { return pending_[static_cast<size_t>(rank)]; }

  void fail(const std::exception_ptr& failure) {
    if (!failure_) failure_ = failure;
    for (auto& request : pending_) {
      if (request) request->answer.set_exception(failure_);
      request = nullptr;
    }
  }

  void refuse(const Request& a, const Request& b) {
    const Request &low = a.rank < b.rank ? a : b, &high = a.rank < b.rank ? b : a;
    fail(std::make_exception_ptr(RunError("process group: rank {} calls {}, but rank {} calls {}", low.rank,
                                          low.described(), high.rank, high.described())));
  }

  void take(const std::shared_ptr<Request>& request) {
    if (failure_) {
      request->answer.set_exception(failure_);
      return;
    }
    at(request->rank) = request;
    if (request->is_transfer()) return take_transfer(*request);
    size_t joined = 0;
    for (auto& other : pending_) {
      if (!other) continue;
      const bool waits_for_us = other->is_transfer() && other->peer == request->rank;
      const bool differs =
          !other->is_transfer() && (other->operation != request->operation || other->peer != request->peer ||
                                    (request->operation != "barrier" && !other->same_tensor(*request)));
      if (waits_for_us || differs) return refuse(*request, *other);
      joined += !other->is_transfer();
    }
    if (joined < pending_.size()) return;
    compute(request->operation, request->peer);
    for (auto& other : pending_) other->answer.set_value();
    for (auto& other : pending_) other = nullptr;
  }

  void take_transfer(Request& request) {
    const auto other = at(request.peer);
    if (!other || (other->is_transfer() && other->peer != request.rank)) return;
    if (!other->is_transfer() || other->operation == request.operation || !request.same_tensor(*other))
      return refuse(request, *other);
    const Tensor& from = request.operation == "send" ? request.in : other->in;
    const Tensor& to = request.operation == "send" ? other->in : request.in;
    if (from.bytes() > 0) std::memcpy(to.raw(), from.raw(), from.bytes());
    const auto self = at(request.rank);
    at(request.peer) = nullptr;
    at(self->rank) = nullptr;
    self->answer.set_value();
    other->answer.set_value();
  }

  // Copies of all inputs first, so that no overlap of in and out matters.
  void compute(const std::string& operation, int root) {
    if (operation == "barrier") return;
    std::vector<std::vector<std::byte>> in;
    for (auto& request : pending_) {
      in.emplace_back(request->in.bytes());
      if (!in.back().empty()) std::memcpy(in.back().data(), request->in.raw(), in.back().size());
    }
    for (auto& request : pending_) {
      const size_t bytes = request->out.bytes(), part = bytes / pending_.size();
      auto* const out = static_cast<std::byte*>(request->out.raw());
      const auto rank = static_cast<size_t>(request->rank);
      if (bytes == 0) continue;
      if (operation == "all_reduce_sum") add(*request, in, 0);
      if (operation == "reduce_scatter_sum") add(*request, in, rank * bytes);
      if (operation == "broadcast") std::memcpy(out, in[static_cast<size_t>(root)].data(), bytes);
      for (size_t other = 0; other < pending_.size(); ++other) {
        if (operation == "all_gather") std::memcpy(out + other * part, in[other].data(), part);
        if (operation == "all_to_all") std::memcpy(out + other * part, in[other].data() + rank * part, part);
      }
    }
  }

  static void add(const Request& request, const std::vector<std::vector<std::byte>>& in, size_t offset) {
    if (request.out.dtype() == DType::f32) return add_as<float>(request, in, offset);
    add_as<double>(request, in, offset);
  }

  template <class T>
  static void add_as(const Request& request, const std::vector<std::vector<std::byte>>& in, size_t offset) {
    T* const out = request.out.data<T>();
    for (size_t i = 0; i < static_cast<size_t>(request.out.numel()); ++i) {
      for (size_t rank = 0; rank < in.size(); ++rank) {
        T value;
        std::memcpy(&value, in[rank].data() + offset + i * sizeof(T), sizeof(T));
        out[i] = rank == 0 ? value : out[i] + value;
      }
    }
  }

  std::vector<std::shared_ptr<Request>> pending_;  // [size]
  std::exception_ptr failure_;
  bool ended_ = false;
  std::mutex mutex_;
  std::condition_variable posted_;
  std::deque<std::function<void()>> tasks_;
  std::thread thread_;  // last: it uses all of the above
};

class CoordinatorGroup : public ProcessGroup {
 public:
  CoordinatorGroup(std::shared_ptr<Coordinator> coordinator, int rank)
      : coordinator_(std::move(coordinator)), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return coordinator_->size(); }
  void all_reduce_sum(Tensor& x) override { ask("all_reduce_sum", x, x); }
  void reduce_scatter_sum(const Tensor& in, Tensor& out) override {
    COLLIE_ASSERT(in.numel() == size() * out.numel(), "reduce_scatter_sum");
    ask("reduce_scatter_sum", in, out);
  }
  void all_gather(const Tensor& in, Tensor& out) override {
    COLLIE_ASSERT(out.numel() == size() * in.numel(), "all_gather");
    ask("all_gather", in, out);
  }
  void broadcast(Tensor& x, int root) override { ask("broadcast", x, x, root); }
  void all_to_all(const Tensor& in, Tensor& out) override { ask("all_to_all", in, out); }
  void send(const Tensor& x, int destination) override { ask("send", x, x, destination); }
  void receive(Tensor& x, int source) override { ask("receive", x, x, source); }
  void barrier() override { ask("barrier", {}, {}); }
  void check() override { coordinator_->check(); }
  void abort(const std::string& cause) override { coordinator_->abort(cause); }

 private:
  void ask(const char* operation, const Tensor& in, const Tensor& out, int peer = -1) {
    coordinator_->ask(operation, rank_, peer, in, out);
  }

  std::shared_ptr<Coordinator> coordinator_;
  int rank_;
};

}  // namespace

std::vector<std::shared_ptr<ProcessGroup>> make_coordinator_group(int size) {
  const auto coordinator = std::make_shared<Coordinator>(size);
  std::vector<std::shared_ptr<ProcessGroup>> ends;
  for (int rank = 0; rank < size; ++rank)
    ends.push_back(std::make_shared<CoordinatorGroup>(coordinator, rank));
  return ends;
}

}  // namespace collie::test
