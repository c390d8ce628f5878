// String matchers under the names of both Catch2 versions.
#pragma once

#include <string>

#include "tests/catch.hpp"

namespace collie::test {

#if __has_include(<catch2/catch_all.hpp>)
inline auto contains(const std::string& part) {
  return Catch::Matchers::ContainsSubstring(part);
}
#else
inline auto contains(const std::string& part) {
  return Catch::Contains(part);
}
#endif

}  // namespace collie::test
