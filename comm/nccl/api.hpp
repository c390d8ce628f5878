// The part of NCCL's C interface (nccl.h, 2.14 and newer) that the engine calls, as a table of functions. It
// is filled from the library at run time, or by a test. Names and meanings are NCCL's.
#pragma once

#include <cstddef>
#include <string>

struct CUstream_st;
struct ncclComm;

namespace collie::nccl {

enum class Result : int {
  success = 0,
  unhandled_cuda_error = 1,
  system_error = 2,
  internal_error = 3,
  invalid_argument = 4,
  invalid_usage = 5,
  remote_error = 6,
  in_progress = 7
};
enum class DataType : int { int32 = 2, float32 = 7, float64 = 8, bfloat16 = 9 };
enum class Reduction : int { sum = 0 };

struct UniqueId {
  char bytes[128];
};

// ncclConfig_t as it was in 2.14. Newer versions read no more of it than `size` says.
struct Config {
  size_t size = sizeof(Config);
  unsigned magic = 0xcafebeef;
  unsigned version = 21400;
  int blocking = 0;  // calls return at once; get_async_error() tells when they are done
};

struct Api {
  Result (*get_version)(int* version);
  Result (*get_unique_id)(UniqueId* id);
  Result (*comm_init_rank_config)(ncclComm** comm, int ranks, UniqueId id, int rank, Config* config);
  Result (*comm_finalize)(ncclComm* comm);
  Result (*comm_destroy)(ncclComm* comm);
  Result (*comm_abort)(ncclComm* comm);
  Result (*comm_get_async_error)(ncclComm* comm, Result* state);
  const char* (*get_error_string)(Result result);
  const char* (*get_last_error)(ncclComm* comm);
  Result (*group_start)();
  Result (*group_end)();
  Result (*all_reduce)(const void* in, void* out, size_t count, DataType type, Reduction reduction,
                       ncclComm* comm, CUstream_st* stream);
  Result (*reduce_scatter)(const void* in, void* out, size_t out_count, DataType type, Reduction reduction,
                           ncclComm* comm, CUstream_st* stream);
  Result (*all_gather)(const void* in, void* out, size_t in_count, DataType type, ncclComm* comm,
                       CUstream_st* stream);
  Result (*broadcast)(const void* in, void* out, size_t count, DataType type, int root, ncclComm* comm,
                      CUstream_st* stream);
  Result (*send)(const void* data, size_t count, DataType type, int peer, ncclComm* comm,
                 CUstream_st* stream);
  Result (*recv)(void* data, size_t count, DataType type, int peer, ncclComm* comm, CUstream_st* stream);
};

// Holds the table that this process has, or the reason why there is none.
struct Available {
  const Api* api = nullptr;
  std::string description;  // "NCCL 2.27.3 (libnccl.so.2)", or what was looked for and what was missing
};

// Returns libnccl.so.2, loaded at the first call, unless use() has put something in its place.
Available available();
// For tests: makes available() return `api` from now on; null restores the library. It is not thread-safe.
void use(const Api* api);

}  // namespace collie::nccl
