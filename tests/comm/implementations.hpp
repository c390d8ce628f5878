// Everything that stands behind the seam, for the one suite that all of it must pass.
#pragma once

#include <functional>
#include <ostream>
#include <string>

#include "tests/catch.hpp"
#include "tests/comm/coordinator_group.hpp"
#include "tests/comm/linked_groups.hpp"
#include "tests/comm/support.hpp"

namespace collie::test {

struct Implementation {
  std::string name;
  std::function<Group(int)> make;
  int most_ranks = 1000;  // that a test should ask for
};

inline std::ostream& operator<<(std::ostream& out, const Implementation& implementation) {
  return out << implementation.name;
}

// To be used as `const Implementation implementation = GENERATE(from_range(implementations()))`.
inline std::vector<Implementation> implementations() {
  return {{"in-process", make_in_process_group},
          {"coordinator", make_coordinator_group},
          {"linked over memory", make_linked_over_memory},
          {"linked over Gloo", make_linked_over_gloo, 8}};
}

}  // namespace collie::test
