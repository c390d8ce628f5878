// Checks whether slices cover their states.
#include <algorithm>
#include <map>

#include "base/error.hpp"
#include "io/checkpoint_manifest.hpp"

namespace collie {

namespace {

using Slices = std::vector<const ManifestSlice*>;

int64_t product(const std::vector<int64_t>& shape) {
  int64_t elements = 1;
  for (const int64_t size : shape) elements *= size;
  return elements;
}

bool overlap(const ManifestSlice& a, const ManifestSlice& b) {
  for (size_t axis = 0; axis < a.offsets.size(); ++axis)
    if (a.offsets[axis] + a.shape[axis] <= b.offsets[axis] ||
        b.offsets[axis] + b.shape[axis] <= a.offsets[axis])
      return false;
  return true;
}

// Slices are sorted by their first rows. A slice is compared only with those that reach down to its first
// row.
const ManifestSlice* find_overlap(Slices slices) {
  if (slices.front()->shape.empty()) return slices.size() > 1 ? slices.back() : nullptr;
  std::sort(slices.begin(), slices.end(), [](const ManifestSlice* a, const ManifestSlice* b) {
    return a->offsets.front() < b->offsets.front();
  });
  Slices open;
  for (const ManifestSlice* slice : slices) {
    const int64_t first_row = slice->offsets.front();
    std::erase_if(open, [&](const ManifestSlice* before) {
      return before->offsets.front() + before->shape.front() <= first_row;
    });
    for (const ManifestSlice* before : open)
      if (overlap(*before, *slice)) return slice;
    open.push_back(slice);
  }
  return nullptr;
}

void check_state(const Slices& slices, const std::string& file) {
  const ManifestSlice& first = *slices.front();
  int64_t covered = 0;
  for (const ManifestSlice* slice : slices) {
    if (slice->global_shape != first.global_shape)
      throw UserError("{}: the slices of {} of '{}' do not agree on its \"global_shape\"", file, first.state,
                      first.name);
    // Each slice lies within the state, so the sum can be too large only if slices overlap.
    if (__builtin_add_overflow(covered, product(slice->shape), &covered)) break;
  }
  if (find_overlap(slices) != nullptr)
    throw UserError("{}: slices of {} of '{}' overlap", file, first.state, first.name);
  if (const int64_t elements = product(first.global_shape); covered != elements)
    throw UserError("{}: the slices of {} of '{}' hold {} of its {} elements", file, first.state, first.name,
                    covered, elements);
}

}  // namespace

void check_cover(const std::vector<ManifestSlice>& slices, const std::string& file) {
  std::map<std::pair<std::string, std::string>, Slices> states;
  for (const ManifestSlice& slice : slices) states[{slice.name, slice.state}].push_back(&slice);
  for (const auto& [state, all] : states) check_state(all, file);
}

}  // namespace collie
