#include "kernels/cuda/memory/memory_pools.hpp"

#include <limits>
#include <mutex>
#include <set>

#include "kernels/cuda/api.hpp"

namespace collie::cuda {

namespace {

cudaMemPool_t pool_of(int device) {
  cudaMemPool_t pool = nullptr;
  check(cudaDeviceGetDefaultMemPool(&pool, device), "asking for a device's pool of memory");
  return pool;
}

// By default the driver takes back free memory whenever somebody waits for the device.
void keep_what_is_freed(int device) {
  uint64_t all = std::numeric_limits<uint64_t>::max();
  check(cudaMemPoolSetAttribute(pool_of(device), cudaMemPoolAttrReleaseThreshold, &all),
        "setting up a device's pool of memory");
}

// A pool must be opened separately: cudaDeviceEnablePeerAccess does not apply to its memory.
void open_to(int device, int peer) {
  int can = 0;
  check(cudaDeviceCanAccessPeer(&can, peer, device), "asking whether a device can reach another");
  if (can == 0) return;
  cudaMemAccessDesc access{};
  access.location.type = cudaMemLocationTypeDevice;
  access.location.id = peer;
  access.flags = cudaMemAccessFlagsProtReadWrite;
  check(cudaMemPoolSetAccess(pool_of(device), &access, 1), "opening a device's memory to another");
}

}  // namespace

void prepare_memory_pool(int device) {
  static std::mutex mutex;
  static std::set<int>* const prepared = new std::set<int>;  // state of the driver, which outlives statics
  const std::lock_guard lock(mutex);
  if (prepared->count(device) > 0) return;
  check(cudaSetDevice(device), "choosing a device");
  keep_what_is_freed(device);
  for (const int peer : *prepared) {
    open_to(device, peer);
    open_to(peer, device);
  }
  prepared->insert(device);
}

}  // namespace collie::cuda
