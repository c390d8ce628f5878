#include "kernels/tensor.hpp"

namespace collie {

Shape::Shape(std::initializer_list<int64_t> dims) : Shape(from({dims.begin(), dims.size()})) {}

Shape Shape::from(std::span<const int64_t> dims) {
  COLLIE_ASSERT(dims.size() <= max_rank, "a shape has at most {} dimensions, got {}", max_rank, dims.size());
  Shape shape;
  shape.rank_ = static_cast<int>(dims.size());
  for (size_t axis = 0; axis < dims.size(); ++axis) {
    COLLIE_ASSERT(dims[axis] >= 0, "dimension {} of a shape is negative: {}", axis, dims[axis]);
    shape.dims_[axis] = dims[axis];
  }
  return shape;
}

int64_t Shape::operator[](int axis) const {
  const int from_front = axis < 0 ? axis + rank_ : axis;
  COLLIE_ASSERT(from_front >= 0 && from_front < rank_, "axis {} of shape {}", axis, to_string());
  return dims_[static_cast<size_t>(from_front)];
}

int64_t Shape::numel() const {
  int64_t product = 1;
  for (int axis = 0; axis < rank_; ++axis) product *= dims_[static_cast<size_t>(axis)];
  return product;
}

std::string Shape::to_string() const {
  std::string text = "[";
  for (int axis = 0; axis < rank_; ++axis)
    text += (axis > 0 ? ", " : "") + std::to_string(dims_[static_cast<size_t>(axis)]);
  return text + "]";
}

}  // namespace collie
