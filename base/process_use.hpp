// What a process takes of its machine, as the kernel counts it: memory, and bytes from and to disks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace collie {

struct ProcessUse {
  uint64_t process = 0;  // drawn at random once per process; 0: nothing was measured
  int64_t at_ns = 0;     // when it was measured, on the process's steady clock
  // Bytes of memory that are resident now, and the most that were (VmRSS and VmHWM). -1: not known.
  int64_t resident_bytes = -1, most_resident_bytes = -1;
  // Bytes that storage had to deliver or to take for this process since its start. What the page cache had is
  // not counted. -1: not known.
  int64_t read_bytes = -1, written_bytes = -1;
};

// Reads `folder`/status and `folder`/io (proc(5)). What is missing or cannot be understood is not known.
ProcessUse use_of_this_process(const std::string& folder = "/proc/self");

// Reading takes tens of microseconds, which is much beside a step of a tiny model. So whoever reports every
// step measures at most twice per second.
class ProcessWatch {
 public:
  // Returns nothing if the last measurement is less than half a second old.
  std::optional<ProcessUse> look();

 private:
  int64_t last_ns_ = 0;
};

}  // namespace collie
