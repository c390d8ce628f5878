// What is shown never waits for its reader, and never fails.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>

#include "base/screen.hpp"
#include "base/screen_log.hpp"
#include "tests/catch.hpp"

namespace collie::test {
namespace {

// Two ends of something, closed at the end.
struct Ends {
  int reader = -1, writer = -1;
  ~Ends() {
    close_reader();
    if (writer >= 0) ::close(writer);
  }
  void close_reader() {
    if (reader >= 0) ::close(reader);
    reader = -1;
  }
  // What can be read now.
  std::string text() const {
    std::string all;
    std::array<char, 65536> block;
    pollfd there{reader, POLLIN, 0};
    while (::poll(&there, 1, 50) > 0) {
      const ssize_t count = ::read(reader, block.data(), block.size());
      if (count <= 0) break;
      all.append(block.data(), static_cast<size_t>(count));
    }
    return all;
  }
};

struct Pipe : Ends {
  Pipe() {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    reader = ends[0];
    writer = ends[1];
  }
};

struct SocketPair : Ends {
  SocketPair() {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    reader = ends[0];
    writer = ends[1];
  }
};

struct Terminal : Ends {
  explicit Terminal(int columns = 80) {
    reader = ::posix_openpt(O_RDWR | O_NOCTTY);
    REQUIRE(reader >= 0);
    REQUIRE(::grantpt(reader) == 0);
    REQUIRE(::unlockpt(reader) == 0);
    writer = ::open(::ptsname(reader), O_RDWR | O_NOCTTY);
    REQUIRE(writer >= 0);
    resize(columns);
  }
  void resize(int columns) const {
    winsize size{};
    size.ws_row = 24;
    size.ws_col = static_cast<unsigned short>(columns);
    REQUIRE(::ioctl(reader, TIOCSWINSZ, &size) == 0);
  }
};

class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (const char* const before = std::getenv(name)) before_ = before;
    value != nullptr ? ::setenv(name, value, 1) : ::unsetenv(name);
  }
  ~Variable() { before_ ? ::setenv(name_, before_->c_str(), 1) : ::unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
  std::optional<std::string> before_;
};

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

constexpr int lines = 20000;  // more than a pipe, a socket and the screen hold

void write_lines(Screen& screen) {
  for (int line = 0; line < lines; ++line)
    screen.write(fmt::format("line {} of many, to fill it up\n", line));
}

template <class Reader>
void check_reader_that_does_not_read() {
  Reader reader;
  Screen screen(reader.writer);
  CHECK(seconds_of([&] { write_lines(screen); }) < 5);
  std::string text = reader.text();
  CHECK(text.starts_with("line 0 of many, to fill it up\nline 1 of"));
  // The reader is there again: what was said last has been kept.
  for (int round = 0; round < 100 && text.find("line 19999 ") == std::string::npos; ++round) {
    screen.flush(std::chrono::milliseconds(1));
    text += reader.text();
  }
  CHECK(text.ends_with("line 19998 of many, to fill it up\nline 19999 of many, to fill it up\n"));
  const size_t gap = text.find(" lines are left out here");
  REQUIRE(gap != std::string::npos);
  // Every line is there or counted, and none is torn.
  const size_t begin = text.rfind('(', gap) + 1;
  const auto shown = std::count(text.begin(), text.end(), '\n') - 1;
  CHECK(shown + std::stol(text.substr(begin, gap - begin)) == lines);
}

TEST_CASE("screen: a reader that does not read holds nobody up, and finds the newest lines") {
  SECTION("a pipe") {
    check_reader_that_does_not_read<Pipe>();
  }
  SECTION("a socket") {
    check_reader_that_does_not_read<SocketPair>();
  }
}

TEST_CASE("screen: a descriptor stays as others left it, waiting or not") {
  Pipe pipe;
  const int before = ::fcntl(pipe.writer, F_GETFL);
  Screen screen(pipe.writer);
  screen.write("");
  screen.write("text\n");
  CHECK(::fcntl(pipe.writer, F_GETFL) == before);
  CHECK(pipe.text() == "text\n");
}

TEST_CASE("screen: a reader that is gone, a full disk and a closed descriptor are no matter") {
  SECTION("a pipe, though SIGPIPE would end the process") {
    Pipe pipe;
    Screen screen(pipe.writer);
    pipe.close_reader();
    write_lines(screen);
  }
  SECTION("a socket") {
    SocketPair pair;
    Screen screen(pair.writer);
    pair.close_reader();
    write_lines(screen);
  }
  SECTION("a terminal that was closed") {
    Terminal terminal;
    Screen screen(terminal.writer);
    terminal.close_reader();
    write_lines(screen);
  }
  SECTION("a full disk") {
    const int full = ::open("/dev/full", O_WRONLY);
    Screen screen(full);
    write_lines(screen);
    ::close(full);
  }
  SECTION("no descriptor") {
    Screen screen(-1);
    write_lines(screen);
    CHECK_FALSE(screen.rewrites());
  }
}

TEST_CASE("screen: flushing waits for a reader, but not for ever") {
  Pipe pipe;
  Screen screen(pipe.writer);
  write_lines(screen);
  const double seconds = seconds_of([&] { screen.flush(std::chrono::milliseconds(100)); });
  CHECK(seconds >= 0.1);
  CHECK(seconds < 5);
}

TEST_CASE("screen: lines come above the text that is rewritten") {
  const Variable term("TERM", "xterm");
  Terminal terminal;
  Screen screen(terminal.writer);
  REQUIRE(screen.rewrites());
  screen.rewrite("step 1");
  CHECK(terminal.text() == "\r\033[Kstep 1");
  screen.write("warning: hot\n");
  CHECK(terminal.text() == "\r\033[Kwarning: hot\r\nstep 1");
  screen.rewrite("step 2");
  screen.keep();
  screen.keep();  // nothing is open any more
  screen.write("done\n");
  CHECK(terminal.text() == "\r\033[Kstep 2\r\033[Kstep 2\r\ndone\r\n");
}

TEST_CASE("screen: a terminal that is stopped gets the newest text only") {
  const Variable term("TERM", "xterm");
  Terminal terminal;
  Screen screen(terminal.writer);
  CHECK(seconds_of([&] {
          for (int step = 0; step < lines; ++step) screen.rewrite(fmt::format("step {}", step));
        }) < 5);
  std::string text = terminal.text();
  for (int round = 0; round < 100 && text.find("step 19999") == std::string::npos; ++round) {
    screen.flush(std::chrono::milliseconds(1));
    text += terminal.text();
  }
  CHECK(text.ends_with("step 19999"));
  CHECK(text.size() < 200'000);
}

TEST_CASE("screen: the width is the terminal's at the moment") {
  Terminal terminal(20);
  Screen screen(terminal.writer);
  CHECK(screen.columns() == 20);
  terminal.resize(133);
  CHECK(screen.columns() == 133);
  terminal.resize(0);  // it does not know
  CHECK(screen.columns() == 80);
}

TEST_CASE("screen: control sequences are for terminals that understand them, colours for who wants them") {
  struct Case {
    const char *term, *no_color;
    bool rewrites, colours;
  };
  for (const Case& each :
       {Case{"xterm", nullptr, true, true}, Case{"xterm", "", true, true}, Case{"xterm", "1", true, false},
        Case{"dumb", nullptr, false, false}, Case{nullptr, nullptr, false, false}}) {
    CAPTURE(each.term ? each.term : "(none)", each.no_color ? each.no_color : "(none)");
    const Variable term("TERM", each.term), no_color("NO_COLOR", each.no_color);
    Terminal terminal;
    const Screen screen(terminal.writer);
    CHECK(screen.rewrites() == each.rewrites);
    CHECK(screen.colours() == each.colours);
    Pipe pipe;
    CHECK_FALSE(Screen(pipe.writer).rewrites());
  }
}

TEST_CASE("screen: the log's levels are coloured on such terminals, and plain elsewhere") {
  const auto before = spdlog::default_logger();
  const auto logged = [&](Screen& screen) {
    log::write_to(screen);
    spdlog::warn("{} is hot", "it");
    spdlog::set_default_logger(before);
  };
  const Variable term("TERM", "xterm"), no_color("NO_COLOR", nullptr);
  Terminal terminal;
  Screen coloured(terminal.writer);
  logged(coloured);
  CHECK(terminal.text() == "\033[33m\033[1mwarning\033[m: it is hot\r\n");
  Pipe pipe;
  Screen plain(pipe.writer);
  logged(plain);
  CHECK(pipe.text() == "warning: it is hot\n");
}

}  // namespace
}  // namespace collie::test
