// trace.json in Chrome's trace event format (https://ui.perfetto.dev opens it): a lane per rank, a bar per
// task. The format is the JSON array form of "Trace Event Format", which may lack its closing bracket after a
// crash.
#pragma once

#include <cstdio>
#include <string>

#include "runtime/messages.hpp"

namespace collie {

class TraceFile {
 public:
  // Replaces an existing file. Throws RunError naming it.
  TraceFile(const std::string& path, int ranks);
  ~TraceFile();
  TraceFile(const TraceFile&) = delete;
  TraceFile& operator=(const TraceFile&) = delete;

  // If the disk is full the trace ends, with a warning.
  void add(const ProgramDone& done);
  void mark(const std::string& what, double at_s);  // `at_s`: steady seconds

 private:
  void event(const std::string& json);
  std::string path_;
  std::FILE* file_ = nullptr;
  double origin_s_;
  bool first_ = true, broken_ = false;
};

}  // namespace collie
