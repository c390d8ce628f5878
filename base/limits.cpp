#include "base/limits.hpp"

#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <limits>
#include <mutex>
#include <new>
#include <system_error>
#include <vector>

#include "base/control_groups.hpp"
#include "base/error.hpp"

namespace collie {

namespace {

constexpr size_t thread_stack = size_t{8} << 20;
constexpr rlim_t least_stack = rlim_t{512} << 10;
constexpr int least_descriptors = 16;  // for a command that starts nothing

std::optional<uint64_t> limit_of(int resource) {
  rlimit limit{};
  if (::getrlimit(static_cast<__rlimit_resource>(resource), &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
    return std::nullopt;
  return limit.rlim_cur;
}

// Returns nothing for "max", and for text that cannot be understood.
std::optional<uint64_t> number_in(const std::string& file) {
  const std::string text = first_line(file);
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// The least of a file's numbers in this process's groups and the groups around it.
std::optional<uint64_t> group_limit(const std::string& controller, const std::string& second,
                                    const std::string& first, const std::string& root) {
  std::optional<uint64_t> least;
  for (const GroupFolder& group : group_folders(controller, root)) {
    const auto limit = number_in(group.path + "/" + (group.second ? second : first));
    if (limit && (!least || *limit < *least)) least = limit;
  }
  return least;
}

void add(std::string& list, const std::string& limit) {
  list += (list.empty() ? "" : "; ") + limit;
}

// Version 1 means no limit by the largest multiple of a page.
constexpr uint64_t no_memory_limit = uint64_t{1} << 62;

std::optional<uint64_t> group_memory_limit(const std::string& root) {
  const auto limit = group_limit("memory", "memory.max", "memory.limit_in_bytes", root);
  return limit && *limit < no_memory_limit ? limit : std::nullopt;
}

// Address space that nobody uses. Untouched memory does not count in the kernel's guess at what may be
// promised (vm.overcommit_memory: 0).
class Mapping {
 public:
  explicit Mapping(size_t bytes)
      : bytes_(bytes),
        start_(::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                      0)) {}
  ~Mapping() {
    if (there()) ::munmap(start_, bytes_);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  bool there() const { return start_ != MAP_FAILED; }

 private:
  size_t bytes_;
  void* start_;
};

// Threads that do nothing: as many as the system gives, up to a number.
class Crowd {
 public:
  explicit Crowd(int wanted) {
    threads_.reserve(static_cast<size_t>(wanted));
    gate_.lock();
    for (pthread_t thread{}; wanted > 0; --wanted) {
      if (::pthread_create(&thread, nullptr, &Crowd::wait, this) != 0) break;
      threads_.push_back(thread);
    }
    lacks_memory_ = wanted > 0 && !Mapping(thread_stack + (size_t{1} << 20)).there();
  }
  ~Crowd() {
    gate_.unlock();
    for (const pthread_t thread : threads_) ::pthread_join(thread, nullptr);
  }
  Crowd(const Crowd&) = delete;
  Crowd& operator=(const Crowd&) = delete;

  int size() const { return static_cast<int>(threads_.size()); }
  bool lacks_memory() const { return lacks_memory_; }  // for another thread's stack

 private:
  static void* wait(void* self) {
    const std::lock_guard pass(static_cast<Crowd*>(self)->gate_);
    return nullptr;
  }

  std::mutex gate_;
  std::vector<pthread_t> threads_;
  bool lacks_memory_ = false;
};

// The number of further descriptors that the system gives at once, up to `wanted`.
int descriptors_to_be_had(int wanted) {
  std::vector<int> taken;
  taken.reserve(static_cast<size_t>(wanted));
  while (static_cast<int>(taken.size()) < wanted) {
    const int descriptor = ::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
    if (descriptor < 0) break;
    taken.push_back(descriptor);
  }
  for (const int descriptor : taken) ::close(descriptor);
  return static_cast<int>(taken.size());
}

void check_descriptors(int needed) {
  const int found = descriptors_to_be_had(needed);
  if (found == needed) return;
  throw RunError(
      "too few files can be open at once: this process needs {} more and can have {}: {}; give it more "
      "(ulimit -n), or fewer ranks",
      needed, found, descriptor_limits());
}

std::string no_thread(const std::string& limits) {
  return "a thread could not be started: " + limits;
}

std::string out_of_memory() {
  const std::string limits = memory_limits();
  return limits.empty() ? "out of memory" : "out of memory: " + limits;
}

void raise_stack() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_STACK, &limit) != 0) return;
  if (limit.rlim_cur < thread_stack) {
    limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, thread_stack);
    ::setrlimit(RLIMIT_STACK, &limit);
  }
  if (limit.rlim_cur < least_stack)
    throw RunError("the stack may have {} KiB only (ulimit -s); at least {} are needed", limit.rlim_cur >> 10,
                   least_stack >> 10);
}

void raise_descriptors() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

void prepare_for_limits() {
  raise_stack();
  raise_descriptors();
  check_descriptors(least_descriptors);
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  ::pthread_attr_setstacksize(&attributes, thread_stack);
  ::pthread_setattr_default_np(&attributes);
  ::pthread_attr_destroy(&attributes);
  if (limit_of(RLIMIT_AS)) ::mallopt(M_ARENA_MAX, 1);
}

std::string in_mib(uint64_t bytes) {
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20));
}

std::string thread_limits(const std::string& root) {
  std::string list;
  if (const auto limit = limit_of(RLIMIT_NPROC))
    add(list, fmt::format("ulimit -u is {}, and counts all processes and threads of the user", *limit));
  if (const auto limit = group_limit("pids", "pids.max", "pids.max", root))
    add(list, fmt::format("pids.max of the control group is {}", *limit));
  if (const auto limit = number_in(root + "/proc/sys/kernel/threads-max"))
    add(list, fmt::format("kernel.threads-max is {}", *limit));
  return list;
}

std::string memory_limits(const std::string& root) {
  std::string list;
  if (const auto limit = limit_of(RLIMIT_AS)) add(list, fmt::format("ulimit -v is {} KiB", *limit >> 10));
  if (const auto limit = limit_of(RLIMIT_DATA)) add(list, fmt::format("ulimit -d is {} KiB", *limit >> 10));
  if (const auto limit = group_memory_limit(root))
    add(list, fmt::format("the control group's memory is limited to {}", in_mib(*limit)));
  return list;
}

std::string descriptor_limits() {
  const auto limit = limit_of(RLIMIT_NOFILE);
  return limit ? fmt::format("ulimit -n is {}", *limit) : "";
}

MemoryLimit least_memory_limit(const std::string& root) {
  struct sysinfo machine {};
  MemoryLimit least{std::numeric_limits<uint64_t>::max(), "nothing", true};
  if (::sysinfo(&machine) == 0)
    least = {(uint64_t{machine.totalram} + machine.totalswap) * machine.mem_unit, "this machine", true};
  const auto take = [&](const std::optional<uint64_t>& limit, const char* name) {
    if (limit && *limit < least.bytes) least = {*limit, name, false};
  };
  take(limit_of(RLIMIT_AS), "ulimit -v");
  take(limit_of(RLIMIT_DATA), "ulimit -d");
  take(group_memory_limit(root), "the memory limit of the control group");
  return least;
}

Room& Room::operator+=(const Room& more) {
  threads += more.threads;
  descriptors += more.descriptors;
  bytes += more.bytes;
  return *this;
}

void check_room(const Room& needed) {
  check_descriptors(needed.descriptors);
  const Crowd crowd(needed.threads);
  if (crowd.size() < needed.threads && !crowd.lacks_memory())
    throw RunError(
        "too few threads can be started: this process needs {} more and can have {}: {}; give it more, or "
        "fewer ranks or device.threads",
        needed.threads, crowd.size(), thread_limits());
  if (!crowd.lacks_memory() && (needed.bytes == 0 || Mapping(needed.bytes).there())) return;
  const std::string limits = memory_limits();
  std::string parts = needed.bytes > 0 ? in_mib(needed.bytes) : "";
  if (needed.threads > 0)
    parts += fmt::format("{}{} threads with stacks of {}", parts.empty() ? "" : " and ", needed.threads,
                         in_mib(thread_stack));
  throw RunError("too little memory: this process needs {} more: {}", parts,
                 limits.empty() ? "the system refuses that" : limits);
}

std::string shortage() {
  if (!Mapping(thread_stack + (size_t{1} << 20)).there()) return out_of_memory();
  return Crowd(1).size() == 1 ? "" : no_thread(thread_limits());
}

void check_shortage(int code, const std::string& what) {
  const bool memory = code == ENOMEM, files = code == EMFILE || code == ENFILE;
  if (!memory && !files) return;
  const std::string limits = memory ? memory_limits() : descriptor_limits();
  throw RunError("{}: {}{}", what, std::generic_category().message(code),
                 limits.empty() ? "" : " (" + limits + ")");
}

std::string reason_of_current_exception() {
  try {
    throw;
  } catch (const std::bad_alloc&) {
    return out_of_memory();
  } catch (const std::system_error& error) {
    if (error.code() != std::errc::resource_unavailable_try_again) return error.what();
    const std::string short_of = shortage();
    return short_of.empty() ? no_thread(thread_limits()) : short_of;
  } catch (const UserError& error) {
    return error.what();
  } catch (const RunError& error) {
    return error.what();
  } catch (const std::exception& error) {  // a library's exception may not say what was short
    const std::string short_of = shortage();
    return short_of.empty() ? error.what() : fmt::format("{} ({})", error.what(), short_of);
  } catch (...) {
    return "unknown exception";
  }
}

}  // namespace collie
