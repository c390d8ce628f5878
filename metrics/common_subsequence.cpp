#include "metrics/common_subsequence.hpp"

#include <algorithm>

namespace collie {
namespace {

// Where the longest subsequence of two beginnings comes from.
enum class Step : unsigned char { match, leave_first, leave_second };

// Calls note(i, j, step) for all pairs of items, and returns the length.
template <class Note>
size_t go_through(const std::vector<std::string>& first, const std::vector<std::string>& second, Note note) {
  std::vector<size_t> lengths(second.size() + 1);  // of the items of `first` so far
  for (size_t i = 0; i < first.size(); ++i) {
    size_t diagonal = 0;  // without the last item of both
    for (size_t j = 0; j < second.size(); ++j) {
      const size_t above = lengths[j + 1], left = lengths[j];
      if (first[i] == second[j]) {
        lengths[j + 1] = diagonal + 1;
        note(i, j, Step::match);
      } else {
        lengths[j + 1] = std::max(above, left);
        note(i, j, left > above ? Step::leave_second : Step::leave_first);
      }
      diagonal = above;
    }
  }
  return lengths.back();
}

}  // namespace

size_t common_length(const std::vector<std::string>& first, const std::vector<std::string>& second) {
  return go_through(first, second, [](size_t, size_t, Step) {});
}

void mark_common(const std::vector<std::string>& first, const std::vector<std::string>& second,
                 std::vector<bool>& in_first) {
  std::vector<Step> steps(first.size() * second.size());
  go_through(first, second, [&](size_t i, size_t j, Step step) { steps[i * second.size() + j] = step; });
  size_t i = first.size(), j = second.size();
  while (i > 0 && j > 0) {
    const Step step = steps[(i - 1) * second.size() + j - 1];
    if (step == Step::match) in_first[i - 1] = true;
    if (step != Step::leave_second) --i;
    if (step != Step::leave_first) --j;
  }
}

}  // namespace collie
