#include "comm/nccl/nccl_group.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "comm/call.hpp"
#include "comm/nccl/communicator.hpp"
#include "comm/nccl/data_type.hpp"

namespace collie {
namespace {

using comm::Call;
using nccl::Reduction;
using nccl::Result;
using nccl::type_of;

// The range that a rank sends to one other rank and receives from it, in elements.
struct Parcel {
  const std::byte* out = nullptr;
  size_t out_count = 0;
  std::byte* in = nullptr;
  size_t in_count = 0;
};

class GroupOverNccl final : public NcclGroup {
 public:
  GroupOverNccl(const nccl::Api& api, std::shared_ptr<ProcessGroup> host, std::shared_ptr<DeviceQueue> queue,
                NcclSettings settings)
      : api_(api),
        host_(std::move(host)),
        queue_(std::move(queue)),
        settings_(std::move(settings)),
        communicator_(api, fmt::format("{}: rank {} of {}", settings_.name, host_->rank(), host_->size()),
                      host_->rank(), host_->size(), [host = host_] { host->check(); }) {}

  int rank() const override { return host_->rank(); }
  int size() const override { return host_->size(); }

  void connect() override {
    const auto account = std::make_shared<MemoryAccount>();
    Tensor bytes = Tensor::host({sizeof(nccl::UniqueId) / 4}, DType::i32, account, Category::communication);
    nccl::UniqueId id{};
    if (rank() == 0) {
      const Result result = api_.get_unique_id(&id);
      if (result != Result::success)
        throw RunError("{}: NCCL gives no id: {} ({})", settings_.name, api_.get_error_string(result),
                       api_.get_last_error(nullptr));
      std::memcpy(bytes.raw(), &id, sizeof id);
    }
    host_->broadcast(bytes, 0);
    std::memcpy(&id, bytes.raw(), sizeof id);
    queue_->native();  // makes the device the thread's current one
    communicator_.connect(id);
  }

  void all_reduce_sum(Tensor& x) override {
    const Call call = comm::all_reduce_call(x);
    if (call.on_host) return host_->all_reduce_sum(x);
    if (call.part == 0) return check();
    if (in_rank_order(call.dtype)) return all_reduce_in_rank_order(call);
    run([&](ncclComm* comm, CUstream_st* stream) {
      return api_.all_reduce(call.in, call.out, count(call), type_of(call.dtype), Reduction::sum, comm,
                             stream);
    });
  }

  void reduce_scatter_sum(const Tensor& in, Tensor& out) override {
    const Call call = comm::reduce_scatter_call(size(), in, out);
    if (call.on_host) return host_->reduce_scatter_sum(in, out);
    if (call.part == 0) return check();
    if (in_rank_order(call.dtype)) {
      std::vector<Slice> slices;
      for (int64_t part = 0; part < size(); ++part) slices.push_back({part * call.part, call.part});
      return reduce(call, slices, call.out);
    }
    run([&](ncclComm* comm, CUstream_st* stream) {
      return api_.reduce_scatter(call.in, call.out, count(call), type_of(call.dtype), Reduction::sum, comm,
                                 stream);
    });
  }

  void all_gather(const Tensor& in, Tensor& out) override {
    const Call call = comm::all_gather_call(size(), in, out);
    if (call.on_host) return host_->all_gather(in, out);
    if (call.part == 0) return check();
    run([&](ncclComm* comm, CUstream_st* stream) {
      return api_.all_gather(call.in, call.out, count(call), type_of(call.dtype), comm, stream);
    });
  }

  void broadcast(Tensor& x, int root) override {
    const Call call = comm::broadcast_call(size(), x, root);
    if (call.on_host) return host_->broadcast(x, root);
    if (call.part == 0) return check();
    run([&](ncclComm* comm, CUstream_st* stream) {
      return api_.broadcast(call.in, call.out, count(call), type_of(call.dtype), root, comm, stream);
    });
  }

  void all_to_all(const Tensor& in, Tensor& out) override {
    const Call call = comm::all_to_all_call(size(), in, out);
    if (call.on_host) return host_->all_to_all(in, out);
    if (call.part == 0) return check();
    const size_t bytes = call.part_bytes();
    std::vector<Parcel> parcels;
    for (size_t other = 0; other < static_cast<size_t>(size()); ++other)
      parcels.push_back({call.in + other * bytes, count(call), call.out + other * bytes, count(call)});
    const Parcel& own = parcels[static_cast<size_t>(rank())];
    queue_->copy(own.out, own.in, bytes);
    exchange(call.dtype, parcels);
  }

  void send(const Tensor& x, int destination) override {
    const Call call = comm::send_call(size(), rank(), x, destination);
    if (call.on_host) return host_->send(x, destination);
    if (call.part == 0) return check();
    run([&](ncclComm* comm, CUstream_st* stream) {
      return api_.send(call.in, count(call), type_of(call.dtype), destination, comm, stream);
    });
  }

  void receive(Tensor& x, int source) override {
    const Call call = comm::receive_call(size(), rank(), x, source);
    if (call.on_host) return host_->receive(x, source);
    if (call.part == 0) return check();
    run([&](ncclComm* comm, CUstream_st* stream) {
      return api_.recv(call.out, count(call), type_of(call.dtype), source, comm, stream);
    });
  }

  void barrier() override { host_->barrier(); }

  void check() override {
    host_->check();
    communicator_.check();
  }

  void abort(const std::string& cause) override {
    host_->abort(cause);
    communicator_.abort(cause);
  }

 private:
  struct Slice {
    int64_t begin = 0, count = 0;  // elements
  };

  static size_t count(const Call& call) { return static_cast<size_t>(call.part); }
  bool in_rank_order(DType dtype) const {
    return settings_.sums == NcclSums::in_rank_order || dtype == DType::bf16;
  }

  template <class Calls>
  void run(const Calls& calls) {
    CUstream_st* const stream = queue_->native();
    communicator_.run([&](ncclComm* comm) { return calls(comm, stream); });
  }

  // Exchanges with every other rank at once.
  void exchange(DType dtype, const std::vector<Parcel>& parcels) {
    run([&](ncclComm* comm, CUstream_st* stream) {
      Result result = api_.group_start();
      const auto call = [&](Result called) {
        if (result == Result::success && called != Result::in_progress) result = called;
      };
      for (int other = 0; other < size(); ++other) {
        if (other == rank()) continue;
        const Parcel& parcel = parcels[static_cast<size_t>(other)];
        if (parcel.out_count > 0)
          call(api_.send(parcel.out, parcel.out_count, type_of(dtype), other, comm, stream));
        if (parcel.in_count > 0)
          call(api_.recv(parcel.in, parcel.in_count, type_of(dtype), other, comm, stream));
      }
      const Result ended = api_.group_end();
      return result == Result::success ? ended : result;
    });
  }

  // out = the sum of every rank's slice `rank` of `call.in`.
  void reduce(const Call& call, const std::vector<Slice>& slices, std::byte* out) {
    const auto bytes = static_cast<int64_t>(size_of(call.dtype));
    const Slice own = slices[static_cast<size_t>(rank())];
    const Tensor others = Tensor::on(queue_->memory(), {size(), own.count}, call.dtype, settings_.account,
                                     Category::communication);
    std::vector<Parcel> parcels;
    std::vector<const std::byte*> summands;
    for (int other = 0; other < size(); ++other) {
      const Slice& slice = slices[static_cast<size_t>(other)];
      auto* const in = static_cast<std::byte*>(others.rows(other, other + 1).raw());
      parcels.push_back({call.in + slice.begin * bytes, static_cast<size_t>(slice.count), in,
                         static_cast<size_t>(own.count)});
      summands.push_back(other == rank() ? call.in + own.begin * bytes : in);
    }
    exchange(call.dtype, parcels);
    queue_->sum_in_rank_order(call.dtype, summands, {&out, 1}, own.count);
  }

  // Each rank sums its share, and then all shares go to all ranks.
  void all_reduce_in_rank_order(const Call& call) {
    const auto bytes = static_cast<int64_t>(size_of(call.dtype));
    constexpr int64_t line = 16;  // elements, so that shares are aligned
    const int64_t share = ((call.part + size() - 1) / size() + line - 1) / line * line;
    std::vector<Slice> slices;
    for (int64_t part = 0; part < size(); ++part) {
      const int64_t begin = std::min(call.part, part * share);
      slices.push_back({begin, std::min(call.part, begin + share) - begin});
    }
    const Slice own = slices[static_cast<size_t>(rank())];
    reduce(call, slices, call.out + own.begin * bytes);
    std::vector<Parcel> parcels;
    for (const Slice& slice : slices)
      parcels.push_back({call.out + own.begin * bytes, static_cast<size_t>(own.count),
                         call.out + slice.begin * bytes, static_cast<size_t>(slice.count)});
    exchange(call.dtype, parcels);
  }

  const nccl::Api& api_;
  std::shared_ptr<ProcessGroup> host_;
  std::shared_ptr<DeviceQueue> queue_;
  NcclSettings settings_;
  nccl::Communicator communicator_;
};

}  // namespace

std::shared_ptr<NcclGroup> make_nccl_group(const nccl::Api& api, std::shared_ptr<ProcessGroup> host,
                                           std::shared_ptr<DeviceQueue> queue, NcclSettings settings) {
  COLLIE_ASSERT(host != nullptr && queue != nullptr, "{} needs a group on the host and a queue of its device",
                settings.name);
  if (!settings.account) settings.account = std::make_shared<MemoryAccount>();
  return std::make_shared<GroupOverNccl>(api, std::move(host), std::move(queue), std::move(settings));
}

}  // namespace collie
