// Graphs of the emulated device: what one stream has captured, in its order.
#include <utility>

#include "tests/emulation/streams.hpp"

using collie::emulation::Capture;
using collie::emulation::Work;

struct CUgraph_st {
  std::vector<Work> work;
};
// Launches that are under way keep what they were launched with.
struct CUgraphExec_st {
  std::shared_ptr<const std::vector<Work>> work;
};

namespace {

cudaGraphExecUpdateResult difference(const std::vector<Work>& had, const std::vector<Work>& gets) {
  if (had.size() != gets.size()) return cudaGraphExecUpdateErrorTopologyChanged;
  for (size_t i = 0; i < had.size(); ++i)
    if (had[i].kind != gets[i].kind) return cudaGraphExecUpdateErrorNodeTypeChanged;
  // Where memory is may change, but not of what kind it is. A kernel may become another.
  for (size_t i = 0; i < had.size(); ++i)
    if (had[i].from != gets[i].from || had[i].to != gets[i].to)
      return cudaGraphExecUpdateErrorParametersChanged;
  return cudaGraphExecUpdateSuccess;
}

}  // namespace

// Other modes differ in what they forbid, which is not emulated.
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  if (stream == nullptr) return cudaErrorStreamCaptureUnsupported;  // cudaStreamLegacy
  if (mode != cudaStreamCaptureModeRelaxed) return cudaErrorInvalidValue;
  if (stream->capture) return cudaErrorIllegalState;
  stream->capture = std::make_shared<Capture>();
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  if (!stream->capture) return cudaErrorIllegalState;
  const auto ended = std::exchange(stream->capture, nullptr);
  if (!std::exchange(ended->valid, false)) return cudaErrorStreamCaptureInvalidated;
  *graph = new CUgraph_st{std::move(ended->work)};
  return cudaSuccess;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* count) {
  if (nodes != nullptr) return cudaErrorInvalidValue;  // there are none to be had
  *count = graph->work.size();
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* made, cudaGraph_t graph, unsigned long long flags) {
  if (flags != 0) return cudaErrorInvalidValue;
  *made = new CUgraphExec_st{std::make_shared<const std::vector<Work>>(graph->work)};
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphExecUpdate(cudaGraphExec_t made, cudaGraph_t graph,
                                cudaGraphExecUpdateResultInfo* info) {
  *info = {difference(*made->work, graph->work), nullptr, nullptr};
  if (info->result != cudaGraphExecUpdateSuccess) return cudaErrorGraphExecUpdateFailure;
  made->work = std::make_shared<const std::vector<Work>>(graph->work);
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
  if (const cudaError_t refused = stream->refuse_in_capture(); refused != cudaSuccess) return refused;
  stream->push([work = graph->work] {
    for (const Work& piece : *work) piece.run();
  });
  return cudaSuccess;
}
