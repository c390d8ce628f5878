// A queue of work on one device, its events, and what the host may learn of its progress.
#pragma once

#include <functional>
#include <memory>

struct CUstream_st;
struct CUevent_st;

namespace collie::cuda {

// A point in a stream's work.
class Event {
 public:
  Event();
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  bool done() const;  // true where it was never recorded
  void wait() const;  // blocks the host
  CUevent_st* native() const { return event_; }

 private:
  CUevent_st* event_ = nullptr;
};

// Ends with the work that was queued.
class Stream {
 public:
  explicit Stream(int device);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  int device() const { return device_; }
  CUstream_st* native() const { return stream_; }
  void record(Event& event);
  void wait(const Event& event);  // what is queued from now on starts after the event
  void synchronize();             // blocks the host until all that is queued is done
  // Calls `function` on a thread of the driver's when all that is queued is done. It may not call CUDA and
  // should only send a message.
  void when_done(std::function<void()> function);

 private:
  int device_;
  CUstream_st* stream_ = nullptr;
};

}  // namespace collie::cuda
