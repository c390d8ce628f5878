// What an actor is, on a plain thread: messages in, one at a time. For runs without CAF.
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "base/error.hpp"

namespace collie::test {

// A queue between threads. The messages in it are bounded by the receiver's credits; more than `bound` are a
// bug of theirs.
template <class Message>
class Mailbox {
 public:
  explicit Mailbox(size_t bound) : bound_(bound) {}

  // Dropped where the mailbox is closed.
  void push(Message message) {
    {
      const std::lock_guard lock(mutex_);
      if (closed_) return;
      COLLIE_ASSERT(messages_.size() < bound_, "a mailbox holds {} messages already", bound_);
      messages_.push_back(std::move(message));
    }
    arrived_.notify_one();
  }

  // Waits for a message; null once the mailbox is closed.
  std::unique_ptr<Message> pop() {
    std::unique_lock lock(mutex_);
    arrived_.wait(lock, [&] { return closed_ || !messages_.empty(); });
    if (closed_) return nullptr;
    auto message = std::make_unique<Message>(std::move(messages_.front()));
    messages_.pop_front();
    return message;
  }

  void close() {
    std::deque<Message> dropped;
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
      dropped.swap(messages_);
    }
    arrived_.notify_all();
  }

 private:
  const size_t bound_;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<Message> messages_;
  bool closed_ = false;
};

template <class Message>
class Agent {
 public:
  using Handler = std::function<void(Message&)>;

  explicit Agent(size_t bound) : mailbox_(bound) {}
  ~Agent() { join(); }
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  // `make_handler` runs on the agent's thread, where the handler's state is destroyed, too. `failed` is
  // called there while what one of them threw is being handled; the agent ends then.
  void start(std::function<Handler()> make_handler, std::function<void()> failed) {
    thread_ = std::thread([this, make_handler = std::move(make_handler), failed = std::move(failed)] {
      try {
        const Handler handler = make_handler();
        while (const auto message = mailbox_.pop()) handler(*message);
      } catch (...) {
        mailbox_.close();
        failed();
      }
    });
  }

  void send(Message message) { mailbox_.push(std::move(message)); }
  // After the message that is being handled; the others are dropped.
  void end() { mailbox_.close(); }
  // Ends and waits for it.
  void join() {
    end();
    if (thread_.joinable()) thread_.join();
  }

 private:
  Mailbox<Message> mailbox_;
  std::thread thread_;
};

}  // namespace collie::test
