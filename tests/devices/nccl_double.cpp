#include "tests/devices/nccl_double.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>

#include <cuda_runtime.h>
#include "kernels/host_data.hpp"

namespace collie::test {
namespace {

using nccl::DataType;
using nccl::Result;

enum class Kind { all_reduce, reduce_scatter, all_gather, broadcast, send, recv };

struct Ask {
  Kind kind;
  const std::byte* in = nullptr;
  std::byte* out = nullptr;
  size_t count = 0;
  DataType type = DataType::float32;
  int peer = -1;  // or root
};

size_t size_of(DataType type) {
  return type == DataType::float64 ? 8 : type == DataType::bfloat16 ? 2 : 4;
}

std::string describe(const Ask& ask) {
  static const char* const names[] = {"all_reduce", "reduce_scatter", "all_gather",
                                      "broadcast",  "send",           "recv"};
  const char* const type = ask.type == DataType::float64    ? "float64"
                           : ask.type == DataType::bfloat16 ? "bfloat16"
                           : ask.type == DataType::int32    ? "int32"
                                                            : "float32";
  std::string text = names[static_cast<int>(ask.kind)];
  if (ask.kind == Kind::broadcast || ask.kind == Kind::recv) text += fmt::format(" from {}", ask.peer);
  if (ask.kind == Kind::send) text += fmt::format(" to {}", ask.peer);
  return text + fmt::format(" of {} {}", ask.count, type);
}

template <class T>
void add(T* sum, const T* addend, size_t count) {
  for (size_t i = 0; i < count; ++i) sum[i] += addend[i];
}

void add(DataType type, std::byte* sum, const std::byte* addend, size_t count) {
  if (type == DataType::float32)
    return add(reinterpret_cast<float*>(sum), reinterpret_cast<const float*>(addend), count);
  if (type == DataType::float64)
    return add(reinterpret_cast<double*>(sum), reinterpret_cast<const double*>(addend), count);
  auto* const to = reinterpret_cast<uint16_t*>(sum);
  const auto* const from = reinterpret_cast<const uint16_t*>(addend);
  for (size_t i = 0; i < count; ++i) to[i] = host::to_bf16(host::from_bf16(to[i]) + host::from_bf16(from[i]));
}

// One collective, or one transfer, of all who take part.
struct Encounter {
  Encounter(const Ask& ask, int rank, size_t needed) : first(ask), first_rank(rank), ends(needed) {}

  Ask first;  // who came first, on the host
  int first_rank;
  std::vector<std::optional<Ask>> ends;  // who has come on the device; of a transfer: sender, receiver
  size_t calls = 0;                      // who has come on the host
  bool over = false, dead = false;
  bool differ = false;  // the calls do not fit together: they are told so, and nothing is computed

  void come(size_t place, const Ask& ask) {
    ends[place] = ask;
    if (dead || !std::all_of(ends.begin(), ends.end(), [](const auto& end) { return end.has_value(); }))
      return;
    if (!differ) work();
    over = true;
  }

  void work() {
    const size_t bytes = first.count * size_of(first.type);
    switch (first.kind) {
      case Kind::all_reduce: {
        const auto sum = sum_of(0, first.count);
        for (const auto& end : ends) std::memcpy(end->out, sum.data(), sum.size());
        return;
      }
      case Kind::reduce_scatter: {
        std::vector<std::vector<std::byte>> sums;
        for (size_t part = 0; part < ends.size(); ++part) sums.push_back(sum_of(part * bytes, first.count));
        for (size_t part = 0; part < ends.size(); ++part)
          std::memcpy(ends[part]->out, sums[part].data(), bytes);
        return;
      }
      case Kind::all_gather: {
        std::vector<std::byte> whole;
        for (const auto& end : ends) whole.insert(whole.end(), end->in, end->in + bytes);
        for (const auto& end : ends) std::memcpy(end->out, whole.data(), whole.size());
        return;
      }
      case Kind::broadcast:
        for (const auto& end : ends) std::memmove(end->out, ends[static_cast<size_t>(first.peer)]->in, bytes);
        return;
      default:
        std::memcpy(ends[1]->out, ends[0]->in, bytes);
    }
  }

  std::vector<std::byte> sum_of(size_t offset, size_t count) const {
    const std::byte* const last = ends.back()->in + offset;
    std::vector<std::byte> sum(last, last + count * size_of(first.type));
    for (size_t rank = ends.size() - 1; rank-- > 0;)
      add(first.type, sum.data(), ends[rank]->in + offset, count);
    return sum;
  }
};

struct Rank {
  int number = 0, device = 0;
  Result state = Result::in_progress;
  std::string error;
  bool aborted = false;
  uint64_t collectives = 0;
  std::map<std::pair<int, int>, uint64_t> transfers;       // by sender and receiver
  std::vector<std::shared_ptr<Encounter>> first_meetings;  // of the call in progress

  // With the clique's mutex held.
  bool connected() const {
    return std::all_of(first_meetings.begin(), first_meetings.end(),
                       [](const auto& encounter) { return encounter->calls == 2; });
  }
};

struct Clique {
  explicit Clique(int size) : ranks(static_cast<size_t>(size)) {}

  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::shared_ptr<Rank>> ranks;
  std::map<uint64_t, std::shared_ptr<Encounter>> collectives;
  std::map<std::tuple<int, int, uint64_t>, std::shared_ptr<Encounter>> transfers;

  bool complete() const {
    return std::all_of(ranks.begin(), ranks.end(), [](const auto& rank) { return rank != nullptr; });
  }
  void fail(Result result, const std::string& why, int except = -1) {
    for (const auto& rank : ranks)
      if (rank && rank->number != except) {
        rank->state = result;
        rank->error = why;
      }
  }
};

bool alike(const Ask& a, const Ask& b) {
  if (a.count != b.count || a.type != b.type) return false;
  const bool transfer = a.kind == Kind::send || a.kind == Kind::recv;
  return transfer ? a.kind != b.kind : a.kind == b.kind && a.peer == b.peer;
}

struct World {
  std::mutex mutex;
  uint64_t ids = 0;
  std::map<uint64_t, std::shared_ptr<Clique>> cliques;
  std::map<int, std::vector<std::string>> calls;  // by device
};

World& world() {
  static World* const world = new World;
  return *world;
}

}  // namespace
}  // namespace collie::test

struct ncclComm {
  std::shared_ptr<collie::test::Clique> clique;
  std::shared_ptr<collie::test::Rank> rank;
};

namespace collie::test {
namespace {

struct Part {
  std::shared_ptr<Encounter> encounter;
  size_t place = 0;
  Ask ask;
};

// The encounter of a rank's next call of this kind, which must be what the others called.
Part next(Clique& clique, Rank& rank, const Ask& ask) {
  Part part{nullptr, static_cast<size_t>(rank.number), ask};
  size_t needed = clique.ranks.size();
  std::shared_ptr<Encounter>* place = nullptr;
  bool first_on_its_way = false;
  if (ask.kind == Kind::send || ask.kind == Kind::recv) {
    const bool sends = ask.kind == Kind::send;
    const std::pair<int, int> way =
        sends ? std::pair(rank.number, ask.peer) : std::pair(ask.peer, rank.number);
    part.place = sends ? 0 : 1;
    needed = 2;
    place = &clique.transfers[{way.first, way.second, rank.transfers[way]++}];
    first_on_its_way = rank.transfers[way] == 1;
  } else {
    place = &clique.collectives[rank.collectives++];
  }
  if (!*place)
    *place = std::make_shared<Encounter>(ask, rank.number, needed);
  else if (!alike((*place)->first, ask)) {
    (*place)->differ = true;
    clique.fail(Result::invalid_usage,
                fmt::format("this hangs: rank {} calls {}, rank {} calls {}", (*place)->first_rank,
                            describe((*place)->first), rank.number, describe(ask)));
  }
  part.encounter = *place;
  ++part.encounter->calls;
  if (first_on_its_way) rank.first_meetings.push_back(part.encounter);
  return part;
}

void run_on_device(Clique& clique, const Rank& rank, const std::vector<Part>& parts) {
  std::unique_lock lock(clique.mutex);
  if (!rank.aborted)
    for (const Part& part : parts) part.encounter->come(part.place, part.ask);
  clique.changed.notify_all();
  clique.changed.wait(lock, [&] {
    return rank.aborted ||
           std::all_of(parts.begin(), parts.end(), [](const Part& part) { return part.encounter->over; });
  });
  for (const Part& part : parts)
    if (!part.encounter->over) part.encounter->dead = true;
}

Result launch(ncclComm* comm, const std::vector<Ask>& asks, CUstream_st* stream) {
  const auto clique = comm->clique;
  const auto rank = comm->rank;
  {
    const std::lock_guard lock(world().mutex);
    for (const Ask& ask : asks) world().calls[rank->device].push_back(describe(ask));
  }
  std::vector<Part> parts;
  {
    const std::lock_guard lock(clique->mutex);
    if (rank->state == Result::in_progress) {
      rank->error = "used before the call before was done";
      return rank->state = Result::invalid_usage;
    }
    if (rank->state != Result::success) return rank->state;
    rank->state = Result::in_progress;
    rank->first_meetings.clear();
    for (const Ask& ask : asks) parts.push_back(next(*clique, *rank, ask));
  }
  emulation::enqueue(stream, [clique, rank, parts] { run_on_device(*clique, *rank, parts); });
  return Result::in_progress;
}

struct GroupOfCalls {
  int depth = 0;
  ncclComm* comm = nullptr;
  CUstream_st* stream = nullptr;
  std::vector<Ask> asks;
};
GroupOfCalls& group_of_calls() {
  static thread_local GroupOfCalls group;
  return group;
}

Result call(const Ask& ask, ncclComm* comm, CUstream_st* stream) {
  GroupOfCalls& group = group_of_calls();
  if (group.depth == 0) return launch(comm, {ask}, stream);
  if (group.comm != nullptr && (group.comm != comm || group.stream != stream))
    return Result::invalid_usage;  // NCCL allows it, the engine does not do it
  group.comm = comm;
  group.stream = stream;
  group.asks.push_back(ask);
  return Result::success;
}

Result init(ncclComm** comm, int ranks, nccl::UniqueId id, int number, nccl::Config* config) {
  if (config->magic != 0xcafebeef || config->blocking != 0) return Result::invalid_argument;
  uint64_t key = 0;
  std::memcpy(&key, id.bytes, sizeof key);
  std::shared_ptr<Clique> clique;
  {
    const std::lock_guard lock(world().mutex);
    auto& known = world().cliques[key];
    if (!known) known = std::make_shared<Clique>(ranks);
    clique = known;
  }
  auto rank = std::make_shared<Rank>();
  rank->number = number;
  cudaGetDevice(&rank->device);
  const std::lock_guard lock(clique->mutex);
  if (ranks != static_cast<int>(clique->ranks.size()) || clique->ranks[static_cast<size_t>(number)])
    return Result::invalid_argument;
  clique->ranks[static_cast<size_t>(number)] = rank;
  for (const auto& other : clique->ranks)
    if (other && other != rank && other->device == rank->device)
      clique->fail(Result::invalid_usage, fmt::format("duplicate GPU: ranks {} and {} are both on device {}",
                                                      std::min(number, other->number),
                                                      std::max(number, other->number), rank->device));
  *comm = new ncclComm{clique, rank};
  return Result::in_progress;
}

Result get_async_error(ncclComm* comm, Result* state) {
  const std::lock_guard lock(comm->clique->mutex);
  Rank& rank = *comm->rank;
  if (rank.state == Result::in_progress && comm->clique->complete() && rank.connected())
    rank.state = Result::success;
  *state = rank.state;
  return Result::success;
}

// What has failed is left to abort(), as work may be under way that nobody will end.
Result finalize(ncclComm* comm) {
  const std::lock_guard lock(comm->clique->mutex);
  const Result state = comm->rank->state;
  return state == Result::in_progress ? Result::success : state;
}

Result abort(ncclComm* comm) {
  {
    const std::lock_guard lock(comm->clique->mutex);
    comm->rank->aborted = true;
    comm->clique->changed.notify_all();
  }
  delete comm;
  return Result::success;
}

const std::byte* bytes(const void* data) {
  return static_cast<const std::byte*>(data);
}
std::byte* bytes(void* data) {
  return static_cast<std::byte*>(data);
}

nccl::Api make_double() {
  nccl::Api api{};
  api.get_version = [](int* version) {
    *version = 21400;
    return Result::success;
  };
  api.get_unique_id = [](nccl::UniqueId* id) {
    const std::lock_guard lock(world().mutex);
    const uint64_t key = ++world().ids;
    std::memcpy(id->bytes, &key, sizeof key);
    return Result::success;
  };
  api.comm_init_rank_config = init;
  api.comm_finalize = finalize;
  api.comm_destroy = [](ncclComm* comm) {
    delete comm;
    return Result::success;
  };
  api.comm_abort = abort;
  api.comm_get_async_error = get_async_error;
  api.get_error_string = [](Result result) {
    return result == Result::remote_error    ? "remote process exited or there was a network error"
           : result == Result::invalid_usage ? "invalid usage"
                                             : "an error";
  };
  api.get_last_error = [](ncclComm* comm) {
    static thread_local std::string text;
    if (comm == nullptr) return "";
    const std::lock_guard lock(comm->clique->mutex);
    text = comm->rank->error;
    return text.c_str();
  };
  api.group_start = [] {
    ++group_of_calls().depth;
    return Result::success;
  };
  api.group_end = [] {
    GroupOfCalls group = std::exchange(group_of_calls(), {});
    return group.asks.empty() ? Result::success : launch(group.comm, group.asks, group.stream);
  };
  api.all_reduce = [](const void* in, void* out, size_t count, DataType type, nccl::Reduction, ncclComm* comm,
                      CUstream_st* stream) {
    return call({Kind::all_reduce, bytes(in), bytes(out), count, type}, comm, stream);
  };
  api.reduce_scatter = [](const void* in, void* out, size_t count, DataType type, nccl::Reduction,
                          ncclComm* comm, CUstream_st* stream) {
    return call({Kind::reduce_scatter, bytes(in), bytes(out), count, type}, comm, stream);
  };
  api.all_gather = [](const void* in, void* out, size_t count, DataType type, ncclComm* comm,
                      CUstream_st* stream) {
    return call({Kind::all_gather, bytes(in), bytes(out), count, type}, comm, stream);
  };
  api.broadcast = [](const void* in, void* out, size_t count, DataType type, int root, ncclComm* comm,
                     CUstream_st* stream) {
    return call({Kind::broadcast, bytes(in), bytes(out), count, type, root}, comm, stream);
  };
  api.send = [](const void* data, size_t count, DataType type, int peer, ncclComm* comm,
                CUstream_st* stream) {
    return call({Kind::send, bytes(data), nullptr, count, type, peer}, comm, stream);
  };
  api.recv = [](void* data, size_t count, DataType type, int peer, ncclComm* comm, CUstream_st* stream) {
    return call({Kind::recv, nullptr, bytes(data), count, type, peer}, comm, stream);
  };
  return api;
}

}  // namespace

const nccl::Api& nccl_double() {
  static const nccl::Api api = make_double();
  return api;
}

void lose_nccl_rank(int rank) {
  const std::lock_guard lock(world().mutex);
  for (const auto& [id, clique] : world().cliques) {
    const std::lock_guard members(clique->mutex);
    clique->fail(Result::remote_error, fmt::format("connection closed by rank {}", rank), rank);
  }
}

std::vector<std::string> take_nccl_calls(int device) {
  const std::lock_guard lock(world().mutex);
  return std::exchange(world().calls[device], {});
}

}  // namespace collie::test
