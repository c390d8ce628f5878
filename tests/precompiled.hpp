// What most tests parse, parsed once. No test relies on it: each includes what it uses.
#include "cmake/precompiled.hpp"
#include "tests/catch.hpp"
