#include "comm/nccl/api.hpp"

#include <fmt/format.h>

#include <stdexcept>

#include "base/library.hpp"

namespace collie::nccl {

namespace {

const Api*& replacement() {
  static const Api* api = nullptr;
  return api;
}

struct Loaded {
  Api api{};
  Available available;
};

void fill(Api& api, const Library& library) {
  library.find(api.get_version, "ncclGetVersion");
  library.find(api.get_unique_id, "ncclGetUniqueId");
  library.find(api.comm_init_rank_config, "ncclCommInitRankConfig");
  library.find(api.comm_finalize, "ncclCommFinalize");
  library.find(api.comm_destroy, "ncclCommDestroy");
  library.find(api.comm_abort, "ncclCommAbort");
  library.find(api.comm_get_async_error, "ncclCommGetAsyncError");
  library.find(api.get_error_string, "ncclGetErrorString");
  library.find(api.get_last_error, "ncclGetLastError");
  library.find(api.group_start, "ncclGroupStart");
  library.find(api.group_end, "ncclGroupEnd");
  library.find(api.all_reduce, "ncclAllReduce");
  library.find(api.reduce_scatter, "ncclReduceScatter");
  library.find(api.all_gather, "ncclAllGather");
  library.find(api.broadcast, "ncclBroadcast");
  library.find(api.send, "ncclSend");
  library.find(api.recv, "ncclRecv");
}

// Never destroyed, because communicators of static objects may outlive it otherwise.
const Loaded& loaded() {
  static const Loaded* const result = [] {
    auto* const load = new Loaded;
    try {
      const Library library("NCCL", {"libnccl.so.2", "libnccl.so"});
      fill(load->api, library);
      int version = 0;
      load->api.get_version(&version);
      load->available = {&load->api, fmt::format("NCCL {}.{}.{} ({})", version / 10000, version / 100 % 100,
                                                 version % 100, library.name())};
    } catch (const std::runtime_error& error) {
      load->available = {nullptr, error.what()};
    }
    return load;
  }();
  return *result;
}

}  // namespace

Available available() {
  if (replacement() != nullptr) return {replacement(), "NCCL as a test has it"};
  return loaded().available;
}

void use(const Api* api) {
  replacement() = api;
}

}  // namespace collie::nccl
