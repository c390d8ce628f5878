#include "runtime/trace_file.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/log.hpp"
#include "runtime/rank_status.hpp"

namespace collie {
namespace {

// F, B, I and W bars get a colour each (names from Chrome's palette).
const char* colour(const std::string& task) {
  switch (task.find_first_of("FBIW") == std::string::npos ? ' ' : task[task.find_first_of("FBIW")]) {
    case 'F':
      return "thread_state_running";
    case 'B':
      return "thread_state_iowait";
    case 'I':
      return "rail_animation";
    case 'W':
      return "thread_state_runnable";
    default:
      return "grey";
  }
}

}  // namespace

TraceFile::TraceFile(const std::string& path, int ranks) : path_(path), origin_s_(steady_seconds()) {
  file_ = std::fopen(path.c_str(), "w");
  if (file_ == nullptr) throw RunError("{}: cannot be written: {}", path, std::strerror(errno));
  std::fputs("[\n", file_);
  for (int rank = 0; rank < ranks; ++rank) {
    event(fmt::format(R"({{"name":"thread_name","ph":"M","pid":0,"tid":{},"args":{{"name":"rank {}"}}}})",
                      rank, rank));
    event(fmt::format(
        R"({{"name":"thread_name","ph":"M","pid":1,"tid":{},"args":{{"name":"rank {} in the background"}}}})",
        rank, rank));
  }
}

TraceFile::~TraceFile() {
  std::fputs("\n]\n", file_);
  std::fclose(file_);
}

void TraceFile::event(const std::string& json) {
  if (!broken_) std::fprintf(file_, "%s%s", first_ ? "" : ",\n", json.c_str());
  first_ = false;
}

void TraceFile::add(const ProgramDone& done) {
  const auto add_spans = [&](const std::vector<TaskSpan>& spans, int process) {
    for (const auto& span : spans)
      event(fmt::format(R"({{"name":"{}","ph":"X","pid":{},"tid":{},"ts":{:.3f},"dur":{:.3f},"cname":"{}"}})",
                        span.task, process, done.rank, (span.start_s - origin_s_) * 1e6,
                        (span.end_s - span.start_s) * 1e6, colour(span.task)));
  };
  add_spans(done.spans, 0);
  add_spans(done.communication_spans, 1);
  // A failed trace must not end the run.
  if (!broken_ && (std::fflush(file_) != 0 || std::ferror(file_) != 0)) {
    broken_ = true;
    log::warn("{}: cannot be written: {}; the trace ends here", path_, std::strerror(errno));
  }
}

void TraceFile::mark(const std::string& what, double at_s) {
  event(fmt::format(R"({{"name":"{}","ph":"i","s":"g","pid":0,"tid":0,"ts":{:.3f}}})", what,
                    (at_s - origin_s_) * 1e6));
  std::fflush(file_);
}

}  // namespace collie
