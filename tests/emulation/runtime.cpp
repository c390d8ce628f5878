// Streams, events and memory of the emulated device.
#include <array>
#include <atomic>
#include <cstdio>
#include <limits>
#include <map>

#include "tests/emulation/streams.hpp"

using collie::emulation::BlockKind;
using collie::emulation::EventState;
using collie::emulation::Work;

namespace {

std::atomic<int> device_count{1};
std::atomic<cudaError_t> failure{cudaSuccess};
thread_local int current_device = 0;

// The blocks that there are, by address. Blocks go when the stream that frees them has come so far; their
// bytes may be had again at once, as they are in the order of that stream.
class Blocks {
 public:
  // Null where a device has not so many bytes left.
  void* allocate(size_t bytes, BlockKind kind) {
    const std::lock_guard lock(mutex_);
    if (kind == BlockKind::device && used_ + bytes > most_) return nullptr;
    // Not a byte more than was asked for, so that the address sanitizer sees who goes beyond.
    void* block = nullptr;
    if (posix_memalign(&block, 256, std::max<size_t>(bytes, 1)) != 0) return nullptr;
    blocks_[block] = {bytes, kind};
    if (kind == BlockKind::device) used_ += bytes;
    return block;
  }
  void give_back_bytes(void* block) {
    const std::lock_guard lock(mutex_);
    used_ -= blocks_.at(block).bytes;
  }
  void free(void* block) {
    const std::lock_guard lock(mutex_);
    blocks_.erase(block);
    std::free(block);
  }
  BlockKind kind_of(const void* address) {
    const std::lock_guard lock(mutex_);
    const auto after = blocks_.upper_bound(address);
    if (after == blocks_.begin()) return BlockKind::unknown;
    const auto& [start, block] = *std::prev(after);
    const auto offset =
        static_cast<size_t>(static_cast<const char*>(address) - static_cast<const char*>(start));
    return offset < std::max<size_t>(block.bytes, 1) ? block.kind : BlockKind::unknown;
  }
  void limit(size_t bytes) {
    const std::lock_guard lock(mutex_);
    most_ = bytes;
  }
  size_t used() {
    const std::lock_guard lock(mutex_);
    return used_;
  }

 private:
  struct Block {
    size_t bytes;
    BlockKind kind;
  };
  std::mutex mutex_;
  std::map<const void*, Block> blocks_;
  size_t used_ = 0, most_ = std::numeric_limits<size_t>::max();
};

// Never destroyed: streams free blocks when they end.
Blocks& blocks() {
  static Blocks* const all = new Blocks;
  return *all;
}

Work copy_of(void* to, const void* from, std::function<void()> run) {
  return {Work::Kind::copy, std::move(run), collie::emulation::kind_of(from), collie::emulation::kind_of(to)};
}

// A graph would read or write the host's memory whenever it is launched: only page-locked memory is left
// alone.
cudaError_t put_copy(cudaStream_t stream, Work copy) {
  const bool pageable = copy.from == BlockKind::unknown || copy.to == BlockKind::unknown;
  if (stream->capture && pageable) return stream->refuse_in_capture();
  return stream->put(std::move(copy));
}

}  // namespace

constexpr int most_devices = 128;  // tests have a device for each of many ranks

struct CUmemPoolHandle_st {
  std::atomic<uint64_t> release_threshold{0};
  std::array<std::atomic<cudaMemAccessFlags>, most_devices> access{};  // of other devices
};

namespace {

std::array<CUmemPoolHandle_st, most_devices> pools;  // settings alone: all devices have one memory

}  // namespace

void CUstream_st::push(std::function<void()> item) {
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return queue.size() < queue_bound; });
  queue.push_back(std::move(item));
  changed.notify_all();
}

bool CUstream_st::idle() {
  const std::lock_guard lock(mutex);
  return queue.empty() && !at_work;
}

cudaError_t CUstream_st::put(Work piece) {
  if (!capture) {
    push(std::move(piece.run));
    return cudaSuccess;
  }
  if (!capture->valid) return cudaErrorStreamCaptureInvalidated;
  capture->work.push_back(std::move(piece));
  return cudaSuccess;
}

void CUstream_st::work() {
  std::unique_lock lock(mutex);
  while (true) {
    changed.wait(lock, [&] { return !queue.empty() || ending; });
    if (queue.empty()) return;
    const std::function<void()> item = std::move(queue.front());
    queue.pop_front();
    at_work = true;
    lock.unlock();
    item();
    lock.lock();
    at_work = false;
    changed.notify_all();
  }
}

namespace collie::emulation {
BlockKind kind_of(const void* address) {
  return blocks().kind_of(address);
}
cudaError_t enqueue(CUstream_st* stream, std::function<void()> work) {
  return stream->put({Work::Kind::kernel, std::move(work)});
}
void set_device_count(int count) {
  device_count.store(count);
}
void fail_devices(cudaError_t error) {
  failure.store(error);
}
void limit_memory(size_t bytes) {
  blocks().limit(bytes);
}
size_t used_memory() {
  return blocks().used();
}
}  // namespace collie::emulation

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorIllegalState:
      return "the operation cannot be performed in the present state";
    case cudaErrorLaunchFailure:
      return "unspecified launch failure";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated:
      return "operation failed due to a previous error during capture";
    case cudaErrorStreamCaptureMerge:
      return "operation would result in a merge of separate capture sequences";
    case cudaErrorStreamCaptureIsolation:
      return "dependency created on uncaptured work in another stream";
    case cudaErrorCapturedEvent:
      return "operation not permitted on an event last recorded in a capturing stream";
    case cudaErrorGraphExecUpdateFailure:
      return "the graph update was not performed because it included changes which violated constraints";
    default:
      return "an error";
  }
}
cudaError_t cudaGetLastError() {
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = device_count.load();
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  *properties = {"emulated", {}, 8, 0, 4, size_t{1} << 32, 160 * 1024};
  std::snprintf(properties->uuid.bytes, sizeof properties->uuid.bytes, "emulated %d", device);
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  current_device = device;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = current_device;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = 0;
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *free = *total = size_t{1} << 32;
  return cudaSuccess;
}

// Freed in the order of the stream, as the allocator promises; poisoned, so that what reads it sees NaN. A
// graph's own memory is not emulated.
cudaError_t cudaMallocAsync(void** block, size_t bytes, cudaStream_t stream) {
  if (const cudaError_t refused = stream->refuse_in_capture(); refused != cudaSuccess) return refused;
  *block = blocks().allocate(bytes, BlockKind::device);
  if (*block == nullptr) return cudaErrorMemoryAllocation;
  std::memset(*block, 0xFF, bytes);
  return cudaSuccess;
}
cudaError_t cudaFreeAsync(void* block, cudaStream_t stream) {
  if (const cudaError_t refused = stream->refuse_in_capture(); refused != cudaSuccess) return refused;
  blocks().give_back_bytes(block);
  stream->push([block] { blocks().free(block); });
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** block, size_t bytes) {
  *block = blocks().allocate(bytes, BlockKind::page_locked);
  return *block == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}
cudaError_t cudaFreeHost(void* block) {
  blocks().free(block);
  return cudaSuccess;
}
cudaError_t cudaDeviceCanAccessPeer(int* can, int device, int peer) {
  *can = device != peer ? 1 : 0;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int device) {
  if (device < 0 || device >= most_devices) return cudaErrorInvalidValue;
  *pool = &pools.at(static_cast<size_t>(device));
  return cudaSuccess;
}
cudaError_t cudaMemPoolSetAccess(cudaMemPool_t pool, const cudaMemAccessDesc* accesses, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    const auto& [location, flags] = accesses[i];
    if (location.type != cudaMemLocationTypeDevice || location.id < 0 || location.id >= most_devices)
      return cudaErrorInvalidValue;
    pool->access.at(static_cast<size_t>(location.id)).store(flags);
  }
  return cudaSuccess;
}
cudaError_t cudaMemPoolGetAccess(cudaMemAccessFlags* flags, cudaMemPool_t pool, cudaMemLocation* location) {
  *flags = pool->access.at(static_cast<size_t>(location->id)).load();
  return cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value) {
  if (attribute != cudaMemPoolAttrReleaseThreshold) return cudaErrorInvalidValue;
  pool->release_threshold.store(*static_cast<uint64_t*>(value));
  return cudaSuccess;
}
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value) {
  if (attribute != cudaMemPoolAttrReleaseThreshold) return cudaErrorInvalidValue;
  *static_cast<uint64_t*>(value) = pool->release_threshold.load();
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  return put_copy(stream, copy_of(to, from, [=] { std::memcpy(to, from, bytes); }));
}
cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                              size_t height, cudaMemcpyKind, cudaStream_t stream) {
  return put_copy(stream, copy_of(to, from, [=] {
                    for (size_t row = 0; row < height; ++row)
                      std::memcpy(static_cast<char*>(to) + row * to_pitch,
                                  static_cast<const char*>(from) + row * from_pitch, width);
                  }));
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  return stream->put({Work::Kind::set, [=] { std::memset(to, value, bytes); }});
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new CUstream_st;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (const cudaError_t refused = stream->refuse_in_capture(); refused != cudaSuccess) return refused;
  const auto done = std::make_shared<EventState>();
  stream->push([done] { done->reach(1); });
  done->wait(1);
  return failure.load();
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  if (const cudaError_t refused = stream->refuse_in_capture(); refused != cudaSuccess) return refused;
  if (const cudaError_t failed = failure.load(); failed != cudaSuccess) return failed;
  return stream->idle() ? cudaSuccess : cudaErrorNotReady;
}

// Streams that join another's capture, as waiting for one of its events makes them, are not emulated.
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (stream->capture) {
    if (event->captured == stream->capture) return cudaSuccess;
    if (!event->captured) return stream->capture->invalidate(cudaErrorStreamCaptureIsolation);
    event->captured->valid = false;
    return stream->capture->invalidate(cudaErrorStreamCaptureMerge);
  }
  if (event->captured) return event->captured->invalidate(cudaErrorStreamCaptureUnsupported);
  const auto state = event->state;
  uint64_t number;
  {
    const std::lock_guard lock(state->mutex);
    number = state->recorded;
  }
  stream->push([state, number] { state->wait(number); });
  return cudaSuccess;
}
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  return stream->put({Work::Kind::host, [=] { function(data); }});
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  event->captured = stream->capture;
  if (stream->capture) return stream->capture->valid ? cudaSuccess : cudaErrorStreamCaptureInvalidated;
  const auto state = event->state;
  uint64_t number;
  {
    const std::lock_guard lock(state->mutex);
    number = ++state->recorded;
  }
  stream->push([state, number] { state->reach(number); });
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  if (event->captured) return event->captured->invalidate(cudaErrorCapturedEvent);
  if (const cudaError_t failed = failure.load(); failed != cudaSuccess) return failed;
  const std::lock_guard lock(event->state->mutex);
  return event->state->reached >= event->state->recorded ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (event->captured) return event->captured->invalidate(cudaErrorCapturedEvent);
  uint64_t number;
  {
    const std::lock_guard lock(event->state->mutex);
    number = event->state->recorded;
  }
  event->state->wait(number);
  return failure.load();
}
