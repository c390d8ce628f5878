// What the system lets this process have: threads, memory, open files, stacks. A shortage is found before
// anything depends on what is missing: threads that cannot be started half-way through leave libraries in
// states from which they do not end, and some (OpenBLAS) ask for memory for ever.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace collie {

// First in main(), before any thread: as many open files as the system allows; threads with stacks of 8 MiB,
// whatever `ulimit -s` says; where address space is limited, one heap for all threads, as each heap of glibc
// reserves 64 MiB. Throws RunError where the stack or the files are too few for anything at all.
void prepare_for_limits();

// The limits that there are, with their values: "ulimit -u is 40, which counts all processes and threads of
// the user; pids.max of the control group is 100". Of memory and descriptors: empty where there is none.
// `root` stands for / in tests.
std::string thread_limits(const std::string& root = "");
std::string memory_limits(const std::string& root = "");
std::string descriptor_limits();

// The smallest of the limits of memory, in bytes: ulimit -v and -d, the control groups', and the machine's
// memory and swap.
struct MemoryLimit {
  uint64_t bytes = 0;
  std::string name;         // "ulimit -v"
  bool of_machine = false;  // there is no other
};
MemoryLimit least_memory_limit(const std::string& root = "");

// What a process, or a part of one, needs beside what it has.
struct Room {
  int threads = 0, descriptors = 0;
  size_t bytes = 0;  // of address space

  Room& operator+=(const Room& more);
};

// Takes all of it at once, threads that do nothing included, and gives it back. Throws RunError that says
// what was wanted, how much of it there is, and the limits.
void check_room(const Room& needed);

// Why the exception that is being handled was thrown, in words; a shortage names the limits.
std::string reason_of_current_exception();

// Whether a thread and a little memory can be had at this moment; if not, what is short. For when a library
// has given up without saying why.
std::string shortage();

// `code` is an errno: where it says that memory or open files are short, throws RunError of `what` ("cannot
// read FILE") with the limits. That is nothing that the user has written wrongly.
void check_shortage(int code, const std::string& what);

// "12.5 MiB"
std::string in_mib(uint64_t bytes);

}  // namespace collie
