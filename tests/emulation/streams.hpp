// What the emulated device's streams and events are made of. For this folder alone.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include <cuda_runtime.h>

namespace collie::emulation {

// Where recordings of an event stand. What waits for a recording waits for its number.
struct EventState {
  std::mutex mutex;
  std::condition_variable changed;
  uint64_t recorded = 0, reached = 0;

  void reach(uint64_t number) {
    const std::lock_guard lock(mutex);
    reached = std::max(reached, number);
    changed.notify_all();
  }
  void wait(uint64_t number) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return reached >= number; });
  }
};

enum class BlockKind : uint8_t { device, page_locked, unknown };
// Of the block that the address is in.
BlockKind kind_of(const void* address);

// One piece of a stream's work, as graphs know it.
struct Work {
  enum class Kind : uint8_t { kernel, copy, set, host } kind;
  std::function<void()> run;
  BlockKind from = BlockKind::unknown, to = BlockKind::unknown;  // of a copy
};

// What a stream captures. Only what one stream captures alone is emulated.
struct Capture {
  bool valid = true;
  std::vector<Work> work;

  // The capture is of no use any more, for this reason.
  cudaError_t invalidate(cudaError_t reason) {
    valid = false;
    return reason;
  }
};

}  // namespace collie::emulation

struct CUevent_st {
  std::shared_ptr<collie::emulation::EventState> state = std::make_shared<collie::emulation::EventState>();
  std::shared_ptr<collie::emulation::Capture> captured;  // where it was last recorded in a capture
};

// A thread that works off its queue.
struct CUstream_st {
  CUstream_st() : thread([this] { work(); }) {}
  ~CUstream_st() {
    {
      const std::lock_guard lock(mutex);
      ending = true;
    }
    changed.notify_all();
    thread.join();
  }

  void push(std::function<void()> item);
  bool idle();
  // Into the capture, if there is one, else into the queue.
  cudaError_t put(collie::emulation::Work piece);
  // Of what may not be captured: success where nothing is.
  cudaError_t refuse_in_capture() const {
    return capture ? capture->invalidate(cudaErrorStreamCaptureUnsupported) : cudaSuccess;
  }

  std::shared_ptr<collie::emulation::Capture> capture;  // null: none. Used by the capturing thread alone

 private:
  void work();

  static constexpr size_t queue_bound = 1024;  // as a real stream's, a full queue makes the host wait
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::function<void()>> queue;
  bool ending = false, at_work = false;
  std::thread thread;
};
