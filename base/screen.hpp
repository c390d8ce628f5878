// Text for people, on a descriptor whose reader may be slow, gone or full. What is shown is never worth a
// run: nothing here waits for the reader, throws, or raises a signal.
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
  // Writes to `descriptor`, which stays the caller's. A terminal or pipe is opened once more, so that it can
  // be written to without waiting, which is a property that all who share a descriptor would share.
  explicit Screen(int descriptor);
  ~Screen();
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  // Whole lines, each with its newline. What the reader has no room for is kept, up to 64 KiB; of more, the
  // oldest lines are left out, and counted in a line of their own.
  void write(std::string_view lines);

  // Shows `text` in place of the text before. Lines that are written meanwhile come above it. Only where
  // rewrites() holds.
  void rewrite(const std::string& text);
  // The text that is shown stays where it is; what follows comes below.
  void keep();

  // Waits until the reader has taken everything, at most for so long.
  void flush(std::chrono::milliseconds patience = std::chrono::milliseconds(500));

  // Whether it is a terminal that understands control sequences: TERM is set and not "dumb".
  bool rewrites() const { return rewrites_; }
  // Whether that terminal is to be shown colours: NO_COLOR is not set (https://no-color.org).
  bool colours() const { return colours_; }
  // The terminal's width at this moment; 80 where it does not say.
  int columns() const;

 private:
  struct Entry {
    std::string bytes;
    bool passing = false;  // of the text that is rewritten: the next one takes its place
    bool gap = false;      // says what is left out
  };

  void push(Entry entry);
  void drain();
  void drop_oldest();
  void say_what_is_left_out();
  // Bytes taken; 0: no room at the moment; -1: the reader is gone, or the disk full.
  long put(std::string_view bytes);

  std::mutex mutex_;
  int descriptor_;
  int own_ = -1;  // the same, opened for writing without waiting
  bool socket_ = false, may_wait_ = false, rewrites_ = false, colours_ = false;

  std::deque<Entry> waiting_;
  size_t waiting_bytes_ = 0;
  size_t taken_ = 0;  // bytes of the first entry
  size_t left_out_ = 0;
  std::string shown_;  // the text that is rewritten; empty: none
};

// The process's one on standard error. Never destroyed: threads may still have something to say.
Screen& standard_error();

}  // namespace collie
