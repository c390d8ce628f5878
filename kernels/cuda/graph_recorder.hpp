// Work that is captured into CUDA graphs on its way to a stream.
//
// A task, such as the forward of a stage, is queued again and again, with other addresses and sizes. While it
// is recorded its kernels and copies are captured, and go to the stream together, as one graph, wherever
// something outside must see them. The executable graph is kept for the next time that the task comes to the
// same place, and gets the new arguments then (cudaGraphExecUpdate): nothing has to be where it was before.
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

// A task is begun, worked on and ended by one thread; who else uses the stream meanwhile sees what was
// flushed. Once recorded work is lost, because the device refused it, every use throws std::runtime_error.
class GraphRecorder {
 public:
  explicit GraphRecorder(CUstream_st* stream) : stream_(stream) {}
  ~GraphRecorder();
  GraphRecorder(const GraphRecorder&) = delete;
  GraphRecorder& operator=(const GraphRecorder&) = delete;

  // The first time a task comes it is not recorded: libraries load and plan then.
  void begin(int64_t task);
  void end();
  // Whether the calling thread is recording.
  bool records() const { return recorder_.load(std::memory_order_relaxed) == std::this_thread::get_id(); }
  // Where it puts its work, from begin() to end(). Waiting is not for this stream, nor recording events.
  CUstream_st* capturing() const { return capture_; }
  // What was recorded goes to the stream.
  void flush();
  void throw_if_lost() const;

  // Blocks of the stream's memory that are freed while a task is recorded may still be needed by what is not
  // flushed. They are kept until then, or until the task asks for as many bytes.
  bool keep(void* block, size_t bytes);  // any thread; false: nothing is recorded, free it
  void* take(size_t bytes);              // null: none is kept, or another thread records

  GraphCounts counts() const;

 private:
  struct Place {  // where in which task
    int64_t task;
    int segment;
    size_t nodes;  // of its graph
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
  CUstream_st* capture_ = nullptr;  // made when it is first needed
  std::atomic<std::thread::id> recorder_{};
  bool capturing_ = false;
  int64_t task_ = 0;
  int segment_ = 0;
  std::set<int64_t> known_tasks_;
  std::map<Place, Kept> graphs_;

  mutable std::mutex mutex_;  // of what follows
  bool recording_ = false;
  std::map<size_t, std::vector<void*>> blocks_;  // by bytes
  GraphCounts counts_;
  std::string lost_;
  std::atomic<bool> is_lost_{false};
};

}  // namespace collie::cuda
