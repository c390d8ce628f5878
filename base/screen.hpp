// Text for people, on a descriptor whose reader may be slow, gone or full. Output is never worth losing a run
// for: nothing here waits for the reader, throws, or raises a signal.
#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <mutex>
#include <string>
#include <string_view>

namespace collie {

class Screen {
 public:
  // Writes to `descriptor`, which stays the caller's. A terminal or pipe is opened a second time for writing
  // without waiting, because setting that on `descriptor` would affect everyone who shares it.
  explicit Screen(int descriptor);
  ~Screen();
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  // Writes whole lines, each with its newline. If the reader has no room, up to 64 KiB are kept. Beyond that
  // the oldest lines are left out, and a line of its own counts them.
  void write(std::string_view lines);

  // Shows `text` in place of the text before. Lines that are written meanwhile come above it. Allowed only if
  // rewrites() is true.
  void rewrite(const std::string& text);
  // Leaves the shown text where it is. Later text comes below it.
  void keep();

  // Waits until the reader has taken everything, at most `patience`.
  void flush(std::chrono::milliseconds patience = std::chrono::milliseconds(500));

  // Says whether it is a terminal that understands control sequences: TERM is set and not "dumb".
  bool rewrites() const { return rewrites_; }
  // Says whether to show colours on that terminal: NO_COLOR is not set (https://no-color.org).
  bool colours() const { return colours_; }
  // The terminal's width at this moment, or 80 if it does not say.
  int columns() const;

 private:
  struct Entry {
    std::string bytes;
    bool passing = false;  // rewritten text: the next one takes its place
    bool gap = false;      // says what is left out
  };

  void push(Entry entry);
  void drain();
  void drop_oldest();
  void say_what_is_left_out();
  // Returns the number of bytes taken, 0 if there is no room at the moment, or -1 if the reader is gone or
  // the disk is full.
  long put(std::string_view bytes);

  std::mutex mutex_;
  int descriptor_;
  int own_ = -1;  // the same file, opened for writing without waiting
  bool socket_ = false, may_wait_ = false, rewrites_ = false, colours_ = false;

  std::deque<Entry> waiting_;
  size_t waiting_bytes_ = 0;
  size_t taken_ = 0;  // bytes of the first entry that were taken
  size_t left_out_ = 0;
  std::string shown_;  // the text that is rewritten; empty: none
};

// The process's screen on standard error. It is never destroyed: threads may still have something to say.
Screen& standard_error();

}  // namespace collie
