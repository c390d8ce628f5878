#include "kernels/cuda/stream.hpp"

#include "kernels/cuda/api.hpp"

namespace collie::cuda {

Event::Event() {
  check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "creating an event");
}
Event::~Event() {
  cudaEventDestroy(event_);
}

bool Event::done() const {
  const cudaError_t status = cudaEventQuery(event_);
  if (status == cudaErrorNotReady) return false;
  check(status, "asking for an event");
  return true;
}

void Event::wait() const {
  check(cudaEventSynchronize(event_), "waiting for an event");
}

Stream::Stream(int device) : device_(device), stream_(make(device)) {}
Stream::~Stream() {
  cudaStreamSynchronize(stream_);
  cudaStreamDestroy(stream_);
}

CUstream_st* Stream::make(int device) {
  check(cudaSetDevice(device), "choosing a device");
  CUstream_st* stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "creating a stream");
  return stream;
}

CUstream_st* Stream::native() {
  graphs_.throw_if_lost();
  return graphs_.records() ? graphs_.capturing() : stream_;
}

CUstream_st* Stream::immediate() {
  graphs_.throw_if_lost();
  graphs_.flush();
  return stream_;
}

void Stream::as_graphs(int64_t task, const std::function<void()>& work) {
  graphs_.begin(task);
  try {
    work();
  } catch (...) {
    try {
      graphs_.end();
    } catch (const std::exception&) {  // the next use reports it
    }
    throw;
  }
  graphs_.end();
}

void Stream::record(Event& event) {
  check(cudaEventRecord(event.native(), immediate()), "recording an event");
}
void Stream::wait(const Event& event) {
  check(cudaStreamWaitEvent(immediate(), event.native(), 0), "making a stream wait");
}
void Stream::synchronize() {
  check(cudaStreamSynchronize(immediate()), "waiting for the device");
}

void Stream::throw_if_failed() const {
  graphs_.throw_if_lost();
  const cudaError_t status = cudaStreamQuery(stream_);
  if (status != cudaErrorNotReady) check(status, "work on the device");
}

void Stream::when_done(std::function<void()> function) {
  CUstream_st* const stream = immediate();
  auto* held = new std::function<void()>(std::move(function));
  const auto call = [](void* data) {
    const std::unique_ptr<std::function<void()>> owned(static_cast<std::function<void()>*>(data));
    (*owned)();
  };
  const cudaError_t status = cudaLaunchHostFunc(stream, call, held);
  if (status != cudaSuccess) delete held;
  check(status, "queueing a call of the host");
}

}  // namespace collie::cuda
