// Checks what the system lets this process have: threads, memory, open files, stacks. A shortage is found
// before anything depends on what is missing. Otherwise threads that cannot be started half-way through leave
// libraries in states from which they do not end, and some libraries (OpenBLAS) ask for memory for ever.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace collie {

// Call it first in main(), before any thread. It allows as many open files as the system does, and gives
// threads stacks of 8 MiB, whatever `ulimit -s` says. If address space is limited, all threads share one
// heap, since each heap of glibc reserves 64 MiB. Throws RunError if the stack or the files are too few for
// anything at all.
void prepare_for_limits();

// The limits that are set, with their values: "ulimit -u is 40, which counts all processes and threads of the
// user; pids.max of the control group is 100". The functions for memory and descriptors return "" if there is
// no limit. `root` stands for / in tests.
std::string thread_limits(const std::string& root = "");
std::string memory_limits(const std::string& root = "");
std::string descriptor_limits();

// The smallest of the memory limits, in bytes: ulimit -v and -d, the control groups' limits, and the
// machine's memory and swap.
struct MemoryLimit {
  uint64_t bytes = 0;
  std::string name;         // "ulimit -v"
  bool of_machine = false;  // true: only the machine limits it
};
MemoryLimit least_memory_limit(const std::string& root = "");

// The needs of a process, or of a part of one, in addition to what it has.
struct Room {
  int threads = 0, descriptors = 0;
  size_t bytes = 0;  // of address space

  Room& operator+=(const Room& more);
};

// Takes all of it at once, including threads that do nothing, and gives it back. Throws a RunError that says
// what was wanted, how much of it there is, and the limits.
void check_room(const Room& needed);

// The reason, in words, of the exception that is being handled. If it is a shortage, the text names the
// limits.
std::string reason_of_current_exception();

// Tests whether the system gives a thread and a little memory at this moment, and says what is short if not.
// It is for the case that a library has given up without saying why.
std::string shortage();

// `code` is an errno. If it says that memory or open files are short, throws RunError of `what` ("cannot read
// FILE") with the limits, since that is not the user's mistake.
void check_shortage(int code, const std::string& what);

// "12.5 MiB"
std::string in_mib(uint64_t bytes);

}  // namespace collie
