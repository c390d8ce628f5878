// What a rank holds of a parameter is a rectangle of the whole tensor: where its elements are there.
#pragma once

#include <algorithm>
#include <cstdint>

#include "models/parameter.hpp"

namespace collie {

// The shape of the whole tensor; that of the parameter itself where nobody has said that it is cut.
inline const Shape& whole_shape(const Parameter& parameter) {
  return parameter.global_shape.rank() == 0 ? parameter.shape : parameter.global_shape;
}

// The element of the flattened whole tensor that is element `held` of the flattened rectangle.
inline int64_t whole_index(const Parameter& parameter, int64_t held) {
  const Shape& whole = whole_shape(parameter);
  int64_t index = 0, stride = 1;
  for (int axis = parameter.shape.rank() - 1; axis >= 0; --axis) {
    index += (parameter.offsets[static_cast<size_t>(axis)] + held % parameter.shape[axis]) * stride;
    held /= parameter.shape[axis];
    stride *= whole[axis];
  }
  return index;
}

// Elements of the flattened rectangle that follow each other in the whole tensor, too: its inner dimensions,
// as far as nothing is cut off them, and the innermost that is cut.
inline int64_t run_length(const Parameter& parameter) {
  const Shape& whole = whole_shape(parameter);
  int64_t length = 1;
  for (int axis = parameter.shape.rank() - 1; axis >= 0; --axis) {
    length *= parameter.shape[axis];
    if (parameter.shape[axis] != whole[axis]) break;
  }
  return length;
}

// Calls visit(held, whole, count) for the elements [begin, end) of the flattened rectangle, in order, run by
// run: `count` elements from `held` there, from `whole` in the whole tensor.
template <class Visit>
void for_each_run(const Parameter& parameter, int64_t begin, int64_t end, Visit&& visit) {
  const int64_t length = run_length(parameter);
  while (begin < end) {
    const int64_t stop = std::min(end, (begin / length + 1) * length);
    visit(begin, whole_index(parameter, begin), stop - begin);
    begin = stop;
  }
}

}  // namespace collie
