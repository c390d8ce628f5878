// The secret of clusters that tests make: no test makes, or needs, the user's own.
#pragma once

#include <cstdlib>

namespace collie::test {

constexpr const char* test_secret = "the secret of tests";

inline void use_test_secret() {
  ::setenv("COLLIE_ENGINE_SECRET", test_secret, 1);
}

}  // namespace collie::test
