// An actor that fails tells its owner why, and then ends. Only behaviour files include this file.
#pragma once

#include <exception>
#include <string>

#include "actors/caf_types.hpp"
#include "base/error.hpp"
#include "base/limits.hpp"

namespace collie {

// Returns the Failure for the exception that is being handled.
inline Failure current_failure(const RunTag& tag, const std::string& who) {
  Failure failure{tag, FailureKind::run, who, ""};
  try {
    throw;
  } catch (const UserError& error) {
    failure.kind = FailureKind::input;
    failure.cause = error.what();
  } catch (...) {
    failure.cause = reason_of_current_exception();
  }
  return failure;
}

// Sets the reaction to an exception in a handler of `self`: `owner` gets a Failure ahead of its other mail,
// and `self` ends.
template <class Self>
void report_exceptions_to(Self* self, caf::actor owner, RunTag tag, std::string who) {
  self->set_exception_handler([=](std::exception_ptr& pointer) -> caf::error {
    try {
      std::rethrow_exception(pointer);
    } catch (...) {
      self->template send<caf::message_priority::high>(owner, current_failure(tag, who));
    }
    return caf::exit_reason::unhandled_exception;
  });
}

// For actors that send events to a host's listener. CAF sends back the result of the listener's handler, or
// an error if the listener has no handler; that error would end `self`.
template <class Self>
void ignore_answers(Self* self) {
  self->set_error_handler([](caf::error&) {});
  self->set_default_handler(
      [](caf::scheduled_actor*, caf::message_view&) -> caf::result<caf::message> { return caf::message{}; });
}

// Ends `child` before it reads the other messages in its mailbox.
inline void shut_down(const caf::actor& child) {
  if (child)
    caf::anon_send<caf::message_priority::high>(
        child, caf::exit_msg{child.address(), caf::exit_reason::user_shutdown});
}

}  // namespace collie
