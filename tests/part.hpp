// What continuous integration runs of many cases that take whole runs: a part of them. scripts/test.sh --all,
// and so scripts/long.sh, runs them all.
#pragma once
#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <vector>

namespace collie::test {

// Whether every case runs (COLLIE_TEST_ALL=1).
inline bool all_cases_run() {
  const char* all = std::getenv("COLLIE_TEST_ALL");
  return all != nullptr && all[0] == '1';
}

// One in `one_in` of the cases and at least one, beginning with number `first` modulo one_in; all of them
// where every case runs. Lists whose neighbours differ in one option should have one_in and the number of its
// values without a common divisor, so that each value is among the part.
template <class Case>
std::vector<Case> part_of(const std::vector<Case>& all, size_t one_in, size_t first = 0) {
  if (all_cases_run()) return all;
  std::vector<Case> part;
  if (all.empty()) return part;
  for (size_t i = first % std::min(one_in, all.size()); i < all.size(); i += one_in) part.push_back(all[i]);
  return part;
}

// The same of a list's places.
inline std::vector<size_t> part_of_places(size_t count, size_t one_in, size_t first = 0) {
  std::vector<size_t> places(count);
  std::iota(places.begin(), places.end(), size_t{0});
  return part_of(places, one_in, first);
}

}  // namespace collie::test
