// Everything that stands behind the seam, for the one suite that all of it must pass.
#pragma once

#include <functional>
#include <ostream>
#include <string>

#include "comm/linked_process_group.hpp"
#include "tests/catch.hpp"
#include "tests/comm/coordinator_group.hpp"
#include "tests/comm/memory_link.hpp"
#include "tests/comm/support.hpp"

namespace collie::test {

struct Implementation {
  std::string name;
  std::function<Group(int)> make;
};

inline std::ostream& operator<<(std::ostream& out, const Implementation& implementation) {
  return out << implementation.name;
}

inline Group make_linked_over_memory(int size) {
  std::vector<int> members;
  for (int rank = 0; rank < size; ++rank) members.push_back(rank);
  Group ends;
  for (const auto& link : make_memory_links(size))
    ends.push_back(make_linked_group(link, members, 0, std::make_shared<MemoryAccount>()));
  return ends;
}

// To be used as `const Implementation implementation = GENERATE(from_range(implementations()))`.
inline std::vector<Implementation> implementations() {
  return {{"in-process", make_in_process_group},
          {"coordinator", make_coordinator_group},
          {"linked over memory", make_linked_over_memory}};
}

}  // namespace collie::test
