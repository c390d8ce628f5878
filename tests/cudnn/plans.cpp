// The real cuDNN plans our graphs for a GPU that is only described: what its heuristics propose is compiled,
// and nothing is run. Skipped, visibly, where the library is absent.
#include <dlfcn.h>
#include <fmt/format.h>

#include <filesystem>

#include "kernels/cuda/cudnn/attention_graph.hpp"
#include "tests/catch.hpp"

using namespace collie::cuda;

namespace {

// An H200, as cuDNN describes devices.
constexpr const char* h200 = R"({"deviceName": "NVIDIA H200", "deviceVer": 900, "driverVer": 13000,
  "cudaDeviceId": 0, "pciDeviceId": 0, "isTccDriver": 0, "supportCoopLaunch": 1, "multiProcessorCount": 132,
  "warpSize": 32, "maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64],
  "maxThreadsPerBlock": 1024, "maxThreadsPerSM": 2048, "maxCtasPerSM": 32, "regsPerBlock": 65536,
  "maxRegistersPerSM": 65536, "maxSharedMemoryPerBlock": 49152, "maxSharedMemoryPerBlockOptin": 232448,
  "reservedSharedMemoryPerBlock": 1024, "totalGlobalMem": 150000000000, "l2CacheSize": 62914560,
  "smClockRateKHz": 1980000, "memClockRateKHz": 3201000})";

// cuDNN wants a driver to plan with: the machine's, or else the one that stands in for it.
const Cudnn* library() {
  static const Cudnn* const found = []() -> const Cudnn* {
#ifdef COLLIE_SANITIZE
    WARN("skipped: sanitizers would report on NVIDIA's libraries");
    return nullptr;
#endif
    const auto stand_in =
        std::filesystem::read_symlink("/proc/self/exe").parent_path() / "stand_in_driver" / "libcuda.so.1";
    if (dlopen("libcuda.so.1", RTLD_NOW) == nullptr && dlopen(stand_in.c_str(), RTLD_NOW) == nullptr) {
      WARN("skipped: there is neither a driver nor " << stand_in);
      return nullptr;
    }
    try {
      return &cudnn();
    } catch (const std::runtime_error& missing) {
      WARN("skipped: " << missing.what());
      return nullptr;
    }
  }();
  return found;
}

enum class Direction { forward, backward };

CudnnPlan planned(const CudnnAttentionShape& shape, Direction direction) {
  CudnnDescriptor device(*library(), CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, "a device");
  device.set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, std::string(h200));
  device.finalize();
  CudnnGraph graph = direction == Direction::forward ? cudnn_attention(*library(), shape)
                                                     : cudnn_attention_backward(*library(), shape);
  return graph.plan({nullptr, &device});
}

// Rows of q, k and v in a packed buffer, all else dense but dq.
CudnnAttentionShape shape_of(int64_t heads, int64_t kv_heads, int64_t head_dim, CudnnMask mask,
                             bool window = false) {
  const int64_t packed = (heads + 2 * kv_heads) * head_dim, wide = heads * head_dim,
                narrow = kv_heads * head_dim;
  return {6,     1024,     1024,
          heads, kv_heads, head_dim,
          mask,  window,   {packed, packed, packed, wide, wide, packed, narrow, narrow}};
}

void plans(CudnnAttentionShape shape) {
  INFO(fmt::format("{} heads, {} of keys, of {}; mask {}, window {}, {} documents of {}/{}", shape.heads,
                   shape.kv_heads, shape.head_dim, static_cast<int>(shape.mask), shape.window,
                   shape.documents, shape.queries, shape.keys));
  CHECK(planned(shape, Direction::forward).workspace_bytes() < 1 << 20);
  const int64_t in_order = planned(shape, Direction::backward).workspace_bytes(),
                foreseen = shape.documents * shape.heads * shape.queries * shape.keys * 2;
  CHECK(in_order >= foreseen);
  CHECK(in_order < foreseen + (1 << 20));
  shape.any_order = true;
  CHECK(planned(shape, Direction::backward).workspace_bytes() < 1 << 20);
}

}  // namespace

TEST_CASE("cuDNN has a forward and both backwards of causal attention for an H200") {
  if (library() == nullptr) return;
  plans(shape_of(12, 2, 128, CudnnMask::causal));
}

TEST_CASE("cuDNN has attention for an H200 at any head_dim, grouping, mask and window", "[slow]") {
  if (library() == nullptr) return;
  for (const int64_t head_dim : {8, 64, 72, 256}) plans(shape_of(8, 4, head_dim, CudnnMask::causal));
  plans(shape_of(8, 8, 128, CudnnMask::causal));
  plans(shape_of(7, 1, 128, CudnnMask::none));
  plans(shape_of(8, 2, 64, CudnnMask::causal, true));
  plans(shape_of(8, 2, 64, CudnnMask::causal_last));
  plans(shape_of(8, 2, 128, CudnnMask::causal_last, true));
}

TEST_CASE("cuDNN has attention of a single query against many keys for an H200", "[slow]") {
  if (library() == nullptr) return;
  CudnnAttentionShape shape = shape_of(28, 4, 128, CudnnMask::causal_last);
  shape.queries = 1;
  CHECK(planned(shape, Direction::forward).workspace_bytes() < 1 << 20);
}

TEST_CASE("a head_dim that no engine takes is refused with cuDNN's reason") {
  if (library() == nullptr) return;
  try {
    planned(shape_of(8, 2, 520, CudnnMask::causal), Direction::backward);
    FAIL("there is a plan");
  } catch (const std::runtime_error& refused) {
    CHECK(std::string(refused.what()).starts_with("cuDNN: "));
  }
}
