#include "tests/comm/linked_groups.hpp"

#include <numeric>

#include "tests/comm/key_stores.hpp"
#include "tests/comm/memory_link.hpp"

namespace collie::test {

std::vector<int> everybody(int size) {
  std::vector<int> ranks(static_cast<size_t>(size));
  std::iota(ranks.begin(), ranks.end(), 0);
  return ranks;
}

Links make_gloo_links(int size, const comm::GlooOptions& options) {
  MemoryStore store;
  Links links(static_cast<size_t>(size));
  const auto thrown = run_ranks(size, [&](int rank) {
    comm::GlooOptions own = options;
    own.rank = rank;
    own.size = size;
    links[static_cast<size_t>(rank)] = comm::connect_gloo(own, store);
  });
  for (const auto& each : thrown)
    if (each) std::rethrow_exception(each);
  return links;
}

Group make_linked_groups(const Links& links, uint32_t number) {
  Group ends;
  for (const auto& link : links)
    ends.push_back(
        make_linked_group(link, everybody(link->size()), number, std::make_shared<MemoryAccount>()));
  return ends;
}

Group make_linked_over_memory(int size) {
  return make_linked_groups(make_memory_links(size));
}

// Messages short enough that tests cut theirs.
Group make_linked_over_gloo(int size) {
  comm::GlooOptions options;
  options.most_bytes = 16 * 1024;
  return make_linked_groups(make_gloo_links(size, options));
}

}  // namespace collie::test
