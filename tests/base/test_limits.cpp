#include "base/limits.hpp"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <functional>
#include <new>
#include <string>
#include <system_error>

#include "base/error.hpp"
#include "tests/catch.hpp"
#include "tests/io/scratch_folder.hpp"

using namespace collie;
using collie::test::ScratchFolder;

namespace {

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// What `action` says in a process of its own in which `resource` is limited to `value`.
std::string said_with(__rlimit_resource resource, rlim_t value, const std::function<std::string()>& action) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const rlimit limit{value, value};
    ::setrlimit(resource, &limit);
    const std::string text = action();
    ::_exit(::write(ends[1], text.data(), text.size()) == static_cast<ssize_t>(text.size()) ? 0 : 1);
  }
  ::close(ends[1]);
  std::string text;
  char block[4096];
  for (ssize_t count = 0; (count = ::read(ends[0], block, sizeof block)) > 0;)
    text.append(block, static_cast<size_t>(count));
  ::close(ends[0]);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  return text;
}

std::string refusal_of(const Room& room) {
  try {
    check_room(room);
  } catch (const RunError& error) {
    return error.what();
  }
  return "nothing";
}

std::string reason_of(const std::function<void()>& thrower) {
  try {
    thrower();
  } catch (...) {
    return reason_of_current_exception();
  }
  return "";
}

}  // namespace

TEST_CASE("limits of control groups are the least of the group's and of all groups around it") {
  const ScratchFolder root;
  root.write("proc/self/mountinfo",
             "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
             "31 23 0:27 / /sys/fs/memory rw - cgroup cgroup rw,memory\n");
  root.write("proc/self/cgroup", "0::/pods/box\n3:memory:/docker/1f\n");
  root.write("proc/sys/kernel/threads-max", "4711\n");
  CHECK(has(thread_limits(root.path()), "kernel.threads-max is 4711"));
  CHECK_FALSE(has(thread_limits(root.path()), "pids.max"));
  CHECK(least_memory_limit(root.path()).of_machine);

  root.write("sys/fs/cgroup/pods/box/pids.max", "max\n");
  root.write("sys/fs/cgroup/pods/pids.max", "99\n");
  CHECK(has(thread_limits(root.path()), "pids.max of the control group is 99"));

  root.write("sys/fs/memory/docker/memory.limit_in_bytes", "9223372036854771712\n");  // none
  CHECK(least_memory_limit(root.path()).of_machine);
  root.write("sys/fs/memory/docker/1f/memory.limit_in_bytes", "3145728\n");
  CHECK(least_memory_limit(root.path()).bytes == 3145728);
  root.write("sys/fs/cgroup/pods/box/memory.max", "2097152\n");
  CHECK(least_memory_limit(root.path()).bytes == 2097152);
  CHECK(has(memory_limits(root.path()), "the control group's memory is limited to 2.0 MiB"));
}

TEST_CASE("room that is there is taken and given back") {
  for (int again = 0; again < 3; ++again) CHECK(refusal_of({5, 20, size_t{1} << 20}) == "nothing");
}

TEST_CASE("too few files are refused with their number and the limit") {
  const std::string said = said_with(RLIMIT_NOFILE, 30, [] { return refusal_of({0, 100, 0}); });
  INFO(said);
  CHECK(has(said, "needs 100 more and can have "));
  CHECK(has(said, "ulimit -n is 30"));
}

#ifndef COLLIE_SANITIZE  // which reserves terabytes
TEST_CASE(
    "too little address space is refused, for threads' stacks too, and not taken for a lack of threads") {
  constexpr rlim_t limit = rlim_t{1} << 29;
  for (const Room& room : {Room{0, 0, size_t{1} << 30}, Room{200, 0, 0}}) {
    const std::string said = said_with(RLIMIT_AS, limit, [&] { return refusal_of(room); });
    INFO(said);
    CHECK(has(said, "too little memory"));
    CHECK(has(said, "ulimit -v is 524288 KiB"));
  }
}
#endif

TEST_CASE("a small stack, or a small number of files, is found at the start") {
  const auto prepared = [] {
    try {
      prepare_for_limits();
    } catch (const RunError& error) {
      return std::string(error.what());
    }
    return std::string("nothing");
  };
  CHECK(has(said_with(RLIMIT_STACK, 200 << 10, prepared), "200 KiB only (ulimit -s)"));
  CHECK(said_with(RLIMIT_STACK, 2 << 20, prepared) == "nothing");
  CHECK(has(said_with(RLIMIT_NOFILE, 12, prepared), "ulimit -n is 12"));
}

TEST_CASE("a file that cannot be opened or mapped for a shortage is no error of the user") {
  CHECK_THROWS_AS(check_shortage(EMFILE, "cannot read x"), RunError);
  CHECK_THROWS_AS(check_shortage(ENOMEM, "cannot read x"), RunError);
  CHECK_NOTHROW(check_shortage(ENOENT, "cannot read x"));
}

TEST_CASE("the reason of an exception names what is short") {
  CHECK(reason_of([] { throw std::bad_alloc(); }).find("out of memory") == 0);
  CHECK(has(reason_of([] {
              throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again));
            }),
            "a thread could not be started"));
  CHECK(reason_of([] { throw RunError("why"); }) == "why");
  CHECK(reason_of([] { throw 1; }) == "unknown exception");
  CHECK(shortage().empty());
}
