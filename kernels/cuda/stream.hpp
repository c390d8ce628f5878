// A queue of work on one device, its events, and what the host may learn of its progress.
#pragma once

#include <functional>
#include <memory>

#include "kernels/cuda/graph_recorder.hpp"

struct CUevent_st;

namespace collie::cuda {

// A point in a stream's work.
class Event {
 public:
  Event();
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  bool done() const;  // true if it was never recorded
  void wait() const;  // blocks the host
  CUevent_st* native() const { return event_; }

 private:
  CUevent_st* event_ = nullptr;
};

// Ends with the work that was queued. Events, waits and calls of the host come behind everything that the
// calling thread has queued. While another thread records a task (as_graphs), they come behind what that
// thread has flushed. A thread that shows another thread its work must have recorded an event for it.
class Stream {
 public:
  explicit Stream(int device);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  int device() const { return device_; }
  // For kernels, and for copies between device memory and page-locked memory. It is the stream or, while the
  // calling thread records a task, a graph that will go there. Use it at once.
  CUstream_st* native();
  // For everything else: the stream, including all that the calling thread has queued.
  CUstream_st* immediate();
  // The stream, without what is being recorded, for uses that are ordered in another way.
  CUstream_st* bare() const { return stream_; }

  // Calls `work`. From the second time that `task` comes, what `work` puts on native() goes to the device in
  // graphs. What `work` has queued is in the stream when this returns or throws. Calls must not be nested.
  void as_graphs(int64_t task, const std::function<void()>& work);
  GraphRecorder& graphs() { return graphs_; }

  void record(Event& event);
  void wait(const Event& event);  // what is queued from now on starts after the event
  void synchronize();             // blocks the host until all queued work is done
  // Throws std::runtime_error if queued work has failed or is lost. Waits for nothing.
  void throw_if_failed() const;
  // Calls `function` on a thread of the driver when all queued work is done. It may not call CUDA and should
  // only send a message.
  void when_done(std::function<void()> function);

 private:
  static CUstream_st* make(int device);

  int device_;
  CUstream_st* stream_;
  GraphRecorder graphs_{stream_};
};

}  // namespace collie::cuda
