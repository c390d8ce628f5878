// A result that a device may still be computing when it is returned. The host goes on, and asks for the value
// later.
#pragma once

#include <functional>
#include <memory>
#include <utility>

namespace collie {

template <class T>
class Deferred {
 public:
  Deferred() : Deferred(T{}) {}
  Deferred(T value) : value_(std::make_shared<T>(std::move(value))) {}  // implicit: it is there already
  // wait() blocks until the result is there, and returns it. Each copy that is asked calls it once.
  static Deferred later(std::function<T()> wait) {
    Deferred deferred;
    deferred.value_ = nullptr;
    deferred.wait_ = std::make_shared<std::function<T()>>(std::move(wait));
    return deferred;
  }

  // Says whether value() need not wait; false if that is not known.
  bool there() const { return value_ != nullptr; }
  // Blocks until the result is there. Not thread-safe.
  T value() && { return std::as_const(resolved()); }
  const T& value() & { return resolved(); }

 private:
  const T& resolved() {
    if (!value_) {
      value_ = std::make_shared<T>((*wait_)());
      wait_.reset();
    }
    return *value_;
  }

  std::shared_ptr<T> value_;
  std::shared_ptr<std::function<T()>> wait_;
};

}  // namespace collie
