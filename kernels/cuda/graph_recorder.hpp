// Captures work into CUDA graphs on its way to a stream.
//
// A task, such as the forward of a stage, is queued again and again, with other addresses and sizes. While it
// is recorded, its kernels and copies are captured. They go to the stream together, as one graph, whenever
// something outside must see them. The executable graph is kept for the next time that the task comes to the
// same place, and then gets the new arguments (cudaGraphExecUpdate). So nothing has to stay at its address.
#pragma once

#include <atomic>
#include <cstddef>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "kernels/graph_counts.hpp"

struct CUstream_st;
struct CUgraph_st;
struct CUgraphExec_st;

namespace collie::cuda {

// One thread begins a task, works on it and ends it. Other users of the stream see meanwhile only what was
// flushed. Once recorded work is lost, because the device refused it, every use throws std::runtime_error.
class GraphRecorder {
 public:
  explicit GraphRecorder(CUstream_st* stream) : stream_(stream) {}
  ~GraphRecorder();
  GraphRecorder(const GraphRecorder&) = delete;
  GraphRecorder& operator=(const GraphRecorder&) = delete;

  // A task is not recorded the first time it comes, because libraries load and plan then.
  void begin(int64_t task);
  void end();
  // Says whether the calling thread is recording.
  bool records() const { return recorder_.load(std::memory_order_relaxed) == std::this_thread::get_id(); }
  // The stream on which the recording thread puts its work, from begin() to end(). Waiting on this stream and
  // recording events on it is not allowed.
  CUstream_st* capturing() const { return capture_; }
  // Sends what was recorded to the stream.
  void flush();
  void throw_if_lost() const;

  // Blocks of the stream's memory that are freed while a task is recorded may still be needed by work that is
  // not flushed. They are kept until then, or until the task asks for as many bytes.
  bool keep(void* block, size_t bytes);  // any thread; false: no task is recorded, so free the block
  void* take(size_t bytes);              // null: no block is kept, or another thread records

  GraphCounts counts() const;

 private:
  struct Place {  // a place within a task
    int64_t task;
    int segment;
    size_t nodes;  // nodes of its graph
    auto operator<=>(const Place&) const = default;
  };
  struct Kept {
    CUgraphExec_st* graph = nullptr;
    int64_t last_used = 0;
  };

  void begin_capture();
  void end_capture();
  void launch(CUgraph_st* graph, size_t nodes);
  bool update(Kept& kept, CUgraph_st* graph);
  void make(Kept& kept, CUgraph_st* graph);
  void drop_oldest();
  void free_kept_blocks();
  void lose(const std::string& reason);

  CUstream_st* const stream_;
  CUstream_st* capture_ = nullptr;  // made at its first use
  std::atomic<std::thread::id> recorder_{};
  bool capturing_ = false;
  int64_t task_ = 0;
  int segment_ = 0;
  std::set<int64_t> known_tasks_;
  std::map<Place, Kept> graphs_;

  mutable std::mutex mutex_;  // guards the members below
  bool recording_ = false;
  std::map<size_t, std::vector<void*>> blocks_;  // by bytes
  GraphCounts counts_;
  std::string lost_;
  std::atomic<bool> is_lost_{false};
};

}  // namespace collie::cuda
