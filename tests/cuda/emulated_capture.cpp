// What the emulated device captures and what it refuses, as the CUDA Runtime API documents it; and memory
// that is freed while work is recorded.
#include <cuda_runtime.h>
#include "kernels/cuda/cuda_operations.hpp"
#include "tests/catch.hpp"

using namespace collie;

namespace {

struct OwnStream {
  OwnStream() { REQUIRE(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess); }
  ~OwnStream() { cudaStreamDestroy(stream); }
  OwnStream(const OwnStream&) = delete;
  OwnStream& operator=(const OwnStream&) = delete;
  operator cudaStream_t() const { return stream; }
  cudaStream_t stream = nullptr;
};

struct OwnEvent {
  OwnEvent() { REQUIRE(cudaEventCreateWithFlags(&event, cudaEventDisableTiming) == cudaSuccess); }
  ~OwnEvent() { cudaEventDestroy(event); }
  OwnEvent(const OwnEvent&) = delete;
  OwnEvent& operator=(const OwnEvent&) = delete;
  operator cudaEvent_t() const { return event; }
  cudaEvent_t event = nullptr;
};

int* device_ints(cudaStream_t stream, size_t count) {
  void* block = nullptr;
  REQUIRE(cudaMallocAsync(&block, count * sizeof(int), stream) == cudaSuccess);
  return static_cast<int*>(block);
}

void begin(cudaStream_t stream) {
  REQUIRE(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed) == cudaSuccess);
}
cudaGraph_t end(cudaStream_t stream) {
  cudaGraph_t graph = nullptr;
  REQUIRE(cudaStreamEndCapture(stream, &graph) == cudaSuccess);
  return graph;
}

// A graph of kernels that add to `*value`, one for each of `amounts`.
cudaGraph_t additions(cudaStream_t stream, int* value, const std::vector<int>& amounts) {
  begin(stream);
  for (const int amount : amounts)
    REQUIRE(emulation::enqueue(stream, [=] { *value += amount; }) == cudaSuccess);
  return end(stream);
}

cudaGraphExecUpdateResult update(cudaGraphExec_t made, cudaGraph_t graph) {
  cudaGraphExecUpdateResultInfo info{};
  const cudaError_t status = cudaGraphExecUpdate(made, graph, &info);
  CHECK((status == cudaSuccess) == (info.result == cudaGraphExecUpdateSuccess));
  if (status != cudaSuccess) CHECK(status == cudaErrorGraphExecUpdateFailure);
  cudaGraphDestroy(graph);
  return info.result;
}

}  // namespace

TEST_CASE("captured work is done when its graph is launched, as often as that, and not before", "[capture]") {
  const OwnStream stream;
  int value = 0;
  const cudaGraph_t graph = additions(stream, &value, {1, 10});
  cudaStreamSynchronize(stream);
  CHECK(value == 0);
  size_t nodes = 0;
  CHECK(cudaGraphGetNodes(graph, nullptr, &nodes) == cudaSuccess);
  CHECK(nodes == 2);
  cudaGraphExec_t made = nullptr;
  REQUIRE(cudaGraphInstantiate(&made, graph, 0) == cudaSuccess);
  cudaGraphDestroy(graph);
  CHECK(cudaGraphLaunch(made, stream) == cudaSuccess);
  CHECK(cudaGraphLaunch(made, stream) == cudaSuccess);
  CHECK(cudaGraphExecDestroy(made) == cudaSuccess);  // launches that are under way go on
  cudaStreamSynchronize(stream);
  CHECK(value == 22);
}

TEST_CASE("an executable graph takes the arguments of a graph of the same kinds, and no other", "[capture]") {
  const OwnStream stream;
  int value = 0, other = 0;
  const cudaGraph_t graph = additions(stream, &value, {1, 10});
  cudaGraphExec_t made = nullptr;
  REQUIRE(cudaGraphInstantiate(&made, graph, 0) == cudaSuccess);
  cudaGraphDestroy(graph);
  CHECK(update(made, additions(stream, &other, {5, 5})) == cudaGraphExecUpdateSuccess);
  CHECK(update(made, additions(stream, &value, {1})) == cudaGraphExecUpdateErrorTopologyChanged);
  int* const memory = device_ints(stream, 2);
  void* page_locked = nullptr;
  REQUIRE(cudaMallocHost(&page_locked, sizeof(int)) == cudaSuccess);
  const auto add_and = [&](auto second) {
    begin(stream);
    REQUIRE(emulation::enqueue(stream, [&value] { value += 1; }) == cudaSuccess);
    REQUIRE(second() == cudaSuccess);
    return end(stream);
  };
  const auto copy_from = [&](const void* from) {
    return add_and(
        [&, from] { return cudaMemcpyAsync(memory, from, sizeof(int), cudaMemcpyDefault, stream); });
  };
  CHECK(update(made, copy_from(memory + 1)) == cudaGraphExecUpdateErrorNodeTypeChanged);
  CHECK(update(made, add_and([&] { return cudaMemsetAsync(memory, 0, sizeof(int), stream); })) ==
        cudaGraphExecUpdateErrorNodeTypeChanged);
  CHECK(cudaGraphLaunch(made, stream) == cudaSuccess);  // as it was after the last update that succeeded
  cudaStreamSynchronize(stream);
  CHECK(value == 0);
  CHECK(other == 10);
  cudaGraphExecDestroy(made);

  // A copy may be of other addresses, but not of memory of another kind.
  const cudaGraph_t copy = copy_from(memory + 1);
  REQUIRE(cudaGraphInstantiate(&made, copy, 0) == cudaSuccess);
  cudaGraphDestroy(copy);
  CHECK(update(made, copy_from(memory)) == cudaGraphExecUpdateSuccess);
  CHECK(update(made, copy_from(page_locked)) == cudaGraphExecUpdateErrorParametersChanged);
  cudaGraphExecDestroy(made);
  cudaFreeHost(page_locked);
  cudaFreeAsync(memory, stream);
}

TEST_CASE("what may not be captured is refused, and the capture is lost", "[capture]") {
  const OwnStream stream, another;
  const OwnEvent event;
  cudaEventRecord(event, another);
  int pageable = 0;
  int* const memory = device_ints(stream, 1);
  const cudaGraph_t graph = additions(another, &pageable, {1});
  cudaGraphExec_t made = nullptr;
  REQUIRE(cudaGraphInstantiate(&made, graph, 0) == cudaSuccess);
  cudaGraphDestroy(graph);
  void* block = nullptr;
  const auto attempt = [&](cudaError_t expected, const std::function<cudaError_t()>& call) {
    begin(stream);
    CHECK(call() == expected);
    CHECK(emulation::enqueue(stream, [] {}) == cudaErrorStreamCaptureInvalidated);
    cudaGraph_t nothing = nullptr;
    CHECK(cudaStreamEndCapture(stream, &nothing) == cudaErrorStreamCaptureInvalidated);
    CHECK(nothing == nullptr);
    CHECK(cudaStreamSynchronize(stream) == cudaSuccess);  // the stream is not capturing any more
  };
  attempt(cudaErrorStreamCaptureUnsupported, [&] { return cudaStreamSynchronize(stream); });
  attempt(cudaErrorStreamCaptureUnsupported, [&] { return cudaMallocAsync(&block, 4, stream); });
  attempt(cudaErrorStreamCaptureUnsupported, [&] { return cudaFreeAsync(memory, stream); });
  attempt(cudaErrorStreamCaptureUnsupported, [&] { return cudaGraphLaunch(made, stream); });
  attempt(cudaErrorStreamCaptureUnsupported,
          [&] { return cudaMemcpyAsync(memory, &pageable, sizeof(int), cudaMemcpyDefault, stream); });
  attempt(cudaErrorStreamCaptureIsolation, [&] { return cudaStreamWaitEvent(stream, event, 0); });
  const OwnEvent captured;
  const auto recorded = [&] { return cudaEventRecord(captured, stream); };
  attempt(cudaErrorCapturedEvent, [&] { return recorded(), cudaEventQuery(captured); });
  attempt(cudaErrorCapturedEvent, [&] { return recorded(), cudaEventSynchronize(captured); });
  attempt(cudaErrorStreamCaptureUnsupported,
          [&] { return recorded(), cudaStreamWaitEvent(another, captured, 0); });
  begin(another);
  cudaEventRecord(captured, another);
  attempt(cudaErrorStreamCaptureMerge, [&] { return cudaStreamWaitEvent(stream, captured, 0); });
  cudaGraph_t nothing = nullptr;
  CHECK(cudaStreamEndCapture(another, &nothing) == cudaErrorStreamCaptureInvalidated);
  CHECK(cudaEventRecord(captured, another) == cudaSuccess);
  CHECK(cudaEventSynchronize(captured) == cudaSuccess);  // an event as any other again
  cudaGraphExecDestroy(made);
  cudaFreeAsync(memory, stream);
}

TEST_CASE("captures begin and end in their order, on streams that can", "[capture]") {
  const OwnStream stream;
  cudaGraph_t graph = nullptr;
  CHECK(cudaStreamEndCapture(stream, &graph) == cudaErrorIllegalState);
  CHECK(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeRelaxed) == cudaErrorStreamCaptureUnsupported);
  begin(stream);
  CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed) == cudaErrorIllegalState);
  const OwnEvent event;
  CHECK(cudaEventRecord(event, stream) == cudaSuccess);
  CHECK(cudaStreamWaitEvent(stream, event, 0) == cudaSuccess);  // its own
  cudaGraphDestroy(end(stream));
}

namespace {

struct Recording {
  std::shared_ptr<cuda::Stream> stream = std::make_shared<cuda::Stream>(0);
  std::shared_ptr<MemorySource> memory = cuda::device_memory(stream);
  std::shared_ptr<MemoryAccount> account = std::make_shared<MemoryAccount>();
  Tensor block(int64_t bytes) {
    return Tensor::on(memory, {bytes / 4}, DType::f32, account, Category::workspace);
  }
};

}  // namespace

TEST_CASE("memory that is freed while work is recorded goes back when that is in the stream", "[graphs]") {
  Recording gpu;
  const size_t before = emulation::used_memory();
  gpu.stream->as_graphs(1, [] {});
  gpu.stream->as_graphs(1, [&] {
    gpu.block(1024);
    CHECK(emulation::used_memory() == before + 1024);
    gpu.block(1024);  // the same one
    CHECK(emulation::used_memory() == before + 1024);
    gpu.block(512);
    CHECK(emulation::used_memory() == before + 1536);
    gpu.stream->synchronize();
    CHECK(emulation::used_memory() == before);
    gpu.block(1024);
  });
  CHECK(emulation::used_memory() == before);
}

TEST_CASE("a device that is full while work is recorded gets back what is kept for it", "[graphs]") {
  Recording gpu;
  gpu.stream->as_graphs(1, [] {});
  emulation::limit_memory(emulation::used_memory() + 4096);
  gpu.stream->as_graphs(1, [&] {
    gpu.block(4096);
    CHECK_NOTHROW(gpu.block(2048));
    CHECK_THROWS_WITH(gpu.block(8192), Catch::Matchers::Contains("is out of memory"));
    CHECK_NOTHROW(gpu.block(4096));
  });
  emulation::limit_memory(std::numeric_limits<size_t>::max());
}
