// What an error says: under both Catch2 versions, whose string matchers differ in name.
#pragma once

#include <initializer_list>
#include <string>

#include "base/error.hpp"
#include "tests/catch.hpp"

namespace collie::test {

// The message of the Error that f throws.
template <class Error = UserError, class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  FAIL("nothing was thrown");
  return "";
}

inline void check_says(const std::string& message, std::initializer_list<const char*> parts) {
  for (const char* part : parts) {
    INFO("message: " << message);
    INFO("should say: " << part);
    CHECK(message.find(part) != std::string::npos);
  }
}

}  // namespace collie::test
