// What the driver is told of the devices' pools of memory.
#include <limits>

#include "kernels/cuda/api.hpp"
#include "kernels/cuda/memory/device_memory.hpp"
#include "tests/catch.hpp"

using namespace collie;

namespace {

cudaMemPool_t pool_of(int device) {
  cudaMemPool_t pool = nullptr;
  REQUIRE(cudaDeviceGetDefaultMemPool(&pool, device) == cudaSuccess);
  return pool;
}

cudaMemAccessFlags access_of(int device, int peer) {
  cudaMemAccessFlags flags = cudaMemAccessFlagsProtNone;
  cudaMemLocation location{};
  location.type = cudaMemLocationTypeDevice;
  location.id = peer;
  REQUIRE(cudaMemPoolGetAccess(&flags, pool_of(device), &location) == cudaSuccess);
  return flags;
}

}  // namespace

TEST_CASE("a device keeps the memory that is freed, and opens it to the others that the process uses") {
  for (const int device : {2, 4}) cuda::device_memory(std::make_shared<cuda::Stream>(device));
  for (const int device : {2, 4}) {
    uint64_t threshold = 0;
    REQUIRE(cudaMemPoolGetAttribute(pool_of(device), cudaMemPoolAttrReleaseThreshold, &threshold) ==
            cudaSuccess);
    CHECK(threshold == std::numeric_limits<uint64_t>::max());
  }
  CHECK(access_of(2, 4) == cudaMemAccessFlagsProtReadWrite);
  CHECK(access_of(4, 2) == cudaMemAccessFlagsProtReadWrite);
  CHECK(access_of(2, 3) == cudaMemAccessFlagsProtNone);  // nobody uses it
}
