#include "kernels/cuda/graph_recorder.hpp"

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <utility>

#include "base/error.hpp"
#include "kernels/cuda/api.hpp"

namespace collie::cuda {

namespace {

constexpr size_t most_graphs = 256;  // tasks come to a few dozen places; the places not seen for longest go

struct DestroyGraph {
  void operator()(cudaGraph_t graph) const { cudaGraphDestroy(graph); }
};
using OwnedGraph = std::unique_ptr<CUgraph_st, DestroyGraph>;

}  // namespace

GraphRecorder::~GraphRecorder() {
  for (auto& [place, kept] : graphs_) cudaGraphExecDestroy(kept.graph);
  if (capture_ != nullptr) cudaStreamDestroy(capture_);
}

void GraphRecorder::begin(int64_t task) {
  throw_if_lost();
  COLLIE_ASSERT(!records(), "task {} is recorded within task {}", task, task_);
  if (known_tasks_.insert(task).second) return;
  if (capture_ == nullptr)
    check(cudaStreamCreateWithFlags(&capture_, cudaStreamNonBlocking), "creating a stream");
  task_ = task;
  segment_ = 0;
  begin_capture();
  {
    const std::lock_guard lock(mutex_);
    recording_ = true;
  }
  recorder_ = std::this_thread::get_id();
}

void GraphRecorder::end() {
  if (!records()) return;
  recorder_ = std::thread::id();
  std::string lost;
  try {
    end_capture();
  } catch (const std::exception& error) {
    lost = error.what();
  }
  {
    const std::lock_guard lock(mutex_);
    recording_ = false;
  }
  free_kept_blocks();
  if (lost.empty()) return;
  lose(lost);
  throw_if_lost();
}

// Capturing goes on at once, because a caller that has asked for the capture's stream may be about to use it.
void GraphRecorder::flush() {
  if (!records()) return;
  try {
    end_capture();
    free_kept_blocks();
    begin_capture();
  } catch (const std::exception& error) {
    lose(error.what());
    throw;
  }
}

// The mode is relaxed, because libraries load their kernels when they need them, and events of other streams
// are queried.
void GraphRecorder::begin_capture() {
  check(cudaStreamBeginCapture(capture_, cudaStreamCaptureModeRelaxed), "beginning a graph");
  capturing_ = true;
}

void GraphRecorder::end_capture() {
  if (!std::exchange(capturing_, false)) return;
  cudaGraph_t captured = nullptr;
  check(cudaStreamEndCapture(capture_, &captured), "ending a graph");
  const OwnedGraph graph(captured);
  size_t nodes = 0;
  check(cudaGraphGetNodes(captured, nullptr, &nodes), "counting a graph's nodes");
  if (nodes > 0) launch(captured, nodes);
}

void GraphRecorder::launch(CUgraph_st* graph, size_t nodes) {
  Kept& kept = graphs_[{task_, segment_++, nodes}];
  const bool updated = kept.graph != nullptr && update(kept, graph);
  if (!updated) make(kept, graph);
  check(cudaGraphLaunch(kept.graph, stream_), "launching a graph");
  {
    const std::lock_guard lock(mutex_);
    kept.last_used = ++counts_.launched;
    ++(updated ? counts_.updated : counts_.made);
  }
  if (graphs_.size() > most_graphs) drop_oldest();
}

// Returns false if the graph differs too much; then it is as before.
bool GraphRecorder::update(Kept& kept, CUgraph_st* graph) {
  cudaGraphExecUpdateResultInfo difference{};
  const cudaError_t status = cudaGraphExecUpdate(kept.graph, graph, &difference);
  if (status == cudaErrorGraphExecUpdateFailure) {
    cudaGetLastError();  // the error is dropped: another graph is made
    return false;
  }
  check(status, "updating a graph");
  return true;
}

// A graph that is still at work is destroyed when it is done.
void GraphRecorder::make(Kept& kept, CUgraph_st* graph) {
  if (kept.graph != nullptr) check(cudaGraphExecDestroy(std::exchange(kept.graph, nullptr)), "a graph's end");
  check(cudaGraphInstantiate(&kept.graph, graph, 0), "making a graph");
}

void GraphRecorder::drop_oldest() {
  const auto oldest = std::min_element(graphs_.begin(), graphs_.end(), [](const auto& a, const auto& b) {
    return a.second.last_used < b.second.last_used;
  });
  check(cudaGraphExecDestroy(oldest->second.graph), "a graph's end");
  graphs_.erase(oldest);
}

bool GraphRecorder::keep(void* block, size_t bytes) {
  const std::lock_guard lock(mutex_);
  if (recording_) blocks_[bytes].push_back(block);
  return recording_;
}

void* GraphRecorder::take(size_t bytes) {
  if (!records()) return nullptr;
  const std::lock_guard lock(mutex_);
  const auto found = blocks_.find(bytes);
  if (found == blocks_.end()) return nullptr;
  void* const block = found->second.back();
  found->second.pop_back();
  if (found->second.empty()) blocks_.erase(found);
  return block;
}

void GraphRecorder::free_kept_blocks() {
  const std::lock_guard lock(mutex_);
  for (const auto& [bytes, blocks] : blocks_)
    for (void* const block : blocks) cudaFreeAsync(block, stream_);
  blocks_.clear();
}

void GraphRecorder::lose(const std::string& reason) {
  const std::lock_guard lock(mutex_);
  if (lost_.empty()) lost_ = "work for the device was recorded, and is lost: " + reason;
  is_lost_ = true;
}

void GraphRecorder::throw_if_lost() const {
  if (!is_lost_) return;
  const std::lock_guard lock(mutex_);
  throw std::runtime_error(lost_);
}

GraphCounts GraphRecorder::counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

}  // namespace collie::cuda
