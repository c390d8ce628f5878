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

Stream::Stream(int device) : device_(device) {
  check(cudaSetDevice(device), "choosing a device");
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "creating a stream");
}
Stream::~Stream() {
  cudaStreamSynchronize(stream_);
  cudaStreamDestroy(stream_);
}

void Stream::record(Event& event) {
  check(cudaEventRecord(event.native(), stream_), "recording an event");
}
void Stream::wait(const Event& event) {
  check(cudaStreamWaitEvent(stream_, event.native(), 0), "making a stream wait");
}
void Stream::synchronize() {
  check(cudaStreamSynchronize(stream_), "waiting for the device");
}

void Stream::when_done(std::function<void()> function) {
  auto* held = new std::function<void()>(std::move(function));
  const auto call = [](void* data) {
    const std::unique_ptr<std::function<void()>> owned(static_cast<std::function<void()>*>(data));
    (*owned)();
  };
  const cudaError_t status = cudaLaunchHostFunc(stream_, call, held);
  if (status != cudaSuccess) delete held;
  check(status, "queueing a call of the host");
}

}  // namespace collie::cuda
