// Of the floor comm/.
#include "tests/comm/implementations.hpp"

#include "tests/comm/coordinator_group.hpp"
#include "tests/comm/memory_link.hpp"

namespace collie::test {

std::vector<Implementation> implementations() {
  return {{"in-process", make_in_process_group},
          {"coordinator", make_coordinator_group},
          {"linked over memory", make_linked_over_memory},
          {"linked over Gloo", make_linked_over_gloo, 8}};
}

std::vector<LinkKind> link_kinds() {
  return {{"memory", [](int size) { return make_memory_links(size); }},
          {"Gloo", [](int size) { return make_gloo_links(size); }}};
}

}  // namespace collie::test
