// Everything that stands behind the seams, for the one suite that all of it must pass: what is listed depends
// on the executable that the suite is built into.
#pragma once

#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "tests/catch.hpp"
#include "tests/comm/linked_groups.hpp"
#include "tests/comm/support.hpp"

namespace collie::test {

struct Implementation {
  std::string name;
  std::function<Group(int)> make;
  int most_ranks = 1000;       // that a test should ask for
  bool compares_calls = true;  // of the ranks with each other, and refuses different ones
};

inline std::ostream& operator<<(std::ostream& out, const Implementation& implementation) {
  return out << implementation.name;
}

// To be used as `const Implementation implementation = GENERATE(from_range(implementations()))`.
std::vector<Implementation> implementations();

struct LinkKind {
  std::string name;
  std::function<Links(int)> make;
};
std::vector<LinkKind> link_kinds();

}  // namespace collie::test
